"""Predictions for line images: the likeliest texts, perhaps under a constraint, with calibrated confidences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from seqocr.data.images import open_line
from seqocr.data.pixels import Fit
from seqocr.decoding.automaton import Automaton, build_universal
from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.reach import MIN_FIT, unreachable_texts
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.inference.line_search import LineResult, LineSearch
from seqocr.inference.symbols import Symbol, locate_symbols

BEAM_WIDTH = 8

Line = Any  # an image file's path, a Pillow image, or an array or tensor (h, w), (h, w, 3) or (h, w, 4) uint8


@dataclass(frozen=True)
class ReadOptions:
    """How to read lines.

    Attributes:
        head: its name; without constraint, alternatives and symbols also another strategy, such as "ar-speculative".
            Empty: `default_head`.
        constraint: the accepted texts (see `seqocr.decoding.constraints`); None: all.
        top: number of texts per line, the likeliest first.
        beam_width: hypotheses kept while an autoregressive head is searched.
        symbols: also give the confidence of each symbol.
        positions: also give the position of each symbol, which takes a second look at the image unless a CTC head
            reads; includes `symbols`.
        seconds: that the search of one line may take; a line that takes longer gets a `problem`. Greedy decoding, see
            `is_plain`, searches nothing.
        min_fit: leaves the text empty where the head gives all accepted texts together a lower probability: the line is
            then likely to be another one than the constraint is for, however sure the choice among its texts.
    """

    head: str = ""
    constraint: Automaton | None = None
    top: int = 1
    beam_width: int = BEAM_WIDTH
    symbols: bool = False
    positions: bool = False
    seconds: float = math.inf
    min_fit: float = MIN_FIT

    @property
    def is_plain(self) -> bool:
        """Whether greedy decoding is enough."""
        return self.constraint is None and self.top == 1 and not (self.symbols or self.positions)


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
        constraint_probability: in [0, 1], the probability that the head gives to all accepted texts together.
        notes: what may be wrong with this reading, a sentence each.
    """

    text: str = ""
    confidence: float = 0.0
    symbols: tuple[Symbol, ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()
    passes: int = 0
    problem: str = ""
    margin: float = math.inf
    constraint_probability: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether there is an accepted text."""
        return not self.problem and (self.text != "" or self.constraint_probability > 0)

    def misfit(self, min_fit: float) -> "Prediction":
        """The same without its text, and a note that says why."""
        p = f"{self.constraint_probability:.1g}"
        note = f"no text that satisfies the constraint is likely: all together have probability {p}, below {min_fit:g}"
        return replace(self, text="", notes=(*self.notes, note))

    def as_json(self) -> dict[str, Any]:
        """As the command line and the HTTP interface give it, numbers rounded; `margin` is None where infinite."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "fits": self.fits,
            "fitting": float(f"{self.constraint_probability:.4g}"),
            "margin": round(self.margin, 4) if math.isfinite(self.margin) else None,
            "passes": self.passes,
            "problem": self.problem,
            "notes": list(self.notes),
            "others": [{"text": text, "confidence": round(p, 4)} for text, p in self.alternatives],
            "symbols": [symbol.as_json() for symbol in self.symbols],
        }


class Reader(Protocol):
    """A recognizer with its weights (`seqocr.models.recognizer.Recognizer`) or exported (`OnnxRecognizer`)."""

    charset: str
    max_length: int
    heads: Any  # by name; each has an `output`

    @property
    def provenance(self) -> Mapping[str, Any]: ...

    @property
    def processor(self) -> Fit: ...

    def decode_functions(self) -> dict[str, DecodeFunction]: ...

    def encode(self, images: Any) -> Any: ...

    def decode(self, images: Any, strategy: str, batch_size: int = 64) -> DecoderOutput: ...

    def log_probs(self, images: Any, head: str) -> np.ndarray: ...

    def next_tokens(self, images: Any, head: str) -> list[NextTokenFunction]: ...


def default_head(outputs: Mapping[str, str]) -> str:
    """The head that reads where none is named: the first that reads by slots, or else the first.

    Args:
        outputs: that heads declare, by name.

    Raises:
        InputError: there is none.
    """
    if not outputs:
        raise InputError("these weights hold no head: train some with `seqocr train`")
    return next((name for name, output in outputs.items() if output == "slots"), next(iter(outputs)))


def chosen_head(reader: Reader, head: str) -> str:
    """The head that is named, or else the default one."""
    return head or default_head({name: each.output for name, each in reader.heads.items()})


def longest_text(reader: Reader, head: str) -> int:
    """The most symbols that a head can write: its tokens, slots or frames."""
    if reader.heads[head].output == "tokens":
        return reader.max_length
    return int(reader.log_probs([Image.new("L", (64, 64))], head).shape[1])


