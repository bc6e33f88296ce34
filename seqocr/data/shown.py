"""What a line shows beside the symbols of its text: marks between digits, and what is neither."""

from __future__ import annotations

from typing import Any

MARKS = ".,-/:+ "
OTHER = "\N{REPLACEMENT CHARACTER}"  # a letter, a currency sign, or any other symbol that is neither


class ShownText(str):
    """A text with all that its line shows: `shown`, of the text's symbols, `MARKS` and `OTHER`."""

    shown: str

    @classmethod
    def of(cls, shown: str, charset: str) -> ShownText:
        """The text that keeps the symbols of `charset`.

        Args:
            shown: any symbols; those that are no marks and not of the charset count as `OTHER`.
        """
        text = cls("".join(symbol for symbol in shown if symbol in charset))
        text.shown = "".join(symbol if symbol in charset or symbol in MARKS else OTHER for symbol in shown)
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (str(self), self.shown)


def _restored(text: str, shown: str) -> ShownText:
    restored = ShownText(text)
    restored.shown = shown
    return restored
