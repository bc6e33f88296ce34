"""Recognizers to be timed: several sizes, random weights, all heads, each able to read n symbols."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bench.core import strategies
from bench.core.timer import clock
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.models.encoder import Encoder
from seqocr.models.heads.registry import available_heads
from seqocr.models.recognizer import Recognizer

LENGTHS = (1, 2, 5, 10, 20, 50)
TASK_LENGTH = 5  # symbols in a string of the task, and of everything not measured against length
_SEED = 0


@dataclass(frozen=True)
class TimedModel:
    """An encoder at an input size, with all heads.

    Attributes:
        name: short, for files and axes.
        preset: architecture.
        image_size: (height, width) in pixels; of a growing image, for `TASK_LENGTH` digits.
        grows: the image is as wide as the string is long; otherwise it is the same for every length.
    """

    name: str
    preset: str
    image_size: tuple[int, int]
    grows: bool = False

    def size_for(self, length: int) -> tuple[int, int]:
        height, width = self.image_size
        return height, width // TASK_LENGTH * length if self.grows else width

    @property
    def label(self) -> str:
        height, width = self.image_size
        return f"{self.preset} {height}×{width // TASK_LENGTH}·n" if self.grows else f"{self.preset} {height}×{width}"


TINY = TimedModel("tiny-28x140", "tiny", (28, 140))
SMALL_NATIVE = TimedModel("small-32x160", "small", (32, 160))
SMALL_SQUARE = TimedModel("small-384x384", "small", (384, 384))
TINY_GROWING = TimedModel("tiny-growing", "tiny", (28, 140), grows=True)
# By name, in the order in which the report shows them.
TIMED_MODELS = {subject.name: subject for subject in (TINY, SMALL_NATIVE, SMALL_SQUARE, TINY_GROWING)}


@dataclass(frozen=True)
class BoundModel:
    """A timed model for one length.

    Weights are random. Heads that decide for themselves when to stop are made to write exactly `length` symbols, and
    heads that can are made to write the first symbol everywhere: a draft is always right, as nearly all are in use.
    One-pass heads have slots or frames enough for the worst case.
    """

    recognizer: Recognizer
    length: int
    device: torch.device

    def pixel_values(self, batch: int) -> torch.Tensor:
        """(batch, 3, H, W) float32 noise: the image's content does not change the work."""
        generator = torch.Generator().manual_seed(_SEED)
        height, width = self.recognizer.encoder.image_size
        return torch.rand(batch, 3, height, width, generator=generator).mul_(2).sub_(1).to(self.device)

    def decode_functions(self) -> dict[str, DecodeFunction]:
        found = self.recognizer.decode_functions()
        return {name: found[name] for name in strategies.timed()}


def bind(subject: TimedModel, lengths: tuple[int, ...], device: torch.device) -> dict[int, BoundModel]:
    """A timed model for each length: one encoder per image size, and one head for all lengths where its length can be
    imposed."""
    bound: dict[int, BoundModel] = {}
    encoders: dict[tuple[int, int], Encoder] = {}
    shared: dict[str, Any] = {}
    for length in sorted(lengths, reverse=True):  # the longest first: its decoder has positions enough for the others
        torch.manual_seed(_SEED)
        size = subject.size_for(length)
        recognizer = Recognizer.build(subject.preset, image_size=size, max_length=length)
        recognizer.encoder = encoders.setdefault(size, recognizer.encoder)
        for name, head in available_heads().items():
            if head.imposes_length:
                recognizer.heads[name] = shared.setdefault(name, recognizer.heads[name])
                able = head.settings_for_length(max(lengths), recognizer.head_settings[name])
                recognizer.head_settings[name] = able
        for head in recognizer.heads.values():
            head.make_constant()
        bound[length] = BoundModel(recognizer.to(device).eval(), length, device)
    return bound


def count_passes(decode: DecodeFunction, features: torch.Tensor, length: int | None = None) -> int:
    """Decode, and ask for the confidences, which may not be computed before; returns the decoder passes made."""
    decoded: DecoderOutput = decode(features, length=length)
    _ = decoded.confidences
    return decoded.passes


def interleaved(
    bound: BoundModel, names: tuple[str, ...], pixel_values: torch.Tensor, shuffle: random.Random
) -> Iterator[dict[str, Any]]:
    """Time every strategy in random order: encoder, decoder, and confidence, each by itself.

    Yields:
        rows with `strategy`, `phase` (encode, decode or confidence) and what `clock` gives; of decoding, also `passes`.
    """
    encoder, decoders = bound.recognizer.encoder, bound.decode_functions()
    with torch.inference_mode():
        for name in shuffle.sample(names, len(names)):
            features, timing = clock(partial(encoder, pixel_values), bound.device)
            yield {"strategy": name, "phase": "encode", **timing}
            decoded, timing = clock(partial(decoders[name], features, length=bound.length), bound.device)
            yield {"strategy": name, "phase": "decode", "passes": decoded.passes, **timing}
            _, timing = clock(partial(getattr, decoded, "confidences"), bound.device)
            yield {"strategy": name, "phase": "confidence", **timing}
