"""The vocabulary of an autoregressive decoder."""

from dataclasses import dataclass

from seqocr.errors import InputError


@dataclass(frozen=True)
class TokenVocabulary:
    """Token ids: the charset's symbols, then begin, end and pad."""

    charset: str
    max_length: int  # the longest text, in symbols
    positions: int  # tokens that the decoder has positions for

    @property
    def begin(self) -> int:
        return len(self.charset)

    @property
    def end(self) -> int:
        return len(self.charset) + 1

    @property
    def pad(self) -> int:
        return len(self.charset) + 2

    def budget(self, length: int | None) -> int:
        """The most tokens to decode: `length` symbols, or `max_length`, and the end; InputError if the decoder has too
        few positions."""
        budget = (self.max_length if length is None else length) + 1
        if budget > self.positions:
            raise InputError(
                f"length {length}: this decoder has positions for {self.positions - 1} symbols and the end"
            )
        return budget

    def text_of(self, tokens: list[int], length: int | None = None) -> str:
        """The text of decoded tokens: up to the end, at most `length` symbols, or `max_length`."""
        symbols = tokens[: self.max_length if length is None else length]
        symbols = symbols[: symbols.index(self.end)] if self.end in symbols else symbols
        return "".join(self.charset[i] for i in symbols if i < len(self.charset))
