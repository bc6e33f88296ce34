"""PyTorch as the project runs it by default."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from bench.backends.base import Backend, BackendModel
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.models.recognizer import Recognizer


def prepare(recognizer: Recognizer, folder: Path, bfloat16: bool = False) -> BackendModel:
    """Args:
    bfloat16: matrix products in it (autocast).
    """

    def encode(pixel_values: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return recognizer.encoder(pixel_values)

    def whole(decode: DecodeFunction, pixel_values: torch.Tensor, length: int | None = None) -> DecoderOutput:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return decode(recognizer.encoder(pixel_values), length=length)

    return BackendModel(
        encode, {name: partial(whole, decode) for name, decode in recognizer.decode_functions().items()}
    )


BACKEND = Backend("eager", prepare, order=0)
