"""A convolutional stem in place of a vision transformer's linear patches, for input of any width."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class ConvStem(nn.Module):
    """3×3 convolutions that halve the image once per stage, then one over its remaining height: each column of 2^stages
    pixels becomes one token. Early convolutions train faster than large patches (Xiao et al. 2021, "Early convolutions
    help transformers see better"); without batch norm, since lines of like width are learned together, and a batch's
    statistics would be those of their widths.

    Args:
        height: of the image, pixels; a multiple of 2^stages.
        channels: of each stage. The first stage has one convolution, later ones two.
        dim: of tokens.
    """

    def __init__(self, height: int, channels: list[int], dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage, width in enumerate(channels):
            for stride in (2,) if stage == 0 else (2, 1):
                convolution = nn.Conv2d(before, width, 3, stride, 1)
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                layers += [convolution, nn.ReLU(inplace=True)]
                before = width
        self.layers = nn.Sequential(*layers)
        self.projection = nn.Conv2d(before, dim, (height >> len(channels), 1))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, columns, dim)."""
        return self.projection(self.layers(pixel_values)).flatten(2).transpose(1, 2)


class StemEmbeddings(nn.Module):
    """What a Hugging Face vision transformer has as `embeddings`, with a `ConvStem` and no special tokens: tokens of
    columns, each with the embedding of its position.

    Args:
        config: of the transformer, with `stem_channels`.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        height, width = config.image_size
        self.patch_embeddings = ConvStem(height, config.stem_channels, config.hidden_size)
        columns = width >> len(config.stem_channels)
        self.position_embeddings = nn.Parameter(torch.zeros(1, columns, config.hidden_size))

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> torch.Tensor:
        tokens = self.patch_embeddings(pixel_values)
        return tokens + self.position_embeddings[:, : tokens.shape[1]]
