"""Handwritten amounts as on cheques: one writer per line, slanted, touching, on printed paper."""

from seqocr.data.synthetic.writer_style import WriterStyle

LAYOUT = WriterStyle()
