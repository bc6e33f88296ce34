"""The likeliest texts of one line, whatever its head's output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.limits import Deadline, SearchLimitError
from seqocr.decoding.search import CTCLattice, SearchResult, SlotLattice, beam_search


@dataclass(frozen=True)
class LineResult:
    """The likeliest texts of a line."""

    found: SearchResult
    symbol_confidences: Sequence[float]  # of the first text; empty where none were wanted, or CTC reads
    passes: int


@dataclass(frozen=True)
class LineSearch:
    """How lines are searched.

    Attributes:
        output: of the head: "slots", "ctc" or "tokens".
        automaton: of the accepted texts, over the charset's ids.
        count: number of texts.
        beam_width, max_length: of a head of tokens.
        seconds: that one line may take.
        symbols: also give the confidences of the first text's symbols.
    """

    output: str
    automaton: Automaton
    count: int
    beam_width: int
    max_length: int
    seconds: float
    symbols: bool

    def __call__(self, evidence: Any) -> LineResult | str:
        """Search one line.

        Args:
            evidence: (slots or frames, k + 1) log probabilities, or a `NextTokenFunction`.

        Returns:
            its texts; or what is wrong with the line, without its name.
        """
        if isinstance(evidence, np.ndarray) and np.isnan(evidence).any():
            return "gives nan with these weights: take others"
        try:
            return self._search(evidence, Deadline(self.seconds))
        except SearchLimitError as error:
            return str(error)

    def _search(self, evidence: Any, deadline: Deadline) -> LineResult:
        if self.output == "tokens":
            begin, width = self.automaton.k, max(self.beam_width, self.count)
            found, passes = beam_search(
                evidence, self.automaton, begin, begin + 1, self.max_length, self.count, width, deadline
            )
            return LineResult(found, found.hypotheses[0].step_probabilities if found.hypotheses else (), passes)
        if self.output == "ctc":
            return LineResult(CTCLattice(self.automaton, evidence, deadline).n_best(self.count), (), 1)
        lattice = SlotLattice(self.automaton, evidence, deadline)
        found = lattice.n_best(self.count)
        wanted = self.symbols and found.hypotheses
        return LineResult(found, lattice.marginals(found.hypotheses[0].ids) if wanted else (), 1)
