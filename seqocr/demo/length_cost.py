"""Decoding time against the number of symbols, measured here and now: heads built for n decode the same line."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from PIL import Image

from seqocr.errors import InputError
from seqocr.models.heads.registry import pairs_of
from seqocr.models.recognizer import Recognizer

LENGTHS = (1, 2, 5, 10, 20, 35, 50)


@dataclass(frozen=True)
class Cost:
    """Of decoding n symbols."""

    lane: str  # the strategy
    n: int
    milliseconds: float  # without the encoder; the median of the rounds
    passes: int  # of the decoder


@torch.inference_mode()
def costs(
    recognizer: Recognizer, image: Image.Image, lengths: Sequence[int] = LENGTHS, rounds: int = 5
) -> Iterator[list[Cost]]:
    """The costs of one length after another, of every strategy; the strategies take turns.

    Heads are as large as the recognizer's, but decode n symbols whatever the line; drafts are right. A head that cannot
    be built for n is left out.
    """
    features = recognizer.encode([image])
    for n in lengths:
        heads = _constant_heads(recognizer, n)
        decoders = {**heads, **pairs_of(heads)}
        times: dict[str, list[float]] = {name: [] for name in decoders}
        passes = {}
        for number in range(-1, rounds):  # the first warms up
            for name, decoder in decoders.items():
                start = time.perf_counter()
                output = decoder.decode(features, length=n)
                _ = output.confidences
                if number >= 0:
                    times[name].append(time.perf_counter() - start)
                passes[name] = output.passes
        yield [Cost(name, n, 1e3 * median(each), passes[name]) for name, each in times.items()]


def _constant_heads(recognizer: Recognizer, n: int) -> dict[str, Any]:
    heads = {}
    for name, head in recognizer.heads.items():
        settings = head.settings_for_length(n, recognizer.head_settings[name])
        try:
            heads[name] = type(head)(head.features, head.charset, n, **settings).eval()
        except InputError:  # too few frames, say
            continue
        heads[name].make_constant()
    return heads
