"""One restart of `bench.experiments.baselines`: a process of its own, whose rows go to standard output as JSON."""

import copy
import json
import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bench.study.curve_estimates import SHALLOW
from bench.workloads.restarts import print_rounds
from bench.workloads.timed_models import TASK_LENGTH, TIMED_MODELS, TimedModel
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


def main(subject: str, rounds: dict[int, int], seed: int) -> None:
    """Print one row per strategy, batch and round: seconds from pixels to text, confidence included.

    Args:
        rounds: by batch size. The first one of each is not counted.
    """
    recognizer = prepared(TIMED_MODELS[subject])
    decode, shuffle = decoders(recognizer), random.Random(seed)
    for batch, count in rounds.items():
        given = pixels(recognizer, batch)
        works = {name: partial(_read, recognizer.encoder, decode[name], given) for name in STRATEGIES}
        with torch.inference_mode():
            print_rounds(works, batch, count, shuffle)


def _read(encoder: torch.nn.Module, decode: Decode, pixels: torch.Tensor) -> int:
    decoded = decode(encoder(pixels))
    _ = decoded.confidences  # which may not be computed before it is asked for
    return decoded.passes


if __name__ == "__main__":
    main(sys.argv[1], {int(batch): count for batch, count in json.loads(sys.argv[2]).items()}, int(sys.argv[3]))
