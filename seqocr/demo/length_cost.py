"""What n symbols cost each head here and now: the encoder's features of a line, decoded by heads built for n."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from PIL import Image

from seqocr.models.heads.registry import HEADS, pairs_of
from seqocr.models.recognizer import Recognizer

LENGTHS = (1, 2, 5, 10, 20, 35, 50)


@dataclass(frozen=True)
class Cost:
    """Of a head and a length.

    Attributes:
        lane: the way to decode.
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
    """Each length's costs, of all ways to decode, as they are measured; heads in turns.

    Heads are as large as the recognizer's, but have weights that write n symbols whatever the line; drafts are right.
    """
    features = recognizer.encode([image])
    for n in lengths:
        heads = {
            name: HEADS[name](
                recognizer.encoder.features,
                recognizer.charset,
                n,
                **HEADS[name].able_to_write(n, recognizer.head_settings[name]),
            ).eval()
            for name in recognizer.heads
            if name in HEADS
        }
        for head in heads.values():
            head.write_first_symbol()
        ways = {name: head.decode for name, head in heads.items()}
        ways |= {name: pair.decode for name, pair in pairs_of(heads).items()}
        times: dict[str, list[float]] = {name: [] for name in ways}
        passes = {}
        for counted in range(-1, rounds):  # the first warms up
            for name, decode in ways.items():
                start = time.perf_counter()
                decoded = decode(features, length=n)
                _ = decoded.confidences
                if counted >= 0:
                    times[name].append(time.perf_counter() - start)
                passes[name] = decoded.passes
        yield [Cost(name, n, 1e3 * median(each), passes[name]) for name, each in times.items()]
