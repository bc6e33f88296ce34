"""Predictions for line images: the likeliest texts, perhaps under a constraint, with calibrated confidences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from PIL import Image

from seqocr.data.images import open_line, opening_notes, origin_of
from seqocr.data.pixels import Fit
from seqocr.decoding.automaton import build_universal
from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.greedy import decode_ctc
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.reach import unreachable_texts
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.inference.charset import NAME, CharsetReader
from seqocr.inference.line_search import LineResult, LineSearch
from seqocr.inference.notes import find_notes
from seqocr.inference.prediction import Prediction, ReadOptions
from seqocr.inference.symbols import Symbol, locate_symbols

Line = Any  # an image file's path or bytes, a Pillow image, or an array or tensor (see `open_line`)


class Reader(Protocol):
    """A recognizer with its weights (`seqocr.models.recognizer.Recognizer`) or exported (`OnnxRecognizer`)."""

    charset: str
    max_length: int
    heads: Any  # by name; each has an `output`

    @property
    def provenance(self) -> Mapping[str, Any]: ...

    @property
    def processor(self) -> Fit: ...

    @property
    def shown_symbols(self) -> str:
        """Those of `marks_log_probs`, in order: the charset of the weights and marks; none without reader of marks."""

    def decode_functions(self) -> dict[str, DecodeFunction]: ...

    def encode(self, images: Any) -> Any: ...

    def decode(self, images: Any, strategy: str, batch_size: int = 64) -> DecoderOutput: ...

    def log_probs(self, images: Any, head: str) -> list[np.ndarray]: ...

    def marks_log_probs(self, images: Any) -> list[np.ndarray]: ...

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
    widest = Image.new("L", (reader.processor.width, reader.processor.height))
    return len(reader.log_probs([widest], head)[0])


def most_symbols(reader: Reader, strategy: str) -> int | None:
    """The most symbols that a head or another strategy writes; None: as many as an image has room for."""
    head = strategy if strategy in reader.heads else strategy.partition("-")[0]  # "ctc-beam" is one of "ctc"
    return None if head in reader.heads and reader.heads[head].output == "ctc" else reader.max_length


def notes_on(
    reader: Reader, strategy: str, line: Image.Image, text: str, confidence: float, shown: str | None = None
) -> tuple[str, ...]:
    """What may be wrong with a text that a strategy read in a line (see `open_line`).

    Args:
        shown: all that the line shows, by a reader of marks; None: there is none.
    """
    more = shown
    if shown is not None and not set(shown) - set(reader.charset) - {" "}:  # a space changes nothing
        more = ""
    notes = (*opening_notes(line), *find_notes(line, text, confidence, most_symbols(reader, strategy), more))
    if len(text) <= reader.max_length:
        return notes
    # A CTC head writes as many as there are frames.
    return (*notes, f"these weights learned texts of at most {reader.max_length} symbols: longer ones are uncertain")


@overload
def predict(
    reader: Reader, images: str | Path | bytes | Image.Image, options: ReadOptions | None = None, batch_size: int = 64
) -> Prediction: ...


@overload
def predict(
    reader: Reader, images: Sequence[Line], options: ReadOptions | None = None, batch_size: int = 64
) -> list[Prediction]: ...


def predict(
    reader: Reader, images: Line | Sequence[Line], options: ReadOptions | None = None, batch_size: int = 64
) -> Prediction | list[Prediction]:
    """Read line images, dark on light or light on dark. A line in which nothing is read has confidence 0.

    Args:
        reader: see `seqocr.load`.
        images: one, or several: each a file's path or bytes, a Pillow image, or an array or tensor (h, w), (h, w, 3) or
            (h, w, 4) as of `seqocr.data.images.open_line`. An array (n, h, w) is n of them.
        batch_size: images encoded at once.

    Returns:
        of one image its prediction, of several a list, in order; `problem` says of a line alone that it is not read.

    Raises:
        InputError: the reader has no such head, it cannot do this, or an image cannot be used.
    """
    if _is_line(images):
        return predict(reader, [images], options)[0]
    options = options or ReadOptions()
    if options.charset:
        reader, options = CharsetReader(reader, options.charset), replace(options, head=NAME, charset="")
    options = replace(options, head=chosen_head(reader, options.head))
    images = [open_line(Path(each) if isinstance(each, str) else each, _name(each, i)) for i, each in enumerate(images)]
    if options.is_plain and not (options.symbols and _output(reader, options.head) == "tokens"):
        decoded = reader.decode(images, options.head, batch_size)
        confidences = apply_calibration(reader.provenance, options.head, decoded.confidences).tolist()
        symbols = decoded.symbol_confidences() if options.symbols else [[] for _ in images]
        rows = zip(images, decoded.texts, confidences, symbols, decoded.line_passes, _shown(decoded), strict=True)
        return [
            Prediction(
                text,
                p if text else 0.0,
                tuple(map(Symbol, text, of_symbols)) if options.symbols else (),
                passes=passes,
                notes=notes_on(reader, options.head, image, text, p, shown),
            )
            if math.isfinite(p)
            else Prediction(problem=f"gives {p} with these weights: take others")
            for image, text, p, of_symbols, passes, shown in rows
        ]
    if options.head not in reader.heads:
        raise InputError(
            f"head {options.head!r} gives no constrained texts, alternatives or symbols: choose one of "
            f"{', '.join(reader.heads)}"
        )
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    return [prediction for batch in batches for prediction in _search(reader, batch, options)]


def _is_line(images: Any) -> bool:
    if hasattr(images, "ndim"):  # an array or tensor
        return bool(images.ndim == 2 or (images.ndim == 3 and images.shape[2] in (1, 3, 4)))
    return isinstance(images, (str, Path, bytes, Image.Image))


def _output(reader: Reader, strategy: str) -> str:
    """Of a head; of another strategy "tokens", which gives no symbols either."""
    return str(reader.heads[strategy].output) if strategy in reader.heads else "tokens"


def _shown(decoded: DecoderOutput) -> list[str | None]:
    return [None] * len(decoded.texts) if decoded.shown is None else list(decoded.shown)


def _name(image: Line, place: int) -> str:
    """What an error message calls an image."""
    return "" if isinstance(image, (str, Path)) else f"image {place}"


def _search(reader: Reader, images: Sequence[Image.Image], options: ReadOptions) -> list[Prediction]:
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
        cut = unreachable_texts(options.constraint, charset, longest, options.head, output)
    search = LineSearch(
        output,
        options.constraint or build_universal(len(charset)),
        max(options.top, 2),  # two for the margin
        options.beam_width,
        reader.max_length,
        options.seconds,
        options.symbols or options.positions,
    )
    shown: list[str | None] = [None] * len(images)
    if reader.shown_symbols:
        lattices = reader.marks_log_probs(images)
        shown = [decode_ctc(lattice[None], reader.shown_symbols).texts[0] for lattice in lattices]
    predictions = []
    for image, line_frames, line, line_shown in zip(images, frames, evidence, shown, strict=True):
        result = search(line)
        if isinstance(result, str):
            predictions.append(Prediction(problem=result, constraint_probability=0.0, fits=False))
            continue
        prediction = _prediction(reader, image, line_frames, result, options, line_shown)
        notes = (cut,) if cut and not prediction.text else ()
        predictions.append(replace(prediction, notes=(*notes, *prediction.notes)))
    return predictions


def _prediction(
    reader: Reader,
    image: Image.Image,
    frames: np.ndarray | None,
    result: LineResult,
    options: ReadOptions,
    shown: str | None,
) -> Prediction:
    """Of the texts that a search has found; `frames` are those of the CTC head that places the symbols."""
    found, charset = result.found, reader.charset
    if not found.hypotheses:
        note = "the search found no text that satisfies the constraint"
        return Prediction(passes=result.passes, constraint_probability=0.0, fits=False, notes=(note,))
    # Without a constraint, a text's probability is what the head gives it: a beam has not seen all others.
    total = found.log_total if options.constraint else 0.0
    texts = ["".join([charset[i] for i in each.ids]) for each in found.hypotheses]
    shares = [min(math.exp(each.log_probability - total), 1.0) for each in found.hypotheses]
    best, *others = [each.log_probability for each in found.hypotheses]
    symbols: tuple[Symbol, ...] = ()
    if options.symbols or options.positions:
        span, ids = reader.processor.span(image.width, image.height), found.hypotheses[0].ids
        symbols = locate_symbols(texts[0], ids, result.symbol_confidences, frames, span, image.width)
        symbols = tuple(symbol.moved(origin_of(image)) for symbol in symbols)
    confidence = shares[0]
    if not options.constraint:
        confidence = apply_calibration(reader.provenance, options.head, np.array([confidence])).item()
    prediction = Prediction(
        texts[0],
        confidence if texts[0] else 0.0,
        symbols,
        tuple(zip(texts[1 : options.top], shares[1:], strict=False)),
        result.passes,
        margin=math.exp(min(best - others[0], 700)) if others else math.inf,
        constraint_probability=min(math.exp(total), 1.0),
        notes=notes_on(reader, options.head, image, texts[0], confidence, shown),
    )
    return prediction.checked(options.min_fit) if options.constraint else prediction
