"""Where digits and glyphs come from: data sets, pen strokes, folders."""
