"""What n symbols cost each head here and now: the encoder's features of a line, decoded by heads built for n."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from PIL import Image

from seqocr.models.heads.registry import pairs_of
from seqocr.models.recognizer import Recognizer

LENGTHS = (1, 2, 5, 10, 20, 35, 50)


@dataclass(frozen=True)
class Cost:
    """Of a head and a length.

    Attributes:
        lane: name of the head or pair of heads.
        n: symbols written.
        milliseconds: of decoding, without the encoder; the median of the rounds.
        passes: of the decoder.
    """

    lane: str
    n: int
    milliseconds: float
    passes: int


@torch.inference_mode()
def costs(
    recognizer: Recognizer, image: Image.Image, lengths: Sequence[int] = LENGTHS, rounds: int = 5
) -> Iterator[list[Cost]]:
    """The costs of each length, of all heads and pairs of heads, as they are measured, interleaved.

    Heads are as large as the recognizer's, but have weights that write n symbols whatever the line; drafts are right.
    """
    features = recognizer.encode([image])
    for n in lengths:
        heads = {
            name: type(head)(
                head.features, head.charset, n, **head.settings_for_length(n, recognizer.head_settings[name])
            ).eval()
            for name, head in recognizer.heads.items()
        }
        for head in heads.values():
            head.make_constant()
        decoders = {name: each.decode for name, each in {**heads, **pairs_of(heads)}.items()}
        times: dict[str, list[float]] = {name: [] for name in decoders}
        passes = {}
        for counted in range(-1, rounds):  # the first warms up
            for name, decode in decoders.items():
                start = time.perf_counter()
                decoded = decode(features, length=n)
                _ = decoded.confidences
                if counted >= 0:
                    times[name].append(time.perf_counter() - start)
                passes[name] = decoded.passes
        yield [Cost(name, n, 1e3 * median(each), passes[name]) for name, each in times.items()]
