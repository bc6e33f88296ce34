"""Notes on predictions: what may be wrong although the reader is sure, from comparing a text with the ink in its image.

A reader answers with the symbols that it knows: a point, a minus or a bracket is skipped or taken for a digit, and an
image without any is an empty text. Weights with a reader of marks (`seqocr.models.marks`) tell what a line shows. For
others, marks are looked for on even paper alone. Where paper has a texture, as on cheques,
readers have learned to skip them, and ink cannot be told from paper so well.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from seqocr.data.content import is_blank
from seqocr.data.shown import OTHER

BLANK = "the image is blank"
NOTHING_READ = "nothing was read although the image is not blank"
MARK = "something stands in the line that is no digit or was not read"
MORE = "the line shows more"  # followed by all that it shows
FULL = "the line may go on: the text is as long as this head writes"

# Bounds are such that of 1,000 synthetic lines that are read right about 10 have a note.
_HEIGHT = 64  # rows that a taller line is shrunk to, about
_CONTRAST = 10.0  # between ink and paper, in standard deviations of the paper: less is no even paper
_LOW = 0.4  # of the height of digits, as all below: a point, comma or minus is lower
_FLOATING = 0.87  # a plus is lower
_WHOLE = 0.7  # what is lower and touches the border is a part of something else
_GAP = 0.15  # a colon or an equals sign has a larger one between its parts
_SPECK = 0.08  # side of a square of ink: less is no mark
_DOUBTFUL = 0.7  # below this confidence a weaker suspicion is enough


@dataclass(frozen=True)
class _Blobs:
    """Ink between empty columns, from left to right; lengths in heights of digits, of n blobs each (n,).

    Attributes:
        height: of each.
        drop, rise: how far it stays below the top of digits, and above their bottom.
        gap: of its empty rows.
        crosses: whether it has the shape of a plus.
    """

    height: np.ndarray
    drop: np.ndarray
    rise: np.ndarray
    gap: np.ndarray
    crosses: np.ndarray


def find_notes(
    line: Image.Image, text: str, confidence: float, most_symbols: int | None = None, more: str | None = None
) -> tuple[str, ...]:
    """What may be wrong with a prediction.

    Args:
        line: grey, as of `open_line`.
        confidence: of the text.
        most_symbols: the most that the head writes; None: any number.
        more: all the line shows, by a reader of marks, if more than the text; empty: it is not; None: there
            is no such reader. Marks are then looked for in the ink.
    """
    doubtful = confidence < _DOUBTFUL
    if (doubtful or not text) and is_blank(line):
        return (BLANK,)
    if more:
        return (f"{MORE}: {more.replace(OTHER, '?')}",)
    if not text:
        return (NOTHING_READ,)
    if more is not None:
        is_full = most_symbols is not None and len(text) >= most_symbols and doubtful
        return (FULL,) if is_full else ()
    blobs = _find_blobs(line, len(text))
    has_more = blobs is not None and len(blobs.height) > len(text)
    if most_symbols is not None and len(text) >= most_symbols and (has_more or doubtful):
        return (FULL,)
    return (MARK,) if blobs is not None and (has_more or _has_mark(blobs, doubtful)) else ()


def _has_mark(blobs: _Blobs, doubtful: bool) -> bool:
    """Whether a blob has no digit's shape; if the text is doubtful, also one that digits seldom have."""
    floats = (blobs.height < _FLOATING) & (blobs.drop > 0.08)
    marks = (blobs.height < _LOW) | (blobs.gap > _GAP) | (blobs.crosses & floats)
    if doubtful:  # also what hangs below the line, as brackets and slashes do, and what floats above it
        marks |= blobs.crosses | ((blobs.height > 1.08) & (blobs.rise < -0.06)) | (floats & (blobs.rise > 0.05))
    return bool(marks.any())


def _find_blobs(line: Image.Image, symbols: int) -> _Blobs | None:
    """Blobs of a line in which so many symbols were read; None where ink does not stand out from even paper."""
    pixels = np.asarray(line.reduce(factor) if (factor := line.height // _HEIGHT) > 1 else line)
    if (ink := _find_ink(pixels)) is None:
        return None
    columns = ink.max(axis=0)
    starts = np.flatnonzero(columns & ~np.append(False, columns[:-1]))
    rows = np.logical_or.reduceat(ink, starts, axis=1)  # (h, n): up to the next start come only empty columns
    areas = np.add.reduceat(ink.sum(axis=0), starts)
    tops, bottoms = rows.argmax(axis=0), len(rows) - rows[::-1].argmax(axis=0)
    heights = bottoms - tops
    digits = np.argsort(-heights, kind="stable")[:symbols]
    unit, top, bottom = (float(np.median(each[digits])) for each in (heights, tops, bottoms))
    cut = (heights < _WHOLE * unit) & ((starts == 0) | (tops == 0) | (bottoms == len(rows)))
    cut[-1] |= columns[-1] and heights[-1] < _WHOLE * unit
    kept = np.flatnonzero((areas >= max(2.0, (_SPECK * unit) ** 2)) & ~cut)
    pieces = np.split(ink, starts[1:], axis=1)
    return _Blobs(
        heights[kept] / unit,
        (tops[kept] - top) / unit,
        (bottom - bottoms[kept]) / unit,
        (heights - rows.sum(axis=0))[kept] / unit,
        np.array([heights[i] < _FLOATING * unit and _is_cross(pieces[i][tops[i] : bottoms[i]]) for i in kept], bool),
    )


def _find_ink(pixels: np.ndarray) -> np.ndarray | None:
    """(h, w) bool: ink, by Otsu's threshold (the rarer side); None where paper is not even."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(float)
    total, levels = counts.cumsum(), np.arange(256)
    sums = (counts * levels).cumsum()
    within = (total > 0) & (total < total[-1])
    if not within.any():
        return None
    lower, here = total[within], sums[within]
    between = (sums[-1] * lower / total[-1] - here) ** 2 / (lower * (total[-1] - lower))
    ink = pixels > levels[within][between.argmax()]
    if ink.mean() > 0.5:
        ink = ~ink
    paper = pixels[~ink]
    contrast = abs(float(np.median(pixels[ink])) - float(np.median(paper)))
    return ink if contrast >= _CONTRAST * float(paper.std()) else None


def _is_cross(blob: np.ndarray) -> bool:
    """Whether ink is narrow and in the middle at the top and bottom of a blob, and as wide as it halfway."""
    columns = np.flatnonzero(blob.any(axis=0))
    blob = blob[:, columns[0] : columns[-1] + 1]
    height, width = blob.shape
    if width < height / 2:
        return False
    quarter, third = max(1, height // 4), height // 3
    ends = [np.flatnonzero(part.any(axis=0)) for part in (blob[:quarter], blob[-quarter:])]
    middle = np.flatnonzero(blob[third : height - third].any(axis=0))
    narrow = all(len(end) and end[0] > 0.2 * width and end[-1] < 0.8 * width for end in ends)
    return bool(narrow and len(middle) and middle[-1] - middle[0] > 0.85 * width - 1)