def predict(
    reader: Reader, images: Sequence[Line], options: ReadOptions | None = None, batch_size: int = 64
) -> list[Prediction]:
    """Read line images, dark on light or light on dark.

    Args:
        reader: see `seqocr.load`.
        batch_size: images encoded at once.

    Returns:
        one per image, in order; `problem` says of a line alone that it is not read.

    Raises:
        InputError: the reader has no such head, it cannot do this, or an image cannot be used.
    """
    options = options or ReadOptions()
    options = replace(options, head=chosen_head(reader, options.head))
    images = [open_line(Path(each)) if isinstance(each, (str, Path)) else each for each in images]
    if options.is_plain:
        decoded = reader.decode(images, options.head, batch_size)
        confidences = apply_calibration(reader.provenance, options.head, decoded.confidences).tolist()
        return [
            Prediction(text, p, passes=passes)
            if math.isfinite(p)
            else Prediction(problem=f"gives {p} with these weights: take others")
            for text, p, passes in zip(decoded.texts, confidences, decoded.line_passes, strict=True)
        ]
    if options.head not in reader.heads:
        raise InputError(
            f"head {options.head!r} gives no constrained texts, alternatives or symbols: choose one of "
            f"{', '.join(reader.heads)}"
        )
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    return [prediction for batch in batches for prediction in _search(reader, batch, options)]


def _search(reader: Reader, images: Sequence[Line], options: ReadOptions) -> list[Prediction]:
    """Predictions of lattice or beam search."""
    output, charset = reader.heads[options.head].output, reader.charset
    ctc = [name for name, head in reader.heads.items() if head.output == "ctc"]
    aligner = options.head if output == "ctc" else ctc[0] if ctc and options.positions else None
    frames: Any = [None] * len(images) if aligner is None else reader.log_probs(images, aligner)
    evidence: Any = frames
    if output != "ctc":
        evidence = (reader.next_tokens if output == "tokens" else reader.log_probs)(images, options.head)
    cut = ""
    if options.constraint and len(images):
        longest = reader.max_length if output == "tokens" else len(evidence[0])
        cut = unreachable_texts(options.constraint, charset, longest, options.head)
    search = LineSearch(
        output,
        options.constraint or build_universal(len(charset)),
        max(options.top, 2),  # two for the margin
        options.beam_width,
        reader.max_length,
        options.seconds,
        options.symbols or options.positions,
    )
    predictions = []
    for image, line_frames, line in zip(images, frames, evidence, strict=True):
        result = search(line)
        if isinstance(result, str):
            predictions.append(Prediction(problem=result))
            continue
        prediction = _prediction(reader, image, line_frames, result, options)
        notes = [cut] if cut else []
        if len(prediction.text) > reader.max_length:  # a CTC head can, as far as there are frames
            notes.append(
                f"these weights learned texts of at most {reader.max_length} symbols: longer ones are uncertain"
            )
        predictions.append(replace(prediction, notes=(*notes, *prediction.notes)))
    return predictions


def _prediction(
    reader: Reader, image: Line, frames: np.ndarray | None, result: LineResult, options: ReadOptions
) -> Prediction:
    """Of the texts that a search has found; `frames` are those of the CTC head that places the symbols."""
    found, charset = result.found, reader.charset
    if not found.hypotheses:
        return Prediction(passes=result.passes, constraint_probability=0.0)
    # Without a constraint, a text's probability is what the head gives it: a beam has not seen all others.
    total = found.log_total if options.constraint else 0.0
    texts = ["".join([charset[i] for i in each.ids]) for each in found.hypotheses]
    shares = [min(math.exp(each.log_probability - total), 1.0) for each in found.hypotheses]
    best, *others = [each.log_probability for each in found.hypotheses]
    symbols: tuple[Symbol, ...] = ()
    if options.symbols or options.positions:
        width, height = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
        span, ids = reader.processor.span(width, height), found.hypotheses[0].ids
        symbols = locate_symbols(texts[0], ids, result.symbol_confidences, frames, span, width)
    confidence = shares[0]
    if not options.constraint:
        confidence = apply_calibration(reader.provenance, options.head, np.array([confidence])).item()
    prediction = Prediction(
        texts[0],
        confidence,
        symbols,
        tuple(zip(texts[1 : options.top], shares[1:], strict=False)),
        result.passes,
        margin=math.exp(min(best - others[0], 700)) if others else math.inf,
        constraint_probability=min(math.exp(total), 1.0),
    )
    return prediction if prediction.constraint_probability >= options.min_fit else prediction.misfit(options.min_fit)
