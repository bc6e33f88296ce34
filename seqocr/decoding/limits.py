"""Limits of a search, so that one hard line holds nobody up."""

import math
import time

from seqocr.errors import InputError


class SearchLimitError(InputError):
    """A line that cannot be searched within the limits. It concerns that line alone.

    The message says what is wrong with the line, without naming it.
    """


class Deadline:
    """A moment until which a search may take.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def check(self) -> None:
        """Raise a `SearchLimitError` once the deadline has passed."""
        if time.monotonic() > self._end:
            raise SearchLimitError(
                f"is not read within {self._seconds:g} s of search: give more time, a constraint that allows fewer "
                "texts, or fewer alternatives"
            )


NO_DEADLINE = Deadline()
