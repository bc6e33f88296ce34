"""JPEG files that end before their end marker, as some cameras and broken transfers leave them.

Pillow refuses them, where viewers show what is there. They are read if hardly anything is missing: what a decoder makes
up for data that are not there depends on what follows, so two different ends tell which pixels those are.
"""

import io
import re
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageChops

NO_END = "the JPEG has no end marker: its last rows may be missing"

_END = b"\xff\xd9"
_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # not what stands among the pixels: escaped 0xff, restart markers
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of the size and components; the rest are tables
_SCAN, _COEFFICIENTS = 0xDA, 64
_MOST_BYTES = 100_000_000  # of a file, as it is held in memory
_MOST_MISSING = 0.02  # of all pixels; one block of 8×8 in a line of 32×128
_OTHER_BYTES = 64  # per column: more than a row of blocks can take


def without_end(image: Any, draft: Callable[[Image.Image], object]) -> Image.Image | None:
    """A JPEG that Pillow cannot decode whole, decoded as if it had an end marker. None if that is not what it lacks, or
    if more than a corner of its last row of blocks is missing.

    Args:
        image: an opened JPEG, whose file is still open.
        draft: has a decoder shrink an image while it decodes it.
    """
    try:
        image.fp.seek(0)
        data = image.fp.read(_MOST_BYTES + 1).rstrip(b"\xff")  # perhaps half a marker
        last_scan = None if len(data) > _MOST_BYTES else _find_last_scan(data)
        if last_scan is None:
            return None
        found, scale = _decoded(data + _END, draft)
        other = bytes(range(1, 255)) * (1 + found.width * _OTHER_BYTES // 254)
        changed, _ = _decoded(data + other + _next_restart(data[last_scan:]) + other + _END, draft)
    except Exception:  # every decoder of Pillow has its own kinds
        return None
    lost = ImageChops.difference(found.convert("RGB"), changed.convert("RGB")).getbbox()
    if lost is None:
        return found
    width, height = found.width - lost[0], found.height - lost[1]
    row = 8 * (max(layer[2] for layer in found.layer) if len(found.layer) > 1 else 1) * scale
    in_last_row = lost[0] > 0 and height <= row + 1  # colours are smoothed into the row above
    return found if in_last_row and width * height <= _MOST_MISSING * found.width * found.height else None


def _decoded(data: bytes, draft: Callable[[Image.Image], object]) -> tuple[Any, float]:
    """The image, and its size in that of the JPEG."""
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    height = image.height
    draft(image)
    image.load()
    return image, image.height / height


def _next_restart(scan: bytes) -> bytes:
    """The restart marker that a decoder waits for behind pixels that end where one should follow."""
    found = [marker[1][0] for marker in _RESTART.finditer(scan)]
    return bytes([0xFF, 0xD0 + (found[-1] + 1) % 8 if found else 0xD0])


def _find_last_scan(data: bytes) -> int | None:
    """Where the last scan begins in a JPEG that lacks an end marker, but no scan: a progressive one comes in several,
    each coarse. None if the marker is there, or if scans are missing."""
    components, exact, at, last_scan = 1, set[tuple[int, int]](), 2, None
    while marker := _SEGMENT.search(data, at):
        kind, at = marker[1][0], marker.end()
        if kind == _END[1]:
            return None
        length = int.from_bytes(data[at : at + 2])
        segment = data[at + 2 : at + length]
        if len(segment) < length - 2 or (length < 8 and kind in (_SCAN, *_FRAMES)):
            return None
        at += max(length, 2)
        if kind in _FRAMES:
            components = segment[5]
        elif kind == _SCAN:
            last_scan = at
            parts = segment[0]
            first, last, precision = segment[1 + 2 * parts : 4 + 2 * parts]
            if precision % 16 == 0:  # the last bit
                exact |= {(part, k) for part in segment[1 : 1 + 2 * parts : 2] for k in range(first, last + 1)}
    return last_scan if len(exact) >= components * _COEFFICIENTS else None
