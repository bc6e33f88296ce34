"""Handwritten digits as pen strokes, by writer: from a file of JSON lines, or from a copy of UNIPEN.

Trajectories can be drawn with any pen (`seqocr.data.synthetic.pen`), which bitmaps cannot.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import Akima1DInterpolator

from seqocr.data.digests import Contents, digest
from seqocr.data.sources.datasets import DIGITS
from seqocr.data.sources.unipen import digits_of, is_unipen
from seqocr.errors import InputError
from seqocr.files import shown

log = logging.getLogger(__name__)

POINTS = 112  # along a digit: about two thirds of a pixel apart where it is 30 pixels high
_HELD_OUT = {"test": 0.1, "validation": 0.1}  # shares of the writers
Points = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Strokes:
    """Labelled digits as trajectories, of writers who are known.

    Attributes:
        trajectories: (N, POINTS, 3) float32: x to the right, y down, and the pen's speed there, of a digit's usual.
            Points are evenly spaced on what the pen wrote. The digit's middle is 0, its larger side is 1.
        labels, source, split, symbols: as `Digits` has them.
        writers: (N,) int64.
    """

    trajectories: torch.Tensor
    labels: torch.Tensor
    writers: torch.Tensor
    source: str
    split: str
    symbols: str = DIGITS

    def __len__(self) -> int:
        return len(self.trajectories)

    @property
    def contents(self) -> Contents:
        return {"images": digest([self.trajectories]), "labels": digest([self.labels])}

    def __getitem__(self, keep: slice | torch.Tensor) -> Strokes:
        return replace(self, trajectories=self.trajectories[keep], labels=self.labels[keep], writers=self.writers[keep])


def load_strokes(path: Path, split: str) -> Strokes:
    """One split of a file of strokes, or of a copy of UNIPEN (a folder). No writer is in two splits.

    Each line of the file is an object with `label` (a digit), `sheet` or `writer` (whatever tells writers apart) and
    `strokes` (lists of [x, y], in order of writing).

    Raises:
        InputError: the file is missing or not such a file, or no writer is in the split.
    """
    found = [digit for digit in _parsed(path) if split_of(digit[1]) == split]
    if not found:
        raise InputError(f"{shown(path)} has no writer in the split {split!r}: give digits of more writers")
    labels, names, strokes = zip(*found, strict=True)
    trajectories, writers = torch.from_numpy(np.stack([resample(each) for each in strokes])), numbered(names)
    loaded = Strokes(trajectories, torch.tensor(labels), writers, f"pen strokes of {shown(path.name)}", split)
    log.info("%s: %s digits of %s, by %s writers", split, f"{len(loaded):,}", loaded.source, f"{len(set(names)):,}")
    return loaded


def numbered(names: Sequence[str] | Sequence[int]) -> torch.Tensor:
    """Names as numbers from 0 up, in their order, (N,) int64."""
    return torch.from_numpy(np.unique(np.array(names), return_inverse=True)[1].astype(np.int64))


def split_of(writer: str) -> str:
    """Which split a writer is in: a function of the name alone, the same on any machine."""
    place = int.from_bytes(hashlib.sha256(f"writer/{writer}".encode()).digest()[:8]) / 2**64
    for split, share in _HELD_OUT.items():
        if place < share:
            return split
        place -= share
    return "train"


def resample(strokes: Iterable[Points]) -> np.ndarray:
    """Strokes as (POINTS, 3) float32 (see `Strokes.trajectories`)."""
    written = [_smooth(np.asarray(stroke, float)) for stroke in strokes]
    lengths = np.array([piece[-1, 3] for piece in written])
    shares = np.maximum(1, np.round(POINTS * lengths / max(lengths.sum(), 1e-9))).astype(int)
    shares[lengths.argmax()] += POINTS - shares.sum()
    pieces = []
    for piece, count in zip(written, shares, strict=True):
        along = np.linspace(0, piece[-1, 3], count) if count > 1 else piece[-1:, 3] / 2
        pieces.append(np.stack([np.interp(along, piece[:, 3], piece[:, axis]) for axis in range(3)], 1))
    track = np.concatenate(pieces)
    low, high = track[:, :2].min(0), track[:, :2].max(0)
    track[:, :2] = (track[:, :2] - (low + high) / 2) / max(float((high - low).max()), 1e-9)
    track[:, 2] = np.clip(track[:, 2] / max(float(np.median(track[:, 2])), 1e-9), 0.4, 2.5)
    return track.astype(np.float32)


def _smooth(stroke: np.ndarray) -> np.ndarray:
    """A stroke (n, 2) as a smooth curve: (m, 4) of x, y, speed and the length so far."""
    steps = np.hypot(*np.diff(stroke, axis=0).T)
    stroke = stroke[np.append(True, steps > 0)]
    if len(stroke) == 1:
        return np.array([[*stroke[0], 1.0, 0.0], [*stroke[0], 1.0, 1e-6]])
    steps = steps[steps > 0]
    along = np.append(0, steps.cumsum())
    dense = np.linspace(0, along[-1], max(2, 4 * len(stroke)))
    if len(stroke) > 2:
        curve = Akima1DInterpolator(along, stroke)(dense)
    else:
        curve = np.column_stack([np.interp(dense, along, axis) for axis in stroke.T])
    # Points were recorded at equal times: the farther apart, the faster.
    speed = np.interp(dense, (along[1:] + along[:-1]) / 2, steps)
    length = np.append(0, np.hypot(*np.diff(curve, axis=0).T).cumsum())
    return np.column_stack([curve, speed, length])


def _parsed(path: Path) -> Iterator[tuple[int, str, list[Points]]]:
    name, remedy = shown(path), "give a file whose lines have label, writer and strokes"
    if is_unipen(path):
        yield from digits_of(path)
        return
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise InputError(f"{name} is no file of strokes (.jsonl or .jsonl.gz): {remedy}")
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read ({shown(error)}): give it whole") from error
    for number, line in enumerate(text.splitlines(), 1):
        try:
            yield _digit(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{name}, line {number:,}, is no digit ({shown(error)}): {remedy}") from error


def _digit(row: Any) -> tuple[int, str, list[Points]]:
    label, writer = str(row["label"]), str(row.get("writer", row.get("sheet", "")))
    if label not in DIGITS or len(label) != 1:
        raise ValueError(f"label {label!r}")
    if not writer:
        raise ValueError("no writer")
    strokes = [stroke for stroke in row["strokes"] if len(stroke)]
    if not strokes:
        raise ValueError("no strokes")
    for stroke in strokes:
        array = np.asarray(stroke, float)
        if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
            raise ValueError("a stroke is a list of [x, y]")
    return int(label), writer, strokes
