"""Predictions for line images: the likeliest texts, perhaps under a constraint, with calibrated confidences."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from PIL import Image

from seqocr.data.images import line_or_problem, open_line, origin_of
from seqocr.data.pixels import Fit
from seqocr.decoding.automaton import Automaton, build_universal
from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.search import CTCLattice, NextTokenFunction, SearchResult, SlotLattice, beam_search
from seqocr.errors import InputError
from seqocr.files import shown
from seqocr.inference.notes import find_notes
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.symbols import Symbol, locate_symbols

BEAM_WIDTH = 8
MOST_HELD = 64_000_000  # pixels in memory, of a byte each
_CHUNK = 16  # files that a thread opens and reads

Line = Any  # an image file's path or bytes, a Pillow image, or an array or tensor (see `open_line`)


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
    """

    head: str = ""
    constraint: Automaton | None = None
    top: int = 1
    beam_width: int = BEAM_WIDTH
    symbols: bool = False
    positions: bool = False

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
        problem: why the image cannot be used; empty where it can.
        margin: the probability of the text over that of the next best; infinite where there is none, or greedy decoding
            was enough.
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
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether there is an accepted text."""
        return not self.problem and (self.text != "" or self.constraint_probability > 0)

    def accepted(self, least: float) -> "Prediction":
        """The same without its text if the confidence is below `least`, or there is a note and `least` is above 0."""
        passes = self.confidence >= least and not (self.notes and least > 0)
        return self if passes else replace(self, text="")

    def as_json(self) -> dict[str, Any]:
        """As the command line and the HTTP interface give it, numbers rounded; `margin` is None where infinite."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "fits": self.fits,
            "fitting": round(self.constraint_probability, 4),
            "margin": round(self.margin, 4) if math.isfinite(self.margin) else None,
            "passes": self.passes,
            "others": [{"text": text, "confidence": round(p, 4)} for text, p in self.alternatives],
            "symbols": [symbol.as_json() for symbol in self.symbols],
            "notes": list(self.notes),
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


def most_symbols(reader: Reader, strategy: str) -> int | None:
    """The most symbols that a head or another strategy writes; None: as many as an image has room for."""
    head = strategy if strategy in reader.heads else strategy.partition("-")[0]  # "ctc-beam" is one of "ctc"
    return None if head in reader.heads and reader.heads[head].output == "ctc" else reader.max_length


def predict(
    reader: Reader, images: Sequence[Line], options: ReadOptions | None = None, batch_size: int = 64
) -> list[Prediction]:
    """Read line images, dark on light or light on dark.

    Args:
        reader: see `seqocr.load`.
        batch_size: images encoded at once.

    Raises:
        InputError: the reader has no such head, it cannot do this, or an image cannot be used.
    """
    options = options or ReadOptions()
    options = replace(options, head=chosen_head(reader, options.head))
    images = [open_line(Path(each) if isinstance(each, str) else each, _name(each, i)) for i, each in enumerate(images)]
    if options.is_plain:
        decoded, most = reader.decode(images, options.head, batch_size), most_symbols(reader, options.head)
        confidences = apply_calibration(reader.provenance, options.head, decoded.confidences).tolist()
        return [
            Prediction(text, p, passes=passes, notes=find_notes(image, text, p, most))
            if math.isfinite(p)
            else Prediction(problem=f"gives {p} with these weights: take others")
            for image, text, p, passes in zip(images, decoded.texts, confidences, decoded.line_passes, strict=True)
        ]
    if options.head not in reader.heads:
        raise InputError(
            f"head {options.head!r} gives no constrained texts, alternatives or symbols: choose one of "
            f"{', '.join(reader.heads)}"
        )
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    return [prediction for batch in batches for prediction in _search(reader, batch, options)]


def _name(image: Line, place: int) -> str:
    """What an error message calls an image."""
    return "" if isinstance(image, (str, Path)) else f"image {place}"


