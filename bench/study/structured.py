"""Strings of a label distribution, as lines of damaged digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bench.study.damage import NUMBERS, Damage, apply_damage
from bench.study.label_distributions import LabelDistribution
from seqocr.data.augment import CELL, Augmentation
from seqocr.data.digests import Contents
from seqocr.data.sampling import hash_seed, sample_of_class
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError


class StructuredLines:
    """Strings of a label distribution, each digit any image of its class, with damage: (28, 28·n) uint8 and texts.

    An epoch is drawn whole, and a line is the same whether asked for alone or in a batch.

    Args:
        digits: images to draw from, with replacement.
        distribution: of the strings.
        count: strings.
        damage: the same for every line, or kinds of damage in equal shares, by the most of each: a line's amount is
            drawn uniformly up to it.
        seed, epoch: seed the draw; another epoch has other strings.
        augmentation: distorts each digit before it is damaged.

    Raises:
        InputError: held-out digits are to be augmented.
    """

    def __init__(
        self,
        digits: Digits,
        distribution: LabelDistribution,
        count: int,
        damage: Damage | Mapping[str, float],
        *,
        seed: int = 0,
        epoch: int = 0,
        augmentation: Augmentation | None = None,
    ) -> None:
        if augmentation is not None and digits.split != "train":
            raise InputError(f"augmentation is for training digits only, these are the {digits.split} split")
        self.digits, self.distribution, self.damage, self.augmentation = digits, distribution, damage, augmentation
        self.seed = seed
        self._key = hash_seed(hash_seed(seed) ^ epoch)
        self.strings = distribution.sample(count, seed=self._key)
        generator = np.random.default_rng([self._key, 1])  # apart from the one that drew the strings
        flat, uniform = (torch.from_numpy(x).flatten() for x in (self.strings, generator.random(self.strings.shape)))
        self._members = sample_of_class(digits.labels, flat, uniform).view(self.strings.shape)
        self._kinds, self._amounts = _sample_damages(damage, count, generator)

    def at_epoch(self, epoch: int) -> StructuredLines:
        more: Any = {"seed": self.seed, "epoch": epoch, "augmentation": self.augmentation}
        return StructuredLines(self.digits, self.distribution, len(self), self.damage, **more)

    @property
    def about(self) -> dict[str, Any]:
        """What they are made of, for the provenance of weights."""
        return {"source": self.digits.source, "split": self.digits.split, "digits": len(self.digits)}

    @property
    def contents(self) -> Contents:
        return self.digits.contents

    def __len__(self) -> int:
        return len(self.strings)

    def batch(self, indices: range | Sequence[int]) -> tuple[torch.Tensor, list[str]]:
        """Images (B, 28, 28·n) uint8 and B texts."""
        chosen = list(indices)
        members = self._members[chosen]
        batch, n = members.shape
        cells = self.digits.images[members.flatten()].float() / 255
        noise = self.augmentation.noise_size if self.augmentation else 0
        numbers = torch.stack([self._numbers(index, n, noise + NUMBERS) for index in chosen])
        if self.augmentation is not None:
            cells = self.augmentation(cells, numbers[:, :, NUMBERS:].flatten(0, 1))
        amounts = torch.from_numpy(self._amounts[chosen]).float()
        kinds = [self._kinds[index] for index in chosen]
        cells = apply_damage(cells.view(batch, n, CELL, CELL), kinds, amounts, numbers[:, :, :NUMBERS])
        images = cells.mul(255).round().to(torch.uint8).transpose(1, 2).reshape(batch, CELL, n * CELL)
        return images, ["".join(map(self.digits.symbols.__getitem__, row)) for row in self.strings[chosen].tolist()]

    def _numbers(self, index: int, n: int, count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(hash_seed(self._key ^ (index + 1)))
        return torch.rand(n, count, generator=generator)


def _sample_damages(
    damage: Damage | Mapping[str, float], count: int, generator: np.random.Generator
) -> tuple[list[str], np.ndarray]:
    """Each line's kind and amount."""
    if isinstance(damage, Damage):
        return [damage.name] * count, np.full(count, damage.amount)
    which = generator.integers(len(damage), size=count)
    most = np.array([*damage.values()])
    return [[*damage][i] for i in which], generator.random(count) * most[which]
