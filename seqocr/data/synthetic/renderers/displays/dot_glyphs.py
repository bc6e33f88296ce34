"""Digits and marks as patterns of dots, of own making: rows of five, and other forms of the same symbol."""

from __future__ import annotations

import numpy as np
from PIL import Image

ROWS = 7
# Rows from top to bottom, "#" is a dot. Of each symbol one or more forms, of which a display uses one.
_PATTERNS = {
    "0": (
        ".###. #...# #...# #...# #...# #...# .###.",
        ".###. #...# #..## #.#.# ##..# #...# .###.",
        "..#.. .#.#. #...# #...# #...# .#.#. ..#..",
        "##### #...# #...# #...# #...# #...# #####",
        ".##.. #..#. #..#. #..#. #..#. #..#. .##..",
    ),
    "1": (
        "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.",
        "..#.. .##.. #.#.. ..#.. ..#.. ..#.. #####",
        "..#.. ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
        "..#.. .##.. ..#.. ..#.. ..#.. ..#.. ..#..",
        "...#. ..##. .#.#. ...#. ...#. ...#. ...#.",
    ),
    "2": (
        ".###. #...# ....# ...#. ..#.. .#... #####",
        ".###. #...# ....# ..##. .#... #.... #####",
        "##### ....# ....# ##### #.... #.... #####",
        "####. ....# ....# .###. #.... #.... #####",
    ),
    "3": (
        "##### ...#. ..#.. ...#. ....# #...# .###.",
        ".###. #...# ....# ..##. ....# #...# .###.",
        "##### ....# ....# .#### ....# ....# #####",
        "####. ....# ....# .###. ....# ....# ####.",
    ),
    "4": (
        "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
        "#...# #...# #...# ##### ....# ....# ....#",
        "..#.. .#... #..#. #..#. ##### ...#. ...#.",
        "#..#. #..#. #..#. ##### ...#. ...#. ...#.",
    ),
    "5": (
        "##### #.... ####. ....# ....# #...# .###.",
        "##### #.... #.... ####. ....# ....# ####.",
        "##### #.... #.... ##### ....# ....# #####",
        "##### #.... #.##. ##..# ....# #...# .###.",
    ),
    "6": (
        "..##. .#... #.... ####. #...# #...# .###.",
        ".###. #...# #.... ####. #...# #...# .###.",
        "##### #.... #.... ##### #...# #...# #####",
        "...#. ..#.. .#... ####. #...# #...# .###.",
    ),
    "7": (
        "##### ....# ...#. ..#.. .#... .#... .#...",
        "##### ....# ...#. ..#.. ..#.. ..#.. ..#..",
        "##### ....# ....# ....# ....# ....# ....#",
        "##### #...# ....# ...#. ..#.. ..#.. ..#..",
    ),
    "8": (
        ".###. #...# #...# .###. #...# #...# .###.",
        "##### #...# #...# ##### #...# #...# #####",
    ),
    "9": (
        ".###. #...# #...# .#### ....# ...#. .##..",
        ".###. #...# #...# .#### ....# #...# .###.",
        "##### #...# #...# ##### ....# ....# #####",
        ".###. #...# #...# .#### ...#. ..#.. .#...",
    ),
    ".": ("..... ..... ..... ..... ..... .##.. .##..", "..... ..... ..... ..... ..... ..... ..#.."),
    ",": ("..... ..... ..... ..... .##.. ..#.. .#...", "..... ..... ..... ..... ..#.. ..#.. .#..."),
    ":": ("..... .##.. .##.. ..... .##.. .##.. .....", "..... ..#.. ..... ..... ..... ..#.. ....."),
    "-": ("..... ..... ..... ##### ..... ..... .....", "..... ..... ..... .###. ..... ..... ....."),
    "+": ("..... ..#.. ..#.. ##### ..#.. ..#.. .....", "..... ..... ..#.. .###. ..#.. ..... ....."),
    "/": ("..... ....# ...#. ..#.. .#... #.... .....", "....# ...#. ...#. ..#.. .#... .#... #...."),
    " ": ("..... ..... ..... ..... ..... ..... .....",),
}
GLYPHS = {
    symbol: tuple(np.array([[dot == "#" for dot in row] for row in form.split()], np.float32) for form in forms)
    for symbol, forms in _PATTERNS.items()
}


def pattern(text: str, rng: np.random.Generator, *, fixed: bool) -> np.ndarray:
    """Dots (7, columns) of a text, 1 where one is on, a column apart.

    Args:
        fixed: every symbol has five columns; otherwise as many as it fills.
    """
    forms = {symbol: forms[int(rng.integers(len(forms)))] for symbol, forms in GLYPHS.items()}
    if rng.random() < 0.5:  # the first form of all, as the most widespread modules have them
        forms = {symbol: options[0] for symbol, options in GLYPHS.items()}
    blank, columns = np.zeros((ROWS, 1), np.float32), []
    for symbol in text:
        glyph = forms[symbol]
        if not fixed:
            used = np.flatnonzero(glyph.any(axis=0))
            glyph = glyph[:, used[0] : used[-1] + 1] if len(used) else glyph[:, :3]
        columns += [glyph, blank]
    return np.concatenate(columns[:-1], axis=1)


def sampled(mask: np.ndarray, rows: int) -> np.ndarray:
    """Dots (rows, columns) nearest to a shape's coverage (h, w): a line of print as a sign of lamps shows it."""
    columns = max(1, round(mask.shape[1] * rows / mask.shape[0]))
    small = Image.fromarray((mask * 255).astype(np.uint8)).resize((columns, rows), Image.Resampling.BOX)
    dots = np.asarray(small, np.float32)
    # Thin strokes cover no dot by half, and then those count that they cover most.
    return (dots > min(110.0, 0.5 * float(np.percentile(dots, 90)))).astype(np.float32)
