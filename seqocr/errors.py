"""The exception for input that cannot be used."""


class InputError(ValueError):
    """Something given to seqocr cannot be used.

    The message names the file or value and says what to do. The command line prints it alone and exits with code 2.
    """


class RankError(InputError):
    """An `InputError` of one of several processes that train together.

    Attributes:
        speaks: whether this process is the one that says it; what all meet is said once.
    """

    def __init__(self, message: str, speaks: bool) -> None:
        super().__init__(message)
        self.speaks = speaks


def check_bounds(name: str, number: float, least: float, most: float) -> None:
    """Raise an InputError if the number is NaN or out of bounds."""
    if not least <= number <= most:  # so, because NaN compares as neither
        raise InputError(f"{name} {number}: give a number from {least:,} to {most:,}")
