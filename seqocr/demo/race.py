"""What each head does with one line, and when: encoder first, then symbols as they are written. Times are measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.ctc_paths import align
from seqocr.decoding.output import DecoderOutput
from seqocr.models.heads.decoder_step import preallocated
from seqocr.models.heads.speculative import SpeculativePair, StepVerifier, speculative_decode
from seqocr.models.recognizer import Recognizer

_Trace = Callable[[torch.Tensor, "_Clock"], DecoderOutput]


@dataclass(frozen=True)
class Event:
    """Something that is known at a time.

    Attributes:
        seconds: since the lane began.
        kind: "encoded", "draft" (all of `text` is guessed), "accepted" (so much of the draft is right), "written" (the
            decoder's own), "read" (at once, by a one-pass head) or "end".
        start: place of the first symbol in the line's text.
        text: the symbols.
    """

    seconds: float
    kind: str
    start: int = 0
    text: str = ""


@dataclass(frozen=True)
class Lane:
    """A head's way from image to text.

    Attributes:
        name: of the head, or of the pair of heads.
        head: the head whose texts these are.
        text, confidence, passes: the prediction.
        events: in order; the last is "end".
    """

    name: str
    head: str
    text: str
    confidence: float
    passes: int
    events: list[Event] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.events[-1].seconds


@torch.inference_mode()
def race(recognizer: Recognizer, image: Image.Image, rounds: int = 5) -> list[Lane]:
    """Each head and pair of heads reads the grey line by itself, encoder included, interleaved.

    Returns:
        of each one's rounds, the one of median time.
    """
    traces = _traces(recognizer)
    runs: dict[str, list[Lane]] = {name: [] for name in traces}
    for counted in range(-1, rounds):  # the first warms up
        for name, (head, trace) in traces.items():
            lane = _run(recognizer, name, head, trace, image)
            if counted >= 0:
                runs[name].append(lane)
    return [_median(of) for of in runs.values()]


def _median(runs: list[Lane]) -> Lane:
    return sorted(runs, key=lambda run: run.seconds)[(len(runs) - 1) // 2]


class _Clock:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self._start = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self._start

    def note(self, kind: str, start: int = 0, text: str = "", at: float | None = None) -> None:
        self.events.append(Event(self.now() if at is None else at, kind, start, text))


def _traces(recognizer: Recognizer) -> dict[str, tuple[str, _Trace]]:
    """By lane, the head whose texts it has, and what decodes features with an eye on the clock."""
    found: dict[str, tuple[str, _Trace]] = {}
    for name, head in recognizer.heads.items():
        found[name] = name, partial(_token_by_token if head.trocr_decoder is not None else _at_once, head)
        found |= {
            pair.name: (name, partial(_speculative, pair)) for pair in recognizer.pairs().values() if pair.head is head
        }
    return found


def _run(recognizer: Recognizer, lane: str, head: str, trace: _Trace, image: Image.Image) -> Lane:
    clock = _Clock()
    features = recognizer.encode([image])
    clock.note("encoded")
    decoded = trace(features, clock)
    raw = decoded.confidences  # part of reading
    clock.note("end")
    (confidence,) = apply_calibration(recognizer.provenance, lane, raw).tolist()
    return Lane(lane, head, decoded.texts[0], confidence, decoded.passes, clock.events)


def _at_once(head: Any, features: torch.Tensor, clock: _Clock) -> DecoderOutput:
    decoded: DecoderOutput = head.decode(features)
    clock.note("read", 0, decoded.texts[0])
    return decoded


def _token_by_token(head: Any, features: torch.Tensor, clock: _Clock) -> DecoderOutput:
    """`AutoregressiveHead.decode`; each token is known when the next one is asked for."""
    step, times = head.step(), list[float]()
    cross, append = step.cross(features), preallocated(step, 1, head.vocabulary.budget(None))

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        times.append(clock.now())
        found: torch.Tensor = step(tokens[:, -1], tokens.shape[1] - 1, cross, append)
        return found

    decoded: DecoderOutput = head.greedy(logits, 1)
    times.append(clock.now())
    for i, symbol in enumerate(decoded.texts[0]):
        clock.note("written", i, symbol, at=times[i + 1])
    return decoded


def _speculative(pair: SpeculativePair, features: torch.Tensor, clock: _Clock) -> DecoderOutput:
    """`SpeculativePair.decode`, with the draft and the accepted tokens of each pass."""
    head = pair.head
    drafts = pair.draft(features)
    clock.note("draft", 0, head.text_of(drafts[0]))
    verify, passes = StepVerifier(head.step(), features), list[tuple[float, int, int]]()

    def traced(tokens: torch.Tensor, positions: torch.Tensor, known: Any, rows: Any) -> torch.Tensor:
        passes.append((clock.now(), int(positions[0, 0]), tokens.shape[1] - 1))
        return verify(tokens, positions, known, rows)

    decoded = speculative_decode(head.vocabulary, traced, drafts, None, features.device)
    text = decoded.texts[0]
    ends = [*passes[1:], (clock.now(), len(text) + 1, 0)]
    for (_, before, drafted), (at, after, _) in zip(passes, ends, strict=True):
        # The last token of a pass is the decoder's own, be it a symbol or the end; those before it were drafted.
        accepted = min(after - before - 1, drafted)
        clock.note("accepted", before, text[before : before + accepted], at=at)
        if own := text[before + accepted : after]:
            clock.note("written", before + accepted, own, at=at)
    return decoded


@torch.inference_mode()
def attention(recognizer: Recognizer, image: Image.Image, head: str, text: str) -> np.ndarray | None:
    """(n, columns) float32: where along the line a head reads each symbol of a text; rows sum to 1; None: unknown.

    The head's own attention, or the frames of each symbol in CTC's alignment.
    """
    features, module = recognizer.encode([image]), recognizer.heads[head]
    ids = module.ids_of(text)
    found = module.attention(features, ids)
    if found is not None:
        grid = found.cpu().numpy().astype(np.float32)
    elif module.output == "ctc":
        log_probs = module.log_probs(features)[0].double().cpu().numpy()
        grid = np.zeros((len(ids), len(log_probs)), np.float32)
        for row, where in zip(grid, align(log_probs, ids), strict=True):
            row[where.first : where.last + 1] = 1
    else:
        return None
    return grid / np.maximum(grid.sum(axis=1, keepdims=True), 1e-9)
