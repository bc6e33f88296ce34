"""TrOCR's image encoder: DeiT, ViT or BEiT from transformers, at any input size."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from seqocr.errors import InputError
from seqocr.models.heads.base import FeatureMap
from seqocr.models.limits import ENCODER_SETTINGS, check_settings
from seqocr.models.stem import StemEmbeddings

# Special tokens before the patches: class, and for DeiT also distillation.
_PREFIX = {"deit": 2, "vit": 1, "beit": 1}
KINDS = tuple(_PREFIX)
_MOST_PATCHES = 16_384  # 28 times TrOCR's; an encoder compares each with each


class Encoder(nn.Module):
    """pixel_values (B, 3, H, W) float32 -> features (B, T, D); with a convolutional stem, of any W up to its own that
    is a multiple of the patch's."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        _check_kind(backbone.config.model_type)
        backbone.pooler = None  # checkpoints bring one; decoders read the features, not the pooled output
        if getattr(backbone.config, "stem_channels", None) and not isinstance(backbone.embeddings, StemEmbeddings):
            backbone.embeddings = StemEmbeddings(backbone.config)
        self.backbone = backbone

    @classmethod
    def from_config(cls, config: dict[str, object]) -> Encoder:
        """An untrained encoder from a Hugging Face config as a dict with `model_type` and any of `ENCODER_SETTINGS`.

        Weights are random, but positions start as `sinusoidal_positions`: on little data, learning where a patch lies
        takes longer than all else (measured, see README).
        """
        kind = _check_kind(str(config.get("model_type")))
        parsed = AutoConfig.for_model(kind, **check_settings(config, ENCODER_SETTINGS))
        _check_size(_pair(parsed.image_size), _pair(parsed.patch_size))
        _check_stem(parsed)
        encoder = cls(AutoModel.from_config(parsed, add_pooling_layer=False))
        positions = getattr(encoder.backbone.embeddings, "position_embeddings", None)
        if positions is not None:  # BEiT's are relative
            features = encoder.features
            with torch.no_grad():
                positions[0, features.prefix :] = sinusoidal_positions(features.rows, features.columns, features.dim)
        return encoder

    @property
    def config(self) -> PretrainedConfig:
        return self.backbone.config

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return _pair(self.config.image_size)

    @property
    def features(self) -> FeatureMap:
        (height, width), (patch_height, patch_width) = self.image_size, _pair(self.config.patch_size)
        return FeatureMap(
            dim=self.config.hidden_size,
            rows=height // patch_height,
            columns=width // patch_width,
            prefix=0 if self.has_stem else _PREFIX[self.config.model_type],
            narrows=self.has_stem,
        )

    @property
    def has_stem(self) -> bool:
        """Whether a convolutional stem stands in for linear patches, so that input may be narrower."""
        return isinstance(self.backbone.embeddings, StemEmbeddings)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        if not self.has_stem:
            return self.backbone(pixel_values=pixel_values).last_hidden_state
        # The same, but without a mask, which transformers adds to exported graphs of input of any width.
        hidden = self.backbone.embeddings(pixel_values)
        for layer in self.backbone.layers:
            hidden = layer(hidden, None)
        return self.backbone.layernorm(hidden)

    def resized(
        self, height: int, width: int, patch: tuple[int, int] | None = None, *, extend: bool = False
    ) -> Encoder:
        """The same weights for another input size, position embeddings interpolated (bicubic, as DeiT does), once.

        Args:
            patch: (height, width) of patches other than its own; their weights are resampled (Beyer et al. 2023,
                "FlexiViT", there with a pseudo-inverse).
            extend: columns of patches show as much of a line as before and keep their positions; added ones get
                `sinusoidal_positions`.

        Raises:
            InputError: the size is no multiple of the patch, or the encoder's positions are relative (BEiT).
        """
        before = _pair(self.config.patch_size)
        patch = patch or before
        if (height, width) == self.image_size and patch == before:
            return self
        _check_size((height, width), patch)
        if self.has_stem and (height, patch) != (self.image_size[0], before):
            raise InputError(
                f"this encoder's convolutions are of {self.image_size[0]} rows and columns of {before[1]} pixels: give "
                "another width alone"
            )
        weights = dict(self.backbone.state_dict())
        name = "embeddings.position_embeddings"
        if name not in weights:
            raise InputError(
                f"this {self.config.model_type} encoder has relative positions and keeps its size, "
                f"{self.image_size[0]}x{self.image_size[1]}"
            )
        resized = self._like(image_size=[height, width], patch_size=list(patch))
        prefix, patches = weights[name].split([self.features.prefix, self.features.rows * self.features.columns], dim=1)
        grid = patches.unflatten(1, (self.features.rows, self.features.columns)).permute(0, 3, 1, 2)
        new = resized.features
        if extend and new.rows == self.features.rows:
            sines = sinusoidal_positions(new.rows, new.columns, new.dim).T.view(1, new.dim, new.rows, new.columns)
            grid = torch.cat([grid, sines[..., grid.shape[3] :]], dim=3)[..., : new.columns]
        else:
            grid = F.interpolate(grid, size=(new.rows, new.columns), mode="bicubic", align_corners=False)
        if patch != before:
            of_patches = "embeddings.patch_embeddings.projection.weight"
            share = before[0] * before[1] / (patch[0] * patch[1])  # of each pixel in the sum over its patch
            resampled = F.interpolate(weights[of_patches], size=patch, mode="bilinear", align_corners=False)
            weights[of_patches] = resampled * share
        weights[name] = torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)
        resized.backbone.load_state_dict(weights)
        return resized

    def deepened(self, layers: int) -> Encoder:
        """The same function with more layers: copies of the last one that add nothing yet, for training to go on from
        (Chen et al. 2016, "Net2Net").

        Raises:
            InputError: there are more layers already.
        """
        before = self.config.num_hidden_layers
        if layers < before:
            raise InputError(f"{layers} layers: the encoder has {before} already, give as many or more")
        if layers == before:
            return self
        deepened = self._like(num_hidden_layers=layers)
        weights = dict(self.backbone.state_dict())
        last = {name: x for name, x in weights.items() if name.startswith(f"layers.{before - 1}.")}
        for i in range(before, layers):
            for name, weight in last.items():
                # What a layer adds to its input are two sums, and these are their last products.
                adds = ".o_proj." in name or ".fc2." in name
                weights[name.replace(f".{before - 1}.", f".{i}.", 1)] = torch.zeros_like(weight) if adds else weight
        deepened.backbone.load_state_dict(weights)
        return deepened

    def _like(self, **changes: Any) -> Encoder:
        config = copy.deepcopy(self.config)
        for name, value in changes.items():
            setattr(config, name, value)
        return Encoder(type(self.backbone)(config, add_pooling_layer=False)).train(self.training)


