"""What `bench.experiments.baselines` times."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bench.study.curve_estimates import SHALLOW
from bench.workloads.timed_models import TASK_LENGTH, TimedModel, count_passes
from seqocr.decoding.output import DecoderOutput
from seqocr.models.heads.speculative import SpeculativePair
from seqocr.models.recognizer import Recognizer

STATIC, COMPILED = "ar-generate, static cache", "ar-generate, compiled"
HEADS = ("ar", SHALLOW, "parallel", "ctc")
STRATEGIES = (
    *("ar-generate", COMPILED, "ar", SHALLOW, "ar-speculative", f"{SHALLOW}-speculative", "parallel", "ctc"),
    STATIC,
)
Decode = Callable[[torch.Tensor], DecoderOutput]


def decoders(recognizer: Recognizer) -> dict[str, Decode]:
    """Every strategy, to write exactly `TASK_LENGTH` symbols; a draft is always right, as nearly all are in use."""
    heads: dict[str, Any] = dict(recognizer.heads)
    compiled = copy.deepcopy(heads["ar"])
    compiled.generator().decoder.compile(dynamic=True)
    own = recognizer.decode_functions()
    found: dict[str, Any] = {
        "ar-generate": own["ar-generate"],
        COMPILED: compiled.decode_with_generate,
        STATIC: partial(heads["ar"].decode_with_generate, cache="static"),
        f"{SHALLOW}-speculative": SpeculativePair(heads[SHALLOW], heads["parallel"]).decode,
        **{name: own[name] for name in ("ar", SHALLOW, "ar-speculative", "parallel", "ctc")},
    }
    return {name: partial(found[name], length=TASK_LENGTH) for name in STRATEGIES}


def prepared(subject: TimedModel) -> Recognizer:
    """A timed model with random weights, whose heads write the first symbol everywhere if they can."""
    torch.manual_seed(0)
    size = subject.size_for(TASK_LENGTH)
    recognizer = Recognizer.build(subject.preset, HEADS, image_size=size, max_length=TASK_LENGTH).eval()
    for head in recognizer.heads.values():
        head.make_constant()
    return recognizer


def pixels(recognizer: Recognizer, batch: int) -> torch.Tensor:
    """(batch, 3, H, W) float32 noise."""
    return torch.rand(batch, 3, *recognizer.encoder.image_size) * 2 - 1


def works(recognizer: Recognizer, batch: int) -> dict[str, Callable[[], int]]:
    """Reads noise, from pixels to text, confidence included, and returns the decoder passes made, by strategy."""
    given = pixels(recognizer, batch)
    return {name: partial(_read, recognizer.encoder, decode, given) for name, decode in decoders(recognizer).items()}


def _read(encoder: torch.nn.Module, decode: Decode, pixels: torch.Tensor) -> int:
    return count_passes(decode, encoder(pixels))
