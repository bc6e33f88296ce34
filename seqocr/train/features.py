"""Trained layers under another stem: an encoder takes over the layers of a trained one and learns to give its features.

With the layers there, what has to be learned is a stem that gives them what they are used to. That takes minutes, where
learning to read again takes hours (measured, see docs/training-log.md).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.errors import InputError
from seqocr.models.heads.base import load_matching
from seqocr.models.recognizer import Recognizer

_OF_TOKENS = 0.3  # weight of what the layers are given, beside that of what they give


def take_over(recognizer: Recognizer, teacher: Recognizer) -> None:
    """Load the teacher's layers and positions into a new encoder, and its heads as far as they fit.

    Raises:
        InputError: the encoders' layers differ, or a column of one shows more of a line than the other's.
    """
    own, others = recognizer.encoder, teacher.encoder
    sizes = [(e.config.hidden_size, e.config.num_hidden_layers, e.config.num_attention_heads) for e in (own, others)]
    shares = [e.features.columns * e.image_size[0] / e.image_size[1] for e in (own, others)]
    one_row = own.features.rows == others.features.rows == 1
    keeping = recognizer.processor.keep_aspect and teacher.processor.keep_aspect
    if sizes[0] != sizes[1] or shares[0] != shares[1] or not (one_row and keeping):
        raise InputError(
            "--layers-of takes weights with the layers of --encoder (width, depth, attention heads) and one row of "
            f"columns as wide: {sizes[1]} and {shares[1]:g} columns a height, not {sizes[0]} and {shares[0]:g}"
        )
    own.backbone.layers.load_state_dict(others.backbone.layers.state_dict())
    own.backbone.layernorm.load_state_dict(others.backbone.layernorm.state_dict())
    with torch.no_grad():
        positions = others.backbone.embeddings.position_embeddings[:, others.features.prefix :]
        columns = min(own.features.columns, positions.shape[1])
        prefix = own.features.prefix
        own.backbone.embeddings.position_embeddings[:, prefix : prefix + columns] = positions[:, :columns]
    for name, head in recognizer.heads.items():
        if name in teacher.heads:
            load_matching(head, teacher.heads[name].state_dict())
    recognizer.provenance = {**recognizer.provenance, "init": teacher.provenance}


class FeatureLoss(nn.Module):
    """How far the encoder's features, and what its layers are given, are from the teacher's (Romero et al. 2015,
    "FitNets"): mean squares, relative to the teacher's variance.

    Args:
        recognizer: its encoder learns; heads do not.
        teacher: stays as it is. Lines wider than it sees are left out.
    """

    def __init__(self, recognizer: Recognizer, teacher: Recognizer) -> None:
        super().__init__()
        self.encoder = recognizer.encoder
        self._teacher = [teacher.encoder]  # in a list: none of this module's weights
        height, width = teacher.encoder.image_size
        self._widest = width * recognizer.encoder.image_size[0] // height

    def forward(self, pixels: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """A scalar, of the same B lines: pixel_values (B, 3, H, W), and (B, 3, H', W') as the teacher takes them."""
        if pixels.shape[-1] > self._widest:
            return 0 * self.encoder(pixels).sum()
        (encoder,) = self._teacher
        with torch.no_grad():
            wanted = _both(encoder, seen)
        own = _both(self.encoder, pixels)
        # The teacher sees more columns, of what a line is filled up with.
        tokens, features = (F.mse_loss(a, b[:, : a.shape[1]]) / b.var() for a, b in zip(own, wanted, strict=True))
        return features + _OF_TOKENS * tokens


def _both(encoder: nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """(B, columns, D) each: what the layers are given, and what they give; of special tokens nothing."""
    given: list[torch.Tensor] = []
    hook = encoder.backbone.embeddings.register_forward_hook(lambda *called: given.append(called[-1]))  # type: ignore
    with hook:
        features = encoder(pixels)
    prefix = encoder.features.prefix  # type: ignore
    return [given[0][:, prefix:], features[:, prefix:]]