def sinusoidal_positions(rows: int, columns: int, dim: int, longest: float = 100.0) -> torch.Tensor:
    """Sine-cosine positions (rows·columns, dim), a quarter of dim each for sin x, cos x, sin y and cos y.

    Vaswani et al. 2017 in two dimensions, as in Beyer et al. 2022, "Better plain ViT baselines for ImageNet-1k", with
    wavelengths from 2·pi patches up to `longest` times as many. What does not divide by four stays zero.
    """
    quarter = dim // 4
    frequency = longest ** -(torch.arange(quarter) / max(1, quarter))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    x, y = x.reshape(-1, 1) * frequency, y.reshape(-1, 1) * frequency
    return F.pad(torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1), (0, dim - 4 * quarter))


def _check_kind(kind: str) -> str:
    if kind not in KINDS:
        raise InputError(f"encoder type {kind!r}: TrOCR's encoders are {', '.join(KINDS)}")
    return kind


def _check_stem(config: Any) -> None:
    """Raise an InputError unless the stem's stages make columns of its patch."""
    if not (channels := getattr(config, "stem_channels", None)):
        return
    (height, _), patch = _pair(config.image_size), _pair(config.patch_size)
    if patch != (height, 2 ** len(channels)) or height % patch[1]:
        raise InputError(
            f"a stem of {len(channels)} stages makes columns of {2 ** len(channels)} pixels: give a patch of "
            f"{height}x{2 ** len(channels)}, and a height that is a multiple of it"
        )


def _check_size(size: tuple[int, int], patch: tuple[int, int]) -> None:
    if min(patch) < 1:
        raise InputError(f"patch {patch[0]}x{patch[1]}: give sides from 1 pixel up")
    if size[0] < patch[0] or size[1] < patch[1] or size[0] % patch[0] or size[1] % patch[1]:
        raise InputError(
            f"image size {size[0]}x{size[1]}: give multiples of the encoder's patch, {patch[0]}x{patch[1]}"
        )
    if (patches := size[0] // patch[0] * (size[1] // patch[1])) > _MOST_PATCHES:
        raise InputError(
            f"image size {size[0]}x{size[1]} has {patches:,} patches of {patch[0]}x{patch[1]}, at most "
            f"{_MOST_PATCHES:,} can be read: give a smaller size, or larger patches"
        )


def _pair(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
