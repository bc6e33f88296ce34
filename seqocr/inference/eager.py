"""What a recognizer's heads say of each line, as `seqocr.inference.predict` asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqocr.decoding.search import NextTokenFunction
from seqocr.models.heads.base import OnePassHead
from seqocr.models.recognizer import Recognizer


class Eager:
    """Evidence of a recognizer, by PyTorch."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer, self.charset, self.max_length = recognizer, recognizer.charset, recognizer.max_length
        self.heads: Any = recognizer.heads

    @torch.inference_mode()
    def log_probs(self, images: Sequence[Image.Image], head: str) -> np.ndarray:
        """(B, places, classes) float32 of a one-pass head."""
        chosen = self.heads[head]
        assert isinstance(chosen, OnePassHead)
        return chosen.log_probs(self.recognizer.encode(images)).cpu().numpy()

    @torch.inference_mode()
    def writers(self, images: Sequence[Image.Image], head: str) -> list[NextTokenFunction]:
        """Of the autoregressive head, what gives log probabilities of the next symbol, a line."""
        return [self._writer(self.heads[head], line) for line in self.recognizer.encode(images).split(1)]

    def _writer(self, head: Any, features: torch.Tensor) -> NextTokenFunction:
        step = head.step()
        with torch.inference_mode():
            cross = step.cross(features)
        past: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        position = 0

        @torch.inference_mode()
        def next_token(parents: Sequence[int], symbols: Sequence[int]) -> np.ndarray:
            nonlocal position
            rows = torch.tensor(parents, device=features.device)

            def append(layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                if layer in past:
                    keys, values = past[layer]
                    key, value = torch.cat([keys[rows], key], 2), torch.cat([values[rows], value], 2)
                past[layer] = key, value
                return key, value

            wide = [
                (keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1)) for keys, values in cross
            ]
            logits = step(torch.tensor(symbols, device=features.device), position, wide, append)
            position += 1
            return logits.double().log_softmax(1).cpu().numpy()

        return next_token

    def span(self, image: Image.Image) -> float:
        """Pixels of the image that the whole width of the encoder's input stands for."""
        processor = self.recognizer.processor
        if not processor.keep_aspect:
            return float(image.width)
        return processor.width / min(processor.height / image.height, processor.width / image.width)
