"""The one exception for input that cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """Something given to seqocr cannot be used.

    The message names the file or value and says what to do. The command line prints it alone and exits with code 2.
    """
