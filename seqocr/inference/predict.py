"""What a line can be read as: the best texts, perhaps of a form, how sure each symbol is, and where it stands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from PIL import Image

from seqocr.decoding.automaton import Automaton, build_universal
from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.ctc_paths import align
from seqocr.decoding.search import (
    CTCLattice,
    Hypothesis,
    NextTokenFunction,
    SearchResult,
    SlotLattice,
    beam_search,
)
from seqocr.errors import InputError

BEAM_WIDTH = 8  # hypotheses that a search through an autoregressive head keeps
_ALIGNS = "ctc"  # the head that tells where symbols are


@dataclass(frozen=True)
class Symbol:
    """A symbol of a text.

    Attributes:
        text: itself.
        confidence: in [0, 1], that it is right.
        left, right: where it stands, pixels of the image; borders lie halfway between the middles of neighbours. None
            where the weights have no `ctc` head, whose frames tell.
    """

    text: str
    confidence: float
    left: float | None = None
    right: float | None = None


@dataclass(frozen=True)
class Answer:
    """A line's reading.

    Attributes:
        text: the likeliest that fits; empty where nothing does.
        confidence: in [0, 1], its probability among the texts that fit; 0 where nothing fits. Without a form it is
            honest where the weights are calibrated; the probabilities of other texts, and of symbols, are the head's.
        symbols: one a symbol of the text.
        others: the next best texts, each with its probability among those that fit.
        margin: how many times as likely the text is as the next; infinite where no other fits, or none was asked for.
        fitting: in [0, 1], the probability that the head gives to all texts that fit, together; 1 without a form.
        fits: whether any text fits.
        passes: of the decoder.
    """

    text: str
    confidence: float
    symbols: tuple[Symbol, ...]
    others: tuple[tuple[str, float], ...]
    margin: float
    fitting: float
    fits: bool
    passes: int


@dataclass(frozen=True)
class ReadOptions:
    """What is asked of each line.

    Attributes:
        head: which reads.
        form: of the text (see `seqocr.decoding.constraints`); None: any.
        top: how many texts.
        beam_width: hypotheses kept while an autoregressive head is searched.
        places: also where symbols are, which takes a second look at the image where another head than `ctc` reads.
    """

    head: str
    form: Automaton | None = None
    top: int = 1
    beam_width: int = BEAM_WIDTH
    places: bool = True


class Backend(Protocol):
    """Who gives evidence: `seqocr.inference.onnx.OnnxRecognizer`, or `Eager`."""

    charset: str
    max_length: int
    heads: Any

    def log_probs(self, images: Sequence[Image.Image], head: str) -> np.ndarray:
        """(B, places, classes) of a one-pass head."""

    def writers(self, images: Sequence[Image.Image], head: str) -> list[NextTokenFunction]:
        """Of an autoregressive head, what gives the next symbol, a line."""

    def span(self, image: Image.Image) -> float:
        """Pixels of the image that the whole width of the encoder's input stands for."""


