"""A reader restricted to some symbols, or extended by the marks that its weights also know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqocr.data.pixels import Fit
from seqocr.decoding.greedy import decode_ctc
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.files import shown

if TYPE_CHECKING:  # it imports this
    from seqocr.inference.predict import Reader

NAME = "marks"  # of the only head


class _CTC:
    output = "ctc"


class CharsetReader:
    """Reads the symbols of `charset` alone, by the CTC lattice of a reader of marks, or of a CTC head.

    Symbols that the heads of the weights read, and that are not wanted, are impossible: the likeliest other one is read
    in their place. Marks that are not wanted are skipped, and said in notes.

    Args:
        reader: see `seqocr.load`.
        charset: symbols, each once.

    Raises:
        InputError: the weights do not know a symbol, or have no CTC lattice.
    """

    def __init__(self, reader: Reader, charset: str) -> None:
        known = reader.shown_symbols or reader.charset
        if not charset or len(set(charset)) < len(charset):
            raise InputError(f"--charset {shown(charset)!r}: give symbols to read, each once")
        if unknown := [symbol for symbol in charset if symbol not in known]:
            raise InputError(f"--charset: these weights do not read {shown(unknown[0])!r}, but {shown(known)!r}")
        ctc = [name for name, head in reader.heads.items() if head.output == "ctc"]
        if not (reader.shown_symbols or ctc):
            raise InputError("--charset: these weights have no CTC head, which that takes: train one, or leave it out")
        self._reader, self._head = reader, "" if reader.shown_symbols else ctc[0]
        self.charset, self.max_length = charset, reader.max_length
        self.heads: dict[str, Any] = {NAME: _CTC()}
        skipped = [i for i, symbol in enumerate(known) if symbol not in reader.charset and symbol not in charset]
        self._places, self._blank = [known.index(symbol) for symbol in charset], [*skipped, len(known)]

    @property
    def provenance(self) -> Mapping[str, Any]:
        return {}  # calibrations are of the weights' own heads

    @property
    def processor(self) -> Fit:
        return self._reader.processor

    @property
    def shown_symbols(self) -> str:
        return self._reader.shown_symbols

    def decode_functions(self) -> dict[str, DecodeFunction]:
        return {NAME: lambda images, length=None: self.decode(images, NAME)}

    def encode(self, images: Any) -> Any:
        return images

    def decode(self, images: Any, strategy: str, batch_size: int = 64) -> DecoderOutput:
        batches = self.processor.batches(images, batch_size)
        return DecoderOutput.of_batches(batches, lambda batch: self._decode([images[i] for i in batch]))

    def _decode(self, images: Sequence[Any]) -> DecoderOutput:
        lattices = self._lattices(images)
        output = decode_ctc(np.stack([self._restricted(lattice) for lattice in lattices]), self.charset)
        if self.shown_symbols:
            output.shown = decode_ctc(np.stack(lattices), self.shown_symbols).texts
        return output

    def log_probs(self, images: Any, head: str) -> list[np.ndarray]:
        return [self._restricted(lattice) for lattice in self._lattices(images)]

    def marks_log_probs(self, images: Any) -> list[np.ndarray]:
        return self._reader.marks_log_probs(images)

    def next_tokens(self, images: Any, head: str) -> list[NextTokenFunction]:
        raise NotImplementedError  # of heads that write tokens

    def _lattices(self, images: Any) -> list[np.ndarray]:
        return self._reader.log_probs(images, self._head) if self._head else self.marks_log_probs(images)

    def _restricted(self, lattice: np.ndarray) -> np.ndarray:
        """Of (frames, known + 1) log probabilities, (frames, k + 1). What is skipped is blank: a path with it collapses
        to the same text without it. The rest goes to the symbols that are wanted: as blank it would be skipped."""
        kept = lattice[:, self._places].astype(np.float64)
        blank = np.logaddexp.reduce(lattice[:, self._blank], axis=1, keepdims=True).astype(np.float64)
        left = np.log1p(-np.exp(np.minimum(blank, -1e-12)))  # of blank's complement
        kept += left - np.logaddexp.reduce(kept, axis=1, keepdims=True)
        return np.concatenate([kept, blank], axis=1)
