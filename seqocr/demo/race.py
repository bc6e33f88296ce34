"""What each head does with one line, and when: encoder first, then symbols as they are written. Times are measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.ctc_paths import align
from seqocr.models.heads.base import DecoderOutput
from seqocr.models.heads.decoder_step import preallocated
from seqocr.models.heads.speculative import SpeculativePair, _Eager, written
from seqocr.models.recognizer import Recognizer

LANES = ("ar", "ar-verified", "parallel", "ctc")


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
        name: of the head, or of its way to decode.
        text, confidence, passes: what was read, as `Reader.read` has it.
        events: in order; the last is "end".
    """

    name: str
    text: str
    confidence: float
    passes: int
    events: list[Event] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.events[-1].seconds


@torch.inference_mode()
def race(recognizer: Recognizer, image: Image.Image, lanes: Sequence[str] = LANES, rounds: int = 5) -> list[Lane]:
    """Each lane reads the line by itself, encoder included, in turns. Of its rounds, the one of median time is shown.

    Args:
        image: grey.
        lanes: names of `LANES`; those that the recognizer has no heads for are left out.
    """
    runners = {name: _runner(recognizer, name) for name in lanes}
    able = {name: run for name, run in runners.items() if run is not None}
    runs: dict[str, list[Lane]] = {name: [] for name in able}
    for counted in range(-1, rounds):  # the first warms up
        for name, run in able.items():
            lane = run(image)
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


def _runner(recognizer: Recognizer, name: str) -> Any:
    """What reads an image in a lane; None where there are no heads for it."""
    heads = recognizer.heads
    if name == "ar-verified":
        pair = SpeculativePair.of(heads)
        trace: Any = None if pair is None else (lambda features, clock: _verified(pair, features, clock))
    elif name not in heads:
        trace = None
    elif name == "ar":
        trace = lambda features, clock: _autoregressive(heads["ar"], features, clock)  # noqa: E731
    else:
        trace = lambda features, clock: _one_pass(heads[name], features, clock)  # noqa: E731
    if trace is None:
        return None

    def run(image: Image.Image) -> Lane:
        clock = _Clock()
        features = recognizer.encode([image])
        clock.note("encoded")
        decoded: DecoderOutput = trace(features, clock)
        raw = decoded.confidences.cpu().numpy()  # part of reading, as in `Reader.read`
        clock.note("end")
        (confidence,) = apply_calibration(recognizer.provenance, name, raw).tolist()
        return Lane(name, decoded.texts[0], confidence, decoded.passes, clock.events)

    return run


def _one_pass(head: Any, features: torch.Tensor, clock: _Clock) -> DecoderOutput:
    decoded: DecoderOutput = head.decode(features)
    clock.note("read", 0, decoded.texts[0])
    return decoded


def _autoregressive(head: Any, features: torch.Tensor, clock: _Clock) -> DecoderOutput:
    """`AutoregressiveHead.decode`, which tells when each token is known: as the next one is asked for."""
    step, times = head.step(), list[float]()
    cross, append = step.cross(features), preallocated(step, 1, head.budget(None))

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        times.append(clock.now())
        found: torch.Tensor = step(tokens[:, -1], tokens.shape[1] - 1, cross, append)
        return found

    decoded: DecoderOutput = head.greedy(logits, 1)
    times.append(clock.now())
    for i, symbol in enumerate(decoded.texts[0]):
        clock.note("written", i, symbol, at=times[i + 1])
    return decoded


def _verified(pair: SpeculativePair, features: torch.Tensor, clock: _Clock) -> DecoderOutput:
    """`Verified.decode`, which tells what was drafted, and what each pass kept."""
    head = pair.head
    drafts = pair.drafts(pair.drafter.decode(features))
    clock.note("draft", 0, head.text_of(drafts[0]))
    step = head.step()
    passing, passes = _Eager(step, step.cross(features)), list[tuple[float, int, int]]()

    def traced(tokens: torch.Tensor, positions: torch.Tensor, known: Any, rows: Any) -> torch.Tensor:
        passes.append((clock.now(), int(positions[0, 0]), tokens.shape[1] - 1))
        return passing(tokens, positions, known, rows)

    decoded = written(head, traced, drafts, None, features.device)
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
def looks(recognizer: Recognizer, image: Image.Image, name: str, text: str) -> np.ndarray:
    """(n, columns) float32: for each symbol of a text, where along the line the head looked to read it; rows sum to 1.

    `ar`: cross-attention, the mean over layers and heads. `parallel`: its slots' attention. `ctc`: the frames' share in
    the symbol's alignment.
    """
    features = recognizer.encode([image])
    base = "ar" if name == "ar-verified" else name
    head: Any = recognizer.heads[base]
    ids = head.ids_of(text)
    if base == "ar":
        weights = _cross_attention(head, features, ids)
        place = head.features
        grid = weights[:, place.prefix :].reshape(len(ids), place.rows, place.columns).sum(1)
    elif base == "parallel":
        relevance = head.queries_and_classes(features)[0, :, : head.max_length]
        grid = relevance.T.softmax(dim=1)[: len(ids)].float()
    else:
        log_probs = head.log_probs(features)[0].double().cpu().numpy()
        grid = torch.zeros(len(ids), len(log_probs))
        for row, where in zip(grid, align(log_probs, ids), strict=True):
            row[where.first : where.last + 1] = 1
    found = grid.cpu().numpy().astype(np.float32)
    return found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9)


def _cross_attention(head: Any, features: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """(n, T): what `DecoderStep.several` attends to when it writes each of the symbols."""
    step = head.step()
    tokens = torch.tensor([[head.begin, *ids][: len(ids)]], device=features.device)
    cross = step.cross(features)
    x = step.norm(step.embedding[tokens] + step.positions[torch.arange(len(ids), device=features.device)])
    total = torch.zeros(len(ids), features.shape[1], device=features.device)
    for layer, (keys, values) in zip(step.layers, cross, strict=True):
        parts = layer.query_key_value(x).unflatten(2, (3, step.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = layer.norm(x + layer.out(attended.transpose(1, 2).flatten(2)))
        query = layer.cross_query(x).unflatten(2, (step.heads, -1)).transpose(1, 2)
        weights = (query @ keys.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=3)
        total += weights[0].mean(0) / len(step.layers)
        x = layer.cross_norm(x + layer.cross_out((weights @ values).transpose(1, 2).flatten(2)))
        x = layer.final_norm(x + layer.down(layer.activation(layer.up(x))))
    return total
