"""Damage to digits on a line: some are gone, or all are hard to read, by a known amount.

It is applied to the digits of a string, before they are laid side by side. Its amount runs from 0, clean, to 1, where
little or nothing can be read. Random numbers come with each digit, so a line is the same every time.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from seqocr.data.augment import CELL

NUMBERS = 3  # uniform random numbers that a digit comes with
_BLURS = 8  # amounts of blur that are distinguished: lines of one amount are blurred together
_WIDEST = 9.0  # pixels: standard deviation of the widest blur
_LOUDEST = 2.5  # standard deviation of the loudest noise, of a brightness of 1
_GRAIN = 0.1  # of the noise that fading strokes drown in


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        name: of the kind, one of `KINDS`.
        amount: in [0, 1]: the chance that a digit is erased at random; the share of a string's digits erased at its
            start or end; how much of a digit is covered, how faded, blurred or noisy it is.
    """

    name: str
    amount: float = 0.0

    @property
    def label(self) -> str:
        return self.name if self.name == "clean" else f"{self.name} {self.amount:.0%}"


def erase(cells: torch.Tensor, amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Each digit with a chance."""
    return cells * (numbers[:, :, 0] >= amount[:, None])[:, :, None, None]


def erase_first(cells: torch.Tensor, amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The first share of the digits, rounded."""
    n = cells.shape[1]
    return cells * (torch.arange(n) >= (amount * n).round()[:, None])[:, :, None, None]


def erase_last(cells: torch.Tensor, amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The last share of the digits, rounded."""
    return erase_first(cells.flip(1), amount, numbers).flip(1)


def cover(cells: torch.Tensor, amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """A blank square somewhere on each digit, `amount` of the cell wide and high."""
    side = (amount * CELL).round()[:, None]
    x, y = ((CELL - side) * numbers[:, :, i] for i in (1, 2))
    along = torch.arange(CELL) + 0.5
    in_x = (along > x[:, :, None]) & (along < (x + side)[:, :, None])
    in_y = (along > y[:, :, None]) & (along < (y + side)[:, :, None])
    return cells * ~(in_y[:, :, :, None] & in_x[:, :, None, :])


def fade(cells: torch.Tensor, amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Ink fades away, and a little noise stays."""
    amount = amount[:, None, None, None]
    return cells * (1 - amount) + (amount > 0) * _GRAIN * _grain(numbers)


def blur(cells: torch.Tensor, amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """A Gaussian filter within each cell, wider the more."""
    found, steps = cells.clone(), (amount * _BLURS).round().long()
    for step in steps.unique().tolist():
        if step:
            sigma = _WIDEST * (step / _BLURS) ** 2 + 0.5  # in squares: the first pixels of width cost most
            kernel = torch.exp(-torch.arange(-CELL + 1, CELL).float().square() / (2 * sigma**2))
            kernel, here = kernel / kernel.sum(), steps == step
            some = cells[here].flatten(0, 1)[:, None]
            for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
                some = F.conv2d(some, kernel.view(shape), padding="same")
            found[here] = some[:, 0].view(-1, *cells.shape[1:])
    return found


def add_noise(cells: torch.Tensor, amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Gaussian noise over each cell, louder the more."""
    return cells + _LOUDEST * amount[:, None, None, None] * _grain(numbers)


KINDS = {
    "clean": lambda cells, amount, numbers: cells,
    "erased": erase,
    "erased first": erase_first,
    "erased last": erase_last,
    "covered": cover,
    "faded": fade,
    "blurred": blur,
    "noisy": add_noise,
}


def apply_damage(cells: torch.Tensor, kinds: list[str], amount: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Lines, each with a damage of its own.

    Args:
        cells: (B, n, 28, 28) float32 in [0, 1], digits white on black.
        kinds: B names; amount: (B,) float32 (see `Damage`).
        numbers: (B, n, NUMBERS) float32, uniform in [0, 1).

    Returns:
        (B, n, 28, 28) float32 in [0, 1].
    """
    found = cells.clone()
    for kind in dict.fromkeys(kinds):
        here = torch.tensor([i for i, each in enumerate(kinds) if each == kind])
        found[here] = KINDS[kind](cells[here], amount[here], numbers[here])
    return found.clamp_(0, 1)


def _grain(numbers: torch.Tensor) -> torch.Tensor:
    """(B, n, NUMBERS) -> (B, n, 28, 28) Gaussian noise: a window of one large picture, which the numbers choose."""
    bank = _bank()
    corners = (numbers[:, :, 1:] * (len(bank) - CELL)).long().flatten(0, 1)
    span = torch.arange(CELL)
    rows, columns = corners[:, 0, None] + span, corners[:, 1, None] + span
    return bank[rows[:, :, None], columns[:, None, :]].view(*numbers.shape[:2], CELL, CELL)


@cache
def _bank() -> torch.Tensor:
    """(1024, 1024) Gaussian noise, always the same."""
    return torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0))
