"""Synthetic lines of digits: each by one writer, in one style."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from seqocr.data.digests import Contents, digest
from seqocr.data.sampling import hash_seed, sample_of_class
from seqocr.data.sources.datasets import Digits
from seqocr.data.sources.strokes import Strokes
from seqocr.data.synthetic.pen import (
    Transform,
    TransformedBitmaps,
    TransformedStrokes,
    transform_bitmaps,
    transform_strokes,
)
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.errors import InputError


class Glyphs:
    """Digits that lines are composed of, bitmaps or strokes, and who wrote each.

    Args:
        pool: labelled digits.
        writers: (N,) int64; default: those of strokes, while bitmaps count as of one writer.
    """

    def __init__(self, pool: Digits | Strokes, writers: torch.Tensor | None = None) -> None:
        if writers is None:
            writers = pool.writers if isinstance(pool, Strokes) else torch.zeros(len(pool), dtype=torch.long)
        self.pool, self.writers = pool, writers

    @property
    def strokes(self) -> Strokes | None:
        return self.pool if isinstance(self.pool, Strokes) else None

    def transform(self, chosen: torch.Tensor, transform: Transform) -> TransformedStrokes | TransformedBitmaps:
        if isinstance(self.pool, Strokes):
            return transform_strokes(self.pool.trajectories[chosen], transform)
        return transform_bitmaps(self.pool.images[chosen].float() / 255, transform)


@dataclass(frozen=True)
class TextSampler:
    """Samples the numbers that lines show.

    Attributes:
        length: digits, or (shortest, longest), sampled uniformly.
        repeats: chance that a digit is the one before it again.
        round: chance that a number ends in zeros; each further zero before them has a chance of two thirds.
    """

    length: int | tuple[int, int] = (1, 10)
    repeats: float = 0.15
    round: float = 0.15

    def sample(self, count: int, symbols: int, generator: torch.Generator) -> list[torch.Tensor]:
        """`count` strings of ids below `symbols`, (n_i,) int64."""
        shortest, longest = (self.length, self.length) if isinstance(self.length, int) else self.length
        lengths = torch.randint(shortest, longest + 1, (count,), generator=generator)
        ids = torch.randint(symbols, (count, longest), generator=generator)
        chance = torch.rand(3, count, longest, generator=generator)
        again = chance[0] < self.repeats
        again[:, 0] = False
        first = torch.where(again, 0, torch.arange(longest)).cummax(1).values
        ids = ids.gather(1, first)
        left = lengths[:, None] - 1 - torch.arange(longest)
        # From the end on, as long as the chances hold.
        tail = (chance[1].gather(1, left.clamp(min=0)) < 2 / 3) | (left < 0)
        tail = tail.flip(1).cumprod(1).flip(1).bool() & (chance[2, :, :1] < self.round)
        tail[:, 0] = False
        ids = torch.where(tail, 0, ids)
        return [row[:n] for row, n in zip(ids, lengths.tolist(), strict=True)]


class SyntheticLines:
    """Lines for training or testing: (image, text), each a function of (seed, epoch, index) alone.

    A line is by one writer as far as that writer's digits go: a digit that is not among them is taken from another.

    Args:
        glyphs, texts, style: what lines are composed of, which numbers they show, and how they are written.
        count: lines in an epoch.
    """

    def __init__(
        self,
        glyphs: Glyphs,
        texts: TextSampler,
        style: WriterStyle,
        *,
        count: int = 10_000,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        if len(glyphs.pool.labels.unique()) < len(glyphs.pool.symbols):
            raise InputError(f"{glyphs.pool.source} does not have all of {glyphs.pool.symbols!r}: give others")
        self.glyphs, self.style = glyphs, style
        self._again = partial(SyntheticLines, glyphs, texts, style, count=count, seed=seed)
        self._key = hash_seed(hash_seed(seed) ^ epoch)
        generator = torch.Generator().manual_seed(self._key)
        labels, symbols = glyphs.pool.labels, len(glyphs.pool.symbols)
        self._ids = texts.sample(count, symbols, generator)
        # A writer is as likely as the pool has digits by that writer.
        by_line = glyphs.writers[torch.randint(len(labels), (count,), generator=generator)]
        self._members = _choose(glyphs.writers, labels, by_line, self._ids, generator)

    def at_epoch(self, epoch: int) -> SyntheticLines:
        return self._again(epoch=epoch)

    @property
    def about(self) -> dict[str, Any]:
        pool = self.glyphs.pool
        writers = len(self.glyphs.writers.unique())
        return {"source": pool.source, "split": pool.split, "digits": len(pool), "writers": writers}

    @property
    def contents(self) -> Contents:
        pool = self.glyphs.pool.contents
        return {**pool, "images": digest([pool["images"], self.glyphs.writers])}

    def __len__(self) -> int:
        return len(self._ids)

    def batch(self, indices: list[int] | range) -> tuple[list[torch.Tensor], list[str]]:
        """Many lines at once: images (h_i, w_i) uint8, and their texts."""
        for index in indices:
            if not 0 <= index < len(self):
                raise IndexError(f"index {index} of {len(self)} lines")
        symbols = self.glyphs.pool.symbols
        texts = ["".join(symbols[i] for i in self._ids[index].tolist()) for index in indices]
        chosen = torch.cat([self._members[index] for index in indices])
        generator, lines, digits = torch.Generator(), [], []
        for index in indices:
            generator.manual_seed(hash_seed(self._key ^ (index + 1)))
            lines.append(torch.rand(1, self.style.line_noise_size, generator=generator))
            digits.append(torch.rand(len(self._ids[index]), self.style.digit_noise_size, generator=generator))
        images = self.style.draw(
            lambda transform: self.glyphs.transform(chosen, transform), texts, torch.cat(lines), torch.cat(digits)
        )
        return images, texts


def _choose(
    writers: torch.Tensor,
    labels: torch.Tensor,
    by_line: torch.Tensor,
    ids: list[torch.Tensor],
    generator: torch.Generator,
) -> list[torch.Tensor]:
    """Choose the digits of the pool that make each line: its writer's where there are some, else anyone's."""
    classes = int(labels.max()) + 1
    flat, lengths = torch.cat(ids), [len(row) for row in ids]
    key = writers * classes + labels
    wanted = torch.repeat_interleave(by_line, torch.tensor(lengths)) * classes + flat
    pick = torch.rand(len(flat), generator=generator, dtype=torch.float64)
    own, anyone = sample_of_class(key, wanted, pick), sample_of_class(labels, flat, pick)
    return list(torch.where(key[own] == wanted, own, anyone).split(lengths))
