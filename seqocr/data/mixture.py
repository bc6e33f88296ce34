"""What a training run learns from: levels of digit strings, custom data, or a mixture of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from seqocr.data.augment import Augmentation
from seqocr.data.digests import Contents, digest
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.soft_labels import SoftLabelLines, SoftLabels
from seqocr.data.sources.datasets import Digits
from seqocr.data.synthetic.layouts import level
from seqocr.errors import InputError

CUSTOM_DATA = "data"  # in a list of levels: your data
_SEED_STEP = 7919  # between the seeds of sources

Batch = tuple[list[Any], list[str]]


class Lines(Protocol):
    def __len__(self) -> int: ...

    def batch(self, indices: range) -> tuple[Any, list[str]]: ...


class KnownLines(Lines, Protocol):
    """Lines that can be known again."""

    @property
    def contents(self) -> Contents: ...


class TrainingLines(KnownLines, Protocol):
    """Lines to learn from, in another order, and augmented anew, every epoch."""

    def at_epoch(self, epoch: int) -> TrainingLines: ...

    @property
    def about(self) -> dict[str, Any]:
        """What they are, for the provenance of weights."""


Chunk = tuple[TrainingLines, range]  # of a stream in its epoch: the indices of some lines


@dataclass(frozen=True)
class MixtureSource:
    """Lines to learn from, held-out ones to choose the best checkpoint by (None: others choose), and their weight."""

    train: TrainingLines
    held_out: KnownLines | None
    weight: int = 1

    @property
    def contents(self) -> Contents:
        parts = [part.contents for part in (self.train, self.held_out) if part is not None]
        return {kind: digest(part[kind] for part in parts) for kind in parts[0]}


class DataMixture:
    """Sources, mixed in fixed proportions in every batch."""

    def __init__(self, sources: list[MixtureSource]) -> None:
        self.sources, self.weight = sources, sum(source.weight for source in sources)

    @property
    def about(self) -> list[dict[str, Any]]:
        return [{**source.train.about, "weight": source.weight} for source in self.sources]

    @property
    def contents(self) -> Contents:
        """Of all lines, held-out ones included: what must be the same for a training to be resumed."""
        parts = [source.contents for source in self.sources]
        return {kind: digest(part[kind] for part in parts) for kind in parts[0]}

    def schedule(self, size: int, step: int = 0) -> Iterator[Sequence[Chunk]]:
        """Which lines make up each batch, from that of `step` on, without end: a chunk of each source.

        Raises:
            InputError: a batch of this size cannot be mixed, or a source has too few lines for one.
        """
        if size % self.weight:
            raise InputError(f"batch_size {size}: give a multiple of {self.weight}, the number of levels")
        shares = [size // self.weight * source.weight for source in self.sources]
        for source, share in zip(self.sources, shares, strict=True):
            if len(source.train) < share:
                raise InputError(
                    f"{len(source.train):,} lines to learn from are fewer than the {share} of a batch: lower batch_size"
                )
        chunks = [_chunks(source.train, share, step) for source, share in zip(self.sources, shares, strict=True)]
        return zip(*chunks, strict=True)

    def held_out(self, count: int) -> Lines:
        """About `count` held-out lines, mixed as those to learn from are, or as many as there are."""
        lines_of = [(source.held_out, source.weight) for source in self.sources if source.held_out is not None]
        total = sum(weight for _, weight in lines_of)
        return _FirstLines([(lines, min(-(-count * weight // total), len(lines))) for lines, weight in lines_of])


class _FirstLines:
    """The first lines of several sources, one after another. None is kept in memory: images can be large."""

    def __init__(self, counts: list[tuple[Lines, int]]) -> None:
        self.counts = counts

    def __len__(self) -> int:
        return sum(count for _, count in self.counts)

    def batch(self, indices: range) -> Batch:
        found, start = [], 0
        for lines, count in self.counts:
            here = range(max(0, indices.start - start), min(count, indices.stop - start))
            found += [lines.batch(here)] if here else []
            start += count
        return _join(found)


def mix_levels(
    levels: str,
    length: int | tuple[int, int],
    seed: int,
    augmentation: Augmentation,
    digits: tuple[Digits, Digits] | None = None,
    custom: tuple[TrainingLines, KnownLines] | None = None,
    repeats: float = 0.0,
    soft_labels: SoftLabels | None = None,
) -> list[MixtureSource]:
    """The levels of a list, weighted by how often each is named ("grid,wild,wild": a third, two thirds). Where your
    data is among them, checkpoints are chosen by that alone.

    Args:
        levels: of `seqocr.data.synthetic.layouts.LEVELS`, or `CUSTOM_DATA`, separated by commas.
        length, seed, augmentation, repeats: of strings of digits (see `SequenceMNIST`); held-out ones do not repeat.
        digits: to learn from, and to choose the best checkpoint by.
        custom: your data, likewise.
        soft_labels: of the digits to learn from, which are copies.

    Raises:
        InputError: there is no such level, or nothing for it.
    """
    sources = []
    for i, (name, weight) in enumerate(Counter(levels.split(",")).items()):
        if name == CUSTOM_DATA:
            if custom is None:
                raise InputError(f"level {CUSTOM_DATA!r} is your data: give a folder of lines")
            sources.append(MixtureSource(*custom, weight))
            continue
        more: dict[str, Any] = {"seed": seed + i * _SEED_STEP, "layout": level(name)}
        if digits is None:
            raise InputError(f"level {name!r} is made of digits: give some")
        lines = SequenceMNIST(digits[0], length, augmentation=augmentation, repeats=repeats, **more)
        train = SoftLabelLines(soft_labels, lines) if soft_labels else lines
        held_out = None if CUSTOM_DATA in levels.split(",") else SequenceMNIST(digits[1], length, **more)
        sources.append(MixtureSource(train, held_out, weight))
    return sources


def read_chunks(chunks: Iterable[Chunk]) -> Batch:
    return _join(lines.batch(indices) for lines, indices in chunks)


def _chunks(lines: TrainingLines, size: int, step: int) -> Iterator[Chunk]:
    """From `step` on, `size` lines per step, epoch after epoch."""
    epoch = 0
    while True:
        lines = lines.at_epoch(epoch)
        in_epoch = len(lines) // size  # not the same every time where lengths are mixed
        for i in range(step, in_epoch):
            yield lines, range(i * size, (i + 1) * size)
        step, epoch = max(0, step - in_epoch), epoch + 1


def _join(batches: Any) -> Batch:
    images: list[Any] = []
    texts: list[str] = []
    for more_images, more_texts in batches:
        images.extend(more_images)
        texts.extend(more_texts)
    return images, texts
