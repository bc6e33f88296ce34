"""A race: every head decodes what one encoder made of a line, and each symbol has the time at which it was known. Times
are measured."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.ctc_paths import align
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.models.recognizer import Recognizer

_PASSES = {"slots": "one pass", "ctc": "one pass", "tokens": "one decoder pass per symbol"}
_SPECULATIVE = "drafted in one pass, then verified"
LEVEL = 1.05  # less than the machine makes of the same lane from race to race


@dataclass(frozen=True)
class Event:
    """Symbols that become known."""

    seconds: float  # since decoding began
    kind: str  # see `seqocr.decoding.output.TraceFunction`
    start: int  # index of the first symbol in the text
    text: str  # the symbols


@dataclass(frozen=True)
class Lane:
    """A decoding strategy's way from image to text."""

    name: str  # of the strategy
    description: str  # of its passes, in a few words
    text: str
    confidence: float
    passes: int
    seconds: float  # of decoding; the encoder comes before it, once for all lanes
    events: list[Event] = field(default_factory=list)  # in order
    symbol_confidences: tuple[float, ...] = ()  # in [0, 1], one per symbol; empty where they are unknown
    attention: np.ndarray | None = None  # as `attention` gives it


@dataclass(frozen=True)
class Race:
    """All lanes of a line.

    Attributes:
        encoded: seconds of the encoder, which all heads share.
    """

    encoded: float
    lanes: list[Lane]

    @property
    def seconds(self) -> float:
        """Of the slowest lane, encoder included."""
        return self.encoded + max(lane.seconds for lane in self.lanes)

    def place(self, lane: Lane) -> int:
        """1 for the fastest. A lane is behind those that it takes more than `LEVEL` times as long as."""
        return 1 + sum(self._total(lane) > LEVEL * self._total(other) for other in self.lanes)

    def faster(self, lane: Lane) -> tuple[float, str]:
        """How many times as fast as the slowest lane, and that one's name."""
        slowest = max(self.lanes, key=lambda each: each.seconds)
        return self._total(slowest) / self._total(lane), slowest.name

    def _total(self, lane: Lane) -> float:
        return self.encoded + lane.seconds


def lanes_of(recognizer: Recognizer) -> dict[str, tuple[str, Any]]:
    """By name of the strategy: the head whose texts these are, and what has `decode_traced`."""
    lanes: dict[str, tuple[str, Any]] = {}
    for name, head in recognizer.heads.items():
        lanes[name] = name, head
        lanes |= {pair.name: (name, pair) for pair in recognizer.pairs().values() if pair.head is head}
    return lanes


@torch.inference_mode()
def race(recognizer: Recognizer, image: Image.Image, rounds: int = 7) -> Race:
    """In each round the encoder reads the grey line, and each strategy decodes what it made of it, another one first.

    Returns:
        the encoder's median time, and of each strategy's rounds the one of median time.
    """
    lanes, encoded = lanes_of(recognizer), list[float]()
    runs: dict[str, list[Lane]] = {name: [] for name in lanes}
    for number in range(-1, rounds):  # the first warms up
        start = time.perf_counter()
        features = recognizer.encode([image])
        taken = time.perf_counter() - start
        names = list(lanes)
        first = number % len(names)
        done = {name: _run(recognizer, name, *lanes[name], features) for name in names[first:] + names[:first]}
        if number >= 0:
            encoded.append(taken)
            for name, lane in done.items():
                runs[name].append(lane)
    middle = (rounds - 1) // 2
    medians = {name: sorted(of, key=lambda run: run.seconds)[middle] for name, of in runs.items()}
    explained = [_explain(recognizer, medians[name], head, image) for name, (head, _) in lanes.items()]
    return Race(sorted(encoded)[middle], explained)


def _run(recognizer: Recognizer, name: str, head: str, decoder: Any, features: torch.Tensor) -> Lane:
    events: list[Event] = []
    known = 0
    start = time.perf_counter()

    def trace(kind: str, text: str) -> None:
        nonlocal known
        if text:
            events.append(Event(time.perf_counter() - start, kind, 0 if kind == "draft" else known, text))
            known += 0 if kind == "draft" else len(text)

    output = decoder.decode_traced(features, trace)
    raw = output.confidences  # part of reading
    seconds = time.perf_counter() - start
    (confidence,) = apply_calibration(recognizer.provenance, name, raw).tolist() if output.texts[0] else (0.0,)
    description = _PASSES[recognizer.heads[head].output] if name == head else _SPECULATIVE
    return Lane(name, description, output.texts[0], confidence, output.passes, seconds, events)


def _explain(recognizer: Recognizer, lane: Lane, head: str, image: Image.Image) -> Lane:
    """With confidences and attention of its symbols, which took no part in the race."""
    (prediction,) = predict(recognizer, [image], ReadOptions(head, symbols=True))
    confidences = tuple(each.confidence for each in prediction.symbols) if prediction.text == lane.text else ()
    return replace(lane, symbol_confidences=confidences, attention=attention(recognizer, image, head, lane.text))


@torch.inference_mode()
def attention(recognizer: Recognizer, image: Image.Image, head: str, text: str) -> np.ndarray | None:
    """(n, columns) float32: where along the line a head reads each symbol of a text; rows sum to 1; None: unknown.

    The head's own attention, or the frames of each symbol in CTC's alignment; without the columns past the line's end.
    """
    features, module = recognizer.encode([image]), recognizer.heads[head]
    ids = module.ids_of(text)
    if not ids:
        return None
    found = module.attention(features, ids)
    if found is not None:
        grid = found.cpu().numpy().astype(np.float32)
    elif module.output == "ctc":
        log_probs = module.log_probs(features)[0].double().cpu().numpy()
        grid = np.zeros((len(ids), len(log_probs)), np.float32)
        for row, span in zip(grid, align(log_probs, ids), strict=True):
            row[span.first : span.last + 1] = 1
    else:
        return None
    processor = recognizer.processor
    share = processor.size_of(image.width, image.height)[0] / processor.input_width(image.width, image.height)
    grid = grid[:, : max(1, round(share * grid.shape[1]))]
    return grid / np.maximum(grid.sum(axis=1, keepdims=True), 1e-9)
