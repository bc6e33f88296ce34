"""The one exception for input that cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """Something given to seqocr cannot be used.

    The message names the file or value and says what to do. The command line prints it alone and exits with code 2.
    """


def check_bounds(name: str, number: float, least: float, most: float) -> None:
    """
    Raises:
        InputError: a number is none (NaN), or out of bounds.
    """
    if not least <= number <= most:  # so, because NaN compares as neither
        raise InputError(f"{name} {number}: give a number from {least:,} to {most:,}")
