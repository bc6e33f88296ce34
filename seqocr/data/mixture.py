"""What a training run learns from: levels of digit strings, lines of your own, or a mixture of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from seqocr.data.augment import Augmentation
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits
from seqocr.data.synthetic.layouts import level
from seqocr.errors import InputError

OWN = "data"  # in a list of levels: lines of one's own
_APART = 7919  # between the seeds of parts

Batch = tuple[list[Any], list[str]]


class Lines(Protocol):
    """Line images and their texts."""

    def __len__(self) -> int: ...

    def batch(self, indices: range) -> tuple[Any, list[str]]: ...


class Stream(Lines, Protocol):
    """Lines to learn from, in another order, and changed otherwise, every epoch."""

    def at_epoch(self, epoch: int) -> Stream: ...

    @property
    def about(self) -> dict[str, Any]:
        """What they are, for the provenance of weights."""


Chunk = tuple[Stream, range]  # of a stream in its epoch: the indices of some lines


@dataclass(frozen=True)
class Part:
    """Lines to learn from, perhaps some to choose the best checkpoint by, and how many parts of a mixture they make."""

    train: Stream
    held_out: Lines | None
    weight: int = 1


class DataMixture:
    """A mixture of parts, in fixed proportions in every batch."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts, self.weight = parts, sum(part.weight for part in parts)

    @property
    def about(self) -> list[dict[str, Any]]:
        return [{**part.train.about, "weight": part.weight} for part in self.parts]

    def schedule(self, size: int, step: int = 0) -> Iterator[Sequence[Chunk]]:
        """Which lines make up each batch, from that of `step` on, without end: a chunk of each part.

        Raises:
            InputError: a batch of this size cannot be mixed, or a part has too few lines for one.
        """
        if size % self.weight:
            raise InputError(f"batch_size {size}: give a multiple of {self.weight}, the number of levels")
        shares = [size // self.weight * part.weight for part in self.parts]
        for part, share in zip(self.parts, shares, strict=True):
            if len(part.train) < share:
                raise InputError(
                    f"{len(part.train):,} lines to learn from are fewer than the {share} of a batch: lower batch_size"
                )
        chunks = [_chunks(part.train, share, step) for part, share in zip(self.parts, shares, strict=True)]
        return zip(*chunks, strict=True)

    def batches(self, size: int, step: int = 0) -> Iterator[Batch]:
        """The batches of `schedule`."""
        return map(read_chunks, self.schedule(size, step))

    def held_out(self, count: int) -> Lines:
        """About `count` held-out lines, as mixed as those to learn from, or as many as there are."""
        chosen_by = [(part.held_out, part.weight) for part in self.parts if part.held_out is not None]
        parts = sum(weight for _, weight in chosen_by)
        wanted = [(lines, min(-(-count * weight // parts), len(lines))) for lines, weight in chosen_by]
        return _InTurn(wanted)


class _InTurn:
    """The first lines of several, one after another. None is kept in memory: lines of one's own can be large."""

    def __init__(self, parts: list[tuple[Lines, int]]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(count for _, count in self.parts)

    def batch(self, indices: range) -> Batch:
        found, start = [], 0
        for lines, count in self.parts:
            here = range(max(0, indices.start - start), min(count, indices.stop - start))
            found += [lines.batch(here)] if here else []
            start += count
        return _joined(found)


def mixture(
    levels: str,
    length: int | tuple[int, int],
    seed: int,
    augmentation: Augmentation,
    digits: tuple[Digits, Digits] | None = None,
    own: tuple[Stream, Lines] | None = None,
    repeats: float = 0.0,
) -> DataMixture:
    """The material that a list of levels names, each of which makes one part ("grid,wild,wild": a third, two thirds).

    Where lines of one's own are among it, checkpoints are chosen by those alone.

    Args:
        levels: of `seqocr.data.synthetic.layouts.LEVELS`, or `OWN`, separated by commas.
        length, seed, augmentation, repeats: of strings of digits (see `SequenceMNIST`); held-out ones do not repeat.
        digits: to learn from, and to choose the best checkpoint by.
        own: the like for lines of one's own.

    Raises:
        InputError: there is no such level, or nothing for it.
    """
    parts = []
    for i, (name, weight) in enumerate(Counter(levels.split(",")).items()):
        if name == OWN:
            if own is None:
                raise InputError(f"level {OWN!r} is lines of your own: give a folder of them")
            parts.append(Part(*own, weight))
            continue
        layout, apart = level(name), seed + i * _APART
        if digits is None:
            raise InputError(f"level {name!r} is drawn from digits: give some")
        more: dict[str, Any] = {"seed": apart, "layout": layout}
        train = SequenceMNIST(digits[0], length, augmentation=augmentation, repeats=repeats, **more)
        held_out = None if OWN in levels.split(",") else SequenceMNIST(digits[1], length, **more)
        parts.append(Part(train, held_out, weight))
    return DataMixture(parts)


def read_chunks(chunks: Iterable[Chunk]) -> Batch:
    """The lines of chunks, one after another."""
    return _joined(lines.batch(indices) for lines, indices in chunks)


def _chunks(lines: Stream, size: int, step: int) -> Iterator[Chunk]:
    """From `step` on, `size` lines per step, epoch after epoch."""
    epoch = 0
    while True:
        lines = lines.at_epoch(epoch)
        in_epoch = len(lines) // size  # not the same every time where lengths are mixed
        for i in range(step, in_epoch):
            yield lines, range(i * size, (i + 1) * size)
        step, epoch = max(0, step - in_epoch), epoch + 1


def _joined(batches: Any) -> Batch:
    images: list[Any] = []
    texts: list[str] = []
    for more_images, more_texts in batches:
        images.extend(more_images)
        texts.extend(more_texts)
    return images, texts
