"""Where a line's content is, and the line cut to it where margins would make its digits too small to be read."""

import math

import numpy as np
from PIL import Image, ImageFilter

Box = tuple[int, int, int, int]  # left, top, right, bottom

_PIXELS = 250_000  # content is looked for in an image shrunk to no more
_CELL = 8  # pixels each way: edges that near each other belong to one part
_LEAST_STEP = 8.0  # grey levels across two pixels: less is no edge
_OF_HIGHEST = 0.22  # an edge is at least this share of the highest step
_QUIET = 0.11  # of the highest step: 95 % of the steps outside of the content are smaller
_MOST = 0.5  # share of cells with edges: more is no small content
_FRAME = 0.1  # share of the shorter side: what runs along the border no deeper than that is a frame
_ALONG = 0.8  # share of a side that a frame runs along
_SMALL = 0.3  # a part whose height and number of edges are smaller shares of the largest part's is a speckle
_MARGIN = 0.1  # of the content's height, kept around it
_ASPECT = 8  # width over height of what readers look at, about
_ENLARGEMENT = 1.35  # an image is cut if its digits grow as many times in a reader's input


def trim(line: Image.Image) -> tuple[Image.Image, int]:
    """A grey line cut to its content with a margin, and how many columns on the left that takes away.

    An image is left as it is unless its content is a small part of it: some digits on a page, or at one end of a strip.
    """
    if (box := find_content(line)) is None:
        return line, 0
    margin = math.ceil(_MARGIN * (box[3] - box[1]))
    left, top = max(0, box[0] - margin), max(0, box[1] - margin)
    right, bottom = min(line.width, box[2] + margin), min(line.height, box[3] + margin)
    if _scale(right - left, bottom - top) < _ENLARGEMENT * _scale(*line.size):
        return line, 0
    return line.crop((left, top, right, bottom)), left


def is_blank(line: Image.Image) -> bool:
    """Whether a grey line has no edges at all."""
    return not bool((_steps(line) >= _LEAST_STEP).any())


def _scale(width: int, height: int) -> float:
    return min(1 / height, _ASPECT / width)


def find_content(line: Image.Image) -> Box | None:
    """The box of what a grey line shows, without a frame and speckles; None where that is most of it, or does not stand
    out from what is around it."""
    factor = math.ceil(math.sqrt(line.width * line.height / _PIXELS))
    steps = _steps(line.reduce(factor) if factor > 1 else line)
    highest = float(steps.max())
    edges = steps >= max(_LEAST_STEP, _OF_HIGHEST * highest)
    counts = _count_in_cells(edges)
    if (counts > 0).mean() > _MOST:
        return None
    frames: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    for part in _parts(counts > 0):
        (frames if _is_frame(part, counts.shape) else parts).append(part)
    edges &= _pixels_of(_without_speckles(parts, counts), edges.shape)
    rows, columns = (np.flatnonzero(edges.any(axis=axis)).tolist() for axis in (1, 0))
    if not rows:
        return None
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    outside = ~_pixels_of(frames, edges.shape)
    outside[top:bottom, left:right] = False
    if outside.any() and np.percentile(steps[outside], 95) > _QUIET * highest:
        return None
    return left * factor, top * factor, min(right * factor, line.width), min(bottom * factor, line.height)


def _steps(line: Image.Image) -> np.ndarray:
    """(h, w) int16: how much grey changes around each pixel, grain smoothed."""
    pixels = np.asarray(line.filter(ImageFilter.MedianFilter(3)), np.int16)
    steps = np.zeros(pixels.shape, np.int16)
    steps[1:-1] = np.abs(pixels[2:] - pixels[:-2])
    np.maximum(steps[:, 1:-1], np.abs(pixels[:, 2:] - pixels[:, :-2]), out=steps[:, 1:-1])
    return steps


def _count_in_cells(edges: np.ndarray) -> np.ndarray:
    """Edges (h, w) bool in each cell."""
    height, width = (math.ceil(side / _CELL) for side in edges.shape)
    whole = np.zeros((height * _CELL, width * _CELL), bool)
    whole[: edges.shape[0], : edges.shape[1]] = edges
    return whole.reshape(height, _CELL, width, _CELL).sum(axis=(1, 3))


def _pixels_of(parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """(h, w) bool: the pixels of all cells of some parts."""
    pixels = np.zeros(shape, bool)
    for row, column in (cell for part in parts for cell in (part * _CELL).tolist()):
        pixels[row : row + _CELL, column : column + _CELL] = True
    return pixels


def _parts(cells: np.ndarray) -> list[np.ndarray]:
    """Connected parts of (h, w) bool, each (n, 2): rows and columns of its cells."""
    left = set(zip(*(places.tolist() for places in np.nonzero(cells)), strict=True))
    found = []
    while left:
        part = [left.pop()]
        for row, column in part:  # grows meanwhile
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            part += near
        found.append(np.array(part))
    return found


def _is_frame(part: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether a part of (h, w) cells runs along the border."""
    size = np.array(shape)
    depths = np.minimum(part, size - 1 - part).min(axis=1)
    runs = np.ptp(part, axis=0) + 1 >= _ALONG * size
    return bool(runs.any() and (depths < max(1.0, _FRAME * size.min())).all())


def _without_speckles(parts: list[np.ndarray], counts: np.ndarray) -> list[np.ndarray]:
    sizes = [counts[tuple(part.T)].sum() for part in parts]
    heights = [np.ptp(part[:, 0]) + 1 for part in parts]
    return [
        part
        for part, size, height in zip(parts, sizes, heights, strict=True)
        if size > _SMALL * max(sizes) or height > _SMALL * max(heights)
    ]
