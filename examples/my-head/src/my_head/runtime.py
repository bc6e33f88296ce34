"""A runtime: PyTorch on one thread. Replace `prepare` by what loads weights into yours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.backends import eager
from bench.backends.base import Backend, BackendModel
from seqocr.models.recognizer import Recognizer


def prepare(recognizer: Recognizer, folder: Path) -> BackendModel:
    """
    Args:
        folder: for files that the runtime needs, such as graphs.

    Returns:
        functions of pixel_values (B, 3, H, W) float32: the encoder, and each decoding strategy, to `DecoderOutput`.
    """
    model = eager.prepare(recognizer, folder)
    strategies = {name: _on_one_thread(decode) for name, decode in model.strategies.items()}
    return BackendModel(_on_one_thread(model.encoder), strategies)


def _on_one_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any, **more: Any) -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function(*arguments, **more)
        finally:
            torch.set_num_threads(before)

    return called


BACKEND = Backend("my-runtime", prepare)
