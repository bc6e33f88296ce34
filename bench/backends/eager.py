"""PyTorch as the project runs it by default, and the same with matrix products in bfloat16."""

from functools import partial
from pathlib import Path

import torch

from bench.backends.base import Backend, BackendModel
from seqocr import environment
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.models.recognizer import Recognizer


def prepare(recognizer: Recognizer, folder: Path, bfloat16: bool = False) -> BackendModel:
    """See `bench.backends.prepare`; `bfloat16`: matrix products in it (autocast)."""

    def encode(pixel_values: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return recognizer.encoder(pixel_values)

    def whole(decode: DecodeFunction, pixel_values: torch.Tensor, length: int | None = None) -> DecoderOutput:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return decode(recognizer.encoder(pixel_values), length=length)

    decoders = recognizer.decode_functions()
    return BackendModel(encode, {name: partial(whole, decode) for name, decode in decoders.items()})


def missing_bfloat16() -> str:
    return "" if environment.multiplies_bfloat16() else "the processor has no instructions for bfloat16"


BACKENDS = [
    Backend("eager", prepare, 0),
    Backend("eager-bfloat16", partial(prepare, bfloat16=True), 1, missing_bfloat16),
]