def answers(reader: Any, images: Sequence[Image.Image], asked: ReadOptions) -> list[Answer]:
    """Read grey line images.

    Args:
        reader: a recognizer, or a `OnnxRecognizer`.

    Raises:
        InputError: the head is not part of the reader, or cannot be asked for this.
    """
    backend = _backend(reader)
    if asked.head not in backend.heads:
        raise InputError(
            f"head {asked.head!r} cannot be asked for forms, several texts or symbols: choose one of "
            f"{', '.join(backend.heads)}"
        )
    if not images:
        return []
    automaton = asked.form or build_universal(len(backend.charset))
    count = max(asked.top, 2)  # the second says how much better the first is
    aligns = _ALIGNS in backend.heads and (asked.places or asked.head == _ALIGNS)
    frames = backend.log_probs(images, _ALIGNS) if aligns else None
    if asked.head == "ar":
        found = [
            beam_search(
                next_token, automaton, len(backend.charset), len(backend.charset) + 1, backend.max_length, count,
                max(asked.beam_width, count),
            )
            for next_token in backend.writers(images, asked.head)
        ]  # fmt: skip
        sure = [f.hypotheses[0].step_probabilities if f.hypotheses else () for f, _ in found]
    else:
        log_probs = frames if asked.head == _ALIGNS and frames is not None else backend.log_probs(images, asked.head)
        kind = CTCLattice if asked.head == _ALIGNS else SlotLattice
        read = [kind(automaton, line) for line in log_probs]
        found = [(line.n_best(count), 1) for line in read]
        sure = [
            tuple(line.marginals(f.hypotheses[0].ids)) if isinstance(line, SlotLattice) and f.hypotheses else ()
            for line, (f, _) in zip(read, found, strict=True)
        ]
    spans = [backend.span(image) for image in images]
    lines = frames if frames is not None else [None] * len(images)
    of_line = zip(found, sure, lines, spans, images, strict=True)
    given = [_answer(backend.charset, asked, *each) for each in of_line]
    if asked.form is not None:
        return given  # calibration is of texts of any form
    confidences = apply_calibration(reader.provenance, asked.head, np.array([each.confidence for each in given]))
    return [replace(each, confidence=p) for each, p in zip(given, confidences.tolist(), strict=True)]


def _answer(
    charset: str,
    asked: ReadOptions,
    found: tuple[SearchResult, int],
    sure: Sequence[float],
    frames: np.ndarray | None,
    span: float,
    image: Image.Image,
) -> Answer:
    (texts, passes), spelled = found, lambda hypothesis: "".join(charset[i] for i in hypothesis.ids)
    if not texts.hypotheses:
        return Answer("", 0.0, (), (), math.inf, 0.0, False, passes)
    best = texts.hypotheses[0]
    symbols = _symbols(charset, best, sure, frames, span, image.width)
    # Without a form, what the head gives a text is what it is: a beam has not seen all others.
    whole = texts if asked.form is not None else SearchResult(texts.hypotheses, 0.0)
    others = tuple((spelled(each), whole.confidence(i)) for i, each in enumerate(texts.hypotheses) if 0 < i < asked.top)
    fitting = min(math.exp(texts.log_total), 1.0) if asked.form is not None else 1.0
    return Answer(spelled(best), whole.confidence(), symbols, others, texts.margin, fitting, True, passes)


def _symbols(
    charset: str, best: Hypothesis, sure: Sequence[float], frames: np.ndarray | None, span: float, width: int
) -> tuple[Symbol, ...]:
    places = None
    if frames is not None:
        try:
            places = align(frames.astype(np.float64), best.ids)
        except InputError:  # more symbols than there are frames for
            places = None
    if places is None:
        return tuple(Symbol(charset[i], float(p)) for i, p in zip(best.ids, sure, strict=True))
    sure = sure or [place.confidence for place in places]
    per_frame = span / len(frames) if frames is not None else 0.0
    middles = [(place.first + place.last + 1) / 2 * per_frame for place in places]
    between = [(a + b) / 2 for a, b in itertools.pairwise(middles)]
    half = min((b - a) / 2 for a, b in itertools.pairwise(middles)) if between else width / 2
    borders = [middles[0] - half, *between, middles[-1] + half] if middles else []
    borders = [min(max(border, 0.0), float(width)) for border in borders]
    ends = itertools.pairwise(borders)
    return tuple(
        Symbol(charset[i], float(p), left, right) for i, p, (left, right) in zip(best.ids, sure, ends, strict=True)
    )


def _backend(reader: Any) -> Backend:
    if hasattr(reader, "writers"):
        found: Backend = reader
        return found
    if not hasattr(reader, "encoder"):
        raise InputError("this engine gives texts alone: read with onnxruntime, or with the weights themselves")
    from seqocr.inference.eager import Eager  # torch is loaded already, since the reader is

    return Eager(reader)
