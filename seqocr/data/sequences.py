"""Digit strings as line images: digits laid side by side on an exact grid, or as a layout has them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import Dataset

from seqocr.data.augment import CELL, Augmentation
from seqocr.data.digests import Contents
from seqocr.data.sampling import hash_seed, sample_of_class
from seqocr.data.sources.datasets import Digits
from seqocr.data.synthetic.layouts import Layout
from seqocr.errors import InputError


class SequenceMNIST(Dataset[tuple[torch.Tensor, str]]):
    """Strings of digits sampled from a pool, as (image, text) pairs.

    A string of n digits is an image (28, 28·n) uint8, white on black, or with a layout (height, w): a function of
    (seed, epoch, index) alone, in any batch and order.

    Args:
        digits: the pool.
        length: digits in a string, or (shortest, longest), both inclusive, sampled uniformly.
        repeats: chance that a symbol is the one before it again, another image of it, sampled with replacement.
        replacement: sample with replacement; else an epoch uses each digit at most once.
        count: number of strings. Without replacement it defaults to, and may not exceed, what the pool is enough for.
        seed: seeds the sample and the augmentation.
        epoch: another sample of the same pool; `at_epoch` gives the data set of a later epoch.
        augmentation: distorts each digit. Refused on the test and validation splits.
        layout: spaces digits, and puts them on paper; default: each in its cell, untouched.

    Raises:
        InputError: an impossible length, a pool too small for `count`, or augmentation of held-out digits.
    """

    def __init__(
        self,
        digits: Digits,
        length: int | tuple[int, int] = 5,
        *,
        repeats: float = 0.0,
        replacement: bool = False,
        count: int | None = None,
        seed: int = 0,
        epoch: int = 0,
        augmentation: Augmentation | None = None,
        layout: Layout | None = None,
    ) -> None:
        shortest, longest = (length, length) if isinstance(length, int) else length
        if not 1 <= shortest <= longest < 2**31:
            raise InputError(f"length {length}: give a whole number of digits from 1 up, or (shortest, longest)")
        if replacement and count is None:
            raise InputError("drawing with replacement never ends by itself: give `count`, the number of strings")
        if count is not None and not 1 <= count < 2**31:
            raise InputError(f"count {count}: give a number of strings from 1 up to two billion")
        if len(digits) and int(digits.labels.max()) >= len(digits.symbols):
            raise InputError(
                f"charset {digits.symbols!r} has {len(digits.symbols)} symbols, {digits.source} has label "
                f"{int(digits.labels.max())}: give a symbol for every label"
            )
        if augmentation is not None and digits.split != "train":
            raise InputError(f"augmentation is for training digits only, these are the {digits.split} split")
        if not 0 <= repeats <= 1:
            raise InputError(f"repeats {repeats}: give a chance from 0 to 1")
        self.digits, self.augmentation, self.layout = digits, augmentation, layout
        same: dict[str, Any] = {"repeats": repeats, "replacement": replacement, "count": count, "seed": seed}
        self._again = partial(SequenceMNIST, digits, length, augmentation=augmentation, layout=layout, **same)
        self._key = hash_seed(hash_seed(seed) ^ epoch)
        generator = torch.Generator().manual_seed(self._key)
        pool = len(digits)
        most = pool // shortest
        strings = count if count is not None else most
        if not replacement:
            strings = min(strings, most + 1)  # one too many is enough to be refused below, and takes no memory
        lengths = torch.randint(shortest, longest + 1, (strings,), generator=generator)
        ends = lengths.cumsum(0)
        if not replacement:
            fitting = int((ends <= pool).sum())
            if (count is not None and fitting < count) or fitting == 0:
                raise InputError(
                    f"{pool:,} {digits.split} digits make {fitting:,} strings of length {length} without replacement, "
                    f"not {count or strings:,}: ask for fewer, or draw with replacement"
                )
            lengths, ends = lengths[:fitting], ends[:fitting]
        total = int(ends[-1])
        if replacement:
            order = torch.randint(pool, (total,), generator=generator)
        else:
            order = torch.randperm(pool, generator=generator)[:total]
        if repeats:
            order = _repeat_symbols(order, digits.labels, repeats, generator)
        self._members = order.split(lengths.tolist())  # which digits of the pool make each string

    def at_epoch(self, epoch: int) -> SequenceMNIST:
        return self._again(epoch=epoch)

    @property
    def about(self) -> dict[str, Any]:
        return {"source": self.digits.source, "split": self.digits.split, "digits": len(self.digits)}

    @property
    def contents(self) -> Contents:
        return self.digits.contents

    def __len__(self) -> int:
        return len(self._members)

    def members(self, index: int) -> torch.Tensor:
        """(n,) int64: which digits of the pool make a string."""
        return self._members[self._check(index)]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        """One string: image (28, 28·n) or, with a layout, (height, w), uint8, and its text.

        Raises:
            IndexError: past either end, so that iteration stops.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, str]]:
        """Many strings at once; torch's DataLoader fetches a batch through this."""
        images, texts = self.batch(indices)
        return list(zip(images, texts, strict=True))

    def batch(self, indices: list[int] | range) -> tuple[list[torch.Tensor] | torch.Tensor, list[str]]:
        """Many strings at once: images and B texts.

        Images are (B, 28, 28·n) uint8 if all strings have the same length n, else a list of B (28, 28·n_i) uint8; with
        a layout a list of B (height, w_i) uint8.
        """
        indices = [self._check(index) for index in indices]
        members = [self._members[index] for index in indices]
        lengths = [len(member) for member in members]
        chosen = torch.cat(members)
        cells = self.digits.images[chosen]
        of_digits, of_lines, of_layout = self._noise(indices, lengths)
        if self.augmentation is not None:
            cells = self.augmentation(cells.float() / 255, of_digits).mul(255).round().to(torch.uint8)
        symbols = iter([self.digits.symbols[label] for label in self.digits.labels[chosen].tolist()])
        texts = ["".join(islice(symbols, n)) for n in lengths]
        if self.layout is not None:
            return self.layout(cells.float() / 255, texts, of_lines, of_layout), texts
        if len(set(lengths)) == 1:
            return _side_by_side(cells.view(len(indices), lengths[0], CELL, CELL)), texts
        return [_side_by_side(part[None])[0] for part in cells.split(lengths)], texts

    def _check(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} strings")
        return index % len(self)

    def _noise(self, indices: list[int], lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Uniform noise in [0, 1), each string's from a generator keyed by its index: (total digits, noise_size) for
        the augmentation, (B, line_noise_size) and (total digits, digit_noise_size) for the layout."""
        augmentation = self.augmentation.noise_size if self.augmentation else 0
        line, digit = (self.layout.line_noise_size, self.layout.digit_noise_size) if self.layout else (0, 0)
        generator, parts = torch.Generator(), []
        if not augmentation + line:
            return (torch.empty(sum(lengths), 0),) * 3
        for index, n in zip(indices, lengths, strict=True):
            generator.manual_seed(hash_seed(self._key ^ (index + 1)))
            parts.append([torch.rand(size, generator=generator) for size in ((n, augmentation), (1, line), (n, digit))])
        of_digits, of_lines, of_layout = (torch.cat(kind) for kind in zip(*parts, strict=True))
        return of_digits, of_lines, of_layout


def _repeat_symbols(
    order: torch.Tensor, labels: torch.Tensor, chance: float, generator: torch.Generator
) -> torch.Tensor:
    """Replace some digits of an order by any of the class of the one before."""
    again, pick = torch.rand(2, len(order), generator=generator)
    again = again < chance
    again[0] = False
    # What a run repeats stands at the last place at or before that is not replaced.
    first = torch.where(again, 0, torch.arange(len(order))).cummax(0).values
    return torch.where(again, sample_of_class(labels, labels[order[first]], pick), order)


def _side_by_side(cells: torch.Tensor) -> torch.Tensor:
    """(B, n, 28, 28) -> (B, 28, 28·n)."""
    batch, n = cells.shape[:2]
    return cells.transpose(1, 2).reshape(batch, CELL, n * CELL)
