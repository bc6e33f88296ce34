"""How a line is to be read, and the text with what is known of it."""

import math
from dataclasses import dataclass, replace
from typing import Any

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.reach import MIN_FIT
from seqocr.inference.symbols import Symbol

BEAM_WIDTH = 8


@dataclass(frozen=True)
class ReadOptions:
    """How to read lines.

    Attributes:
        head: its name; without constraint, alternatives and symbols also another strategy, such as "ar-speculative".
            Empty: `default_head`.
        constraint: the accepted texts (see `seqocr.decoding.constraints`); None: all.
        top: number of texts per line, the likeliest first.
        beam_width: hypotheses kept while an autoregressive head is searched.
        symbols: also give the confidence of each symbol (see `seqocr.decoding.greedy`; with a search, its marginal
            probability).
        positions: also give the position of each symbol, which takes a second look at the image unless a CTC head
            reads; includes `symbols`.
        seconds: that the search of one line may take; a line that takes longer gets a `problem`. Greedy decoding, see
            `is_plain`, searches nothing.
        min_fit: leaves the text empty where the head gives all accepted texts together a lower probability: the line is
            then likely to be another one than the constraint is for, however sure the choice among its texts.
        charset: symbols to read, by CTC in place of `head` (`seqocr.inference.charset.CharsetReader`), and those of the
            constraint. Empty: what the head reads.
    """

    head: str = ""
    constraint: Automaton | None = None
    top: int = 1
    beam_width: int = BEAM_WIDTH
    symbols: bool = False
    positions: bool = False
    seconds: float = math.inf
    min_fit: float = MIN_FIT
    charset: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether greedy decoding is enough, where it gives what is wanted of symbols (all but heads of tokens)."""
        return self.constraint is None and self.top == 1 and not self.positions


@dataclass(frozen=True)
class Prediction:
    """What a line reads.

    Attributes:
        text: the likeliest accepted text; empty where no text is accepted, or the image cannot be used.
        confidence: in [0, 1], the text's probability; under a constraint, among the accepted texts. Calibrated where
            the weights are and there is no constraint; probabilities of alternatives and symbols are the head's own.
        symbols: one per symbol of the text, if requested.
        alternatives: the next best texts, each with its probability, if requested.
        passes: of the decoder.
        problem: why the line is not read: its image cannot be used, or it is too hard to search; empty where it is.
        margin: the probability of the text over that of the next best; infinite where there is none, or greedy decoding
            was enough.
        fits: whether there is a text that satisfies the constraint, and is not too unlikely (`ReadOptions.min_fit`).
        constraint_probability: in [0, 1], the probability that the head gives to all accepted texts together.
        notes: what may be wrong with this reading (see `seqocr.inference.notes`).
    """

    text: str = ""
    confidence: float = 0.0
    symbols: tuple[Symbol, ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()
    passes: int = 0
    problem: str = ""
    margin: float = math.inf
    constraint_probability: float = 1.0
    fits: bool = True
    notes: tuple[str, ...] = ()

    def checked(self, min_fit: float) -> "Prediction":
        """The same with a note if texts that do not satisfy the constraint are likelier than those that do; without its
        text if these are less likely than `min_fit`."""
        if (p := self.constraint_probability) < min_fit:
            note = f"no text that satisfies the constraint is likely: all together have probability {p:.1g}"
            return replace(self, text="", fits=False, notes=(*self.notes, note))
        if p < 0.5:
            note = "texts that do not satisfy the constraint are likelier than those that do"
            return replace(self, notes=(*self.notes, note))
        return self

    def accepted(self, least: float) -> "Prediction":
        """The same without its text if the confidence is below `least`, or there is a note and `least` is above 0."""
        passes = self.confidence >= least and not (self.notes and least > 0)
        return self if passes else replace(self, text="")

    def as_json(self) -> dict[str, Any]:
        """As the command line and the HTTP interface give it, numbers rounded; `margin` is None where infinite."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "fits": self.fits and not self.problem,
            "fitting": float(f"{self.constraint_probability:.4g}"),
            "margin": round(self.margin, 4) if math.isfinite(self.margin) else None,
            "passes": self.passes,
            "problem": self.problem,
            "notes": list(self.notes),
            "others": [{"text": text, "confidence": round(p, 4)} for text, p in self.alternatives],
            "symbols": [symbol.as_json() for symbol in self.symbols],
        }