def _search(reader: Reader, images: Sequence[Image.Image], options: ReadOptions) -> list[Prediction]:
    """Predictions of lattice or beam search."""
    output, charset = reader.heads[options.head].output, reader.charset
    automaton, count = options.constraint or build_universal(len(charset)), max(options.top, 2)  # two for the margin
    ctc = [name for name, head in reader.heads.items() if head.output == "ctc"]
    aligner = options.head if output == "ctc" else ctc[0] if ctc and options.positions else None
    frames: Any = [None] * len(images) if aligner is None else reader.log_probs(images, aligner)
    wants_symbols = options.symbols or options.positions
    # Of each line: its texts, the confidences of the first one's symbols, and the passes it took.
    results: list[tuple[SearchResult, Sequence[float], int]] = []
    if output == "tokens":
        begin, end, width = len(charset), len(charset) + 1, max(options.beam_width, count)
        for next_token in reader.next_tokens(images, options.head):
            found, passes = beam_search(next_token, automaton, begin, end, reader.max_length, count, width)
            results.append((found, found.hypotheses[0].step_probabilities if found.hypotheses else (), passes))
    elif output == "ctc":
        results = [(CTCLattice(automaton, line).n_best(count), (), 1) for line in frames]
    else:
        for line in reader.log_probs(images, options.head):
            lattice = SlotLattice(automaton, line)
            found = lattice.n_best(count)
            marginals = lattice.marginals(found.hypotheses[0].ids) if wants_symbols and found.hypotheses else ()
            results.append((found, marginals, 1))
    predictions = []
    for image, line_frames, (found, symbol_confidences, passes) in zip(images, frames, results, strict=True):
        if not found.hypotheses:
            predictions.append(Prediction(passes=passes, constraint_probability=0.0))
            continue
        # Without a constraint, a text's probability is what the head gives it: a beam has not seen all others.
        total = found.log_total if options.constraint else 0.0
        texts = ["".join([charset[i] for i in each.ids]) for each in found.hypotheses]
        shares = [min(math.exp(each.log_probability - total), 1.0) for each in found.hypotheses]
        best, *others = [each.log_probability for each in found.hypotheses]
        symbols: tuple[Symbol, ...] = ()
        if wants_symbols:
            span, ids = reader.processor.span(image.width, image.height), found.hypotheses[0].ids
            symbols = locate_symbols(texts[0], ids, symbol_confidences, line_frames, span, image.width)
            symbols = tuple(symbol.moved(origin_of(image)) for symbol in symbols)
        confidence = shares[0]
        if not options.constraint:
            confidence = apply_calibration(reader.provenance, options.head, np.array([confidence])).item()
        predictions.append(
            Prediction(
                texts[0],
                confidence,
                symbols,
                tuple(zip(texts[1 : options.top], shares[1:], strict=False)),
                passes,
                margin=math.exp(min(best - others[0], 700)) if others else math.inf,
                constraint_probability=min(math.exp(total), 1.0),
                notes=find_notes(image, texts[0], confidence, most_symbols(reader, options.head)),
            )
        )
    return predictions


def predict_files(
    reader: Reader, paths: Iterable[Path], options: ReadOptions | None = None, batch_size: int = 64
) -> Iterator[Prediction]:
    """Read image files: one prediction per file, in order; `problem` says why a file cannot be read.

    In memory at once are `batch_size` images, or fewer large ones (`MOST_HELD` pixels). Raises what `predict` raises.
    """
    options, paths = options or ReadOptions(), iter(paths)
    threads = reader.batch_threads.threads if isinstance(reader, OnnxRecognizer) else 1
    first = list(islice(paths, 2 * threads))
    paths = chain(first, paths)
    divides = isinstance(reader, OnnxRecognizer) and reader.batch_threads.divides and options.is_plain
    if not divides or len(first) < 2 * threads:
        for batch in _batches(paths, batch_size):
            yield from _predict_batch(reader, batch, options)
            batch.clear()  # or its images would be held while those of the next one are opened
        return
    # Each thread opens, resizes and reads some files: while one waits for the disk, others compute.
    alone = cast(OnnxRecognizer, reader).with_threads(1)

    def work(chunk: list[Path]) -> list[Prediction]:
        return [each for batch in _batches(chunk, len(chunk)) for each in _predict_batch(alone, batch, options)]

    waiting: deque[Future[list[Prediction]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="files") as pool:
        while chunk := list(islice(paths, min(batch_size, _CHUNK))):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _predict_batch(
    reader: Reader, batch: list[tuple[Path, Image.Image | str]], options: ReadOptions | None
) -> list[Prediction]:
    images = [image for _, image in batch if not isinstance(image, str)]
    predictions = iter(predict(reader, images, options, max(len(images), 1)))
    found = []
    for path, image in batch:
        if isinstance(image, str):
            found.append(Prediction(problem=image))
        elif (prediction := next(predictions)).problem:
            found.append(Prediction(problem=f"{shown(path)} {prediction.problem}"))
        else:
            found.append(prediction)
    return found


def _batches(paths: Iterable[Path], size: int) -> Iterator[list[tuple[Path, Image.Image | str]]]:
    """Files with their images, or why these cannot be used."""
    batch: list[tuple[Path, Image.Image | str]] = []
    pixels = 0
    for path in paths:
        image = line_or_problem(path)
        batch.append((path, image))
        pixels += 0 if isinstance(image, str) else image.width * image.height
        if len(batch) == size or pixels >= MOST_HELD:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch
