"""The random numbers that decide what a line looks like: which of them decides what.

A test set is a function of these places. A new number goes to a spare place, or to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

Range = tuple[float, float]  # (least, most), drawn uniformly


class OfLine:
    """Places among a line's numbers."""

    size, slant, thickness, mark_thickness, gap = range(5)
    margins = slice(5, 7)
    rise, blur, jpeg, invert, paper, gradient, texture = range(7, 14)
    angle, pitch, bend, bends, waves = range(14, 24, 2)  # of two waves each: two numbers
    rule, rule_below, rule_at, ink = range(24, 28)
    grain = slice(28, 30)
    noise, crisp, stretch = range(30, 33)
    count = 34  # one to spare


class OfDigit:
    """Places among the numbers of a digit, and of the mark or stroke that it may have."""

    size, slant, mark, mark_kind, mark_length, mark_lean, mark_down, mark_thickness = range(8)
    gap = slice(8, 10)  # before a digit, and before the mark after it
    wander = slice(10, 12)  # of both
    stroke, stroke_length, stroke_lean, stroke_thickness, thickness = range(12, 17)
    count = 17


@dataclass(frozen=True)
class Draw:
    """The random numbers of B lines, `lines` (B, OfLine.count), and of their N digits, `digit` (N, OfDigit.count).

    Attributes:
        of: (N,) int64, the line of each digit; line: (N, ·), its numbers; last: (N,) bool, whether it ends the line.
        symbol: (N,) int64, what it is, as a code point.
    """

    lines: torch.Tensor
    digit: torch.Tensor
    of: torch.Tensor
    line: torch.Tensor
    last: torch.Tensor
    symbol: torch.Tensor

    @classmethod
    def of_lines(cls, texts: list[str], lines: torch.Tensor, digit: torch.Tensor) -> Draw:
        counts = torch.tensor(list(map(len, texts)))
        of = torch.repeat_interleave(torch.arange(len(texts)), counts)
        last = torch.zeros(len(digit), dtype=torch.bool)
        last[counts.cumsum(0) - 1] = True
        return cls(lines, digit, of, lines[of], last, torch.tensor(list(map(ord, "".join(texts)))))


def within(bounds: Range, uniform: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) to numbers between the bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def signed(uniform: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) to numbers in [-1, 1)."""
    return 2 * uniform - 1
