"""Named architectures, for when there is no checkpoint to start from."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """An encoder config and the decoder that goes with it.

    Attributes:
        encoder: Hugging Face config with `model_type`; its image_size is (height, width), the native size.
        decoder: keyword arguments of `TrOCRConfig` for the autoregressive head.
        keep_aspect: how the processor fits a line into the encoder's size.
        width_multiple, standardise: see `Fit`.
        heads: keyword arguments of heads' classes, by name.
    """

    encoder: dict[str, Any]
    decoder: dict[str, Any]
    keep_aspect: bool
    width_multiple: int | None = None
    standardise: bool = False
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)


_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_SMALL_DECODER = {
    "d_model": 128,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 512,
    "activation_function": "relu",
    "dropout": 0.0,
}

PRESETS = {
    # Trains on a laptop: 28-pixel lines of five MNIST digits. A patch is a column of the whole height: such patches
    # learn faster than smaller ones, in steps and, being fewer, still more in time (measured, see README).
    "tiny": Preset(
        encoder={
            "model_type": "deit",
            "image_size": [28, 140],
            "patch_size": [28, 7],
            "hidden_size": 160,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
            "intermediate_size": 640,
            "hidden_act": "relu",
            **_NO_DROPOUT,
        },
        decoder=_SMALL_DECODER,
        keep_aspect=True,
    ),
    # Reads lines of any width up to 512 pixels, as wide as they are: columns of 8 pixels, which a convolutional stem
    # makes (measured, see docs/training-log.md).
    "compact": Preset(
        encoder={
            "model_type": "deit",
            "image_size": [32, 512],
            "patch_size": [32, 8],
            "stem_channels": [24, 48, 96],
            "hidden_size": 160,
            "num_hidden_layers": 8,
            "num_attention_heads": 5,
            "intermediate_size": 640,
            "hidden_act": "relu",
            **_NO_DROPOUT,
        },
        decoder=_SMALL_DECODER,
        keep_aspect=True,
        width_multiple=32,
        standardise=True,
        heads={"parallel": {"counts": True}, "ctc": {"frames_a_column": 2}},
    ),
    # The architecture of microsoft/trocr-small-*: DeiT-small and a six-layer decoder of width 256.
    "small": Preset(
        encoder={
            "model_type": "deit",
            "image_size": [384, 384],
            "patch_size": 16,
            "hidden_size": 384,
            "num_hidden_layers": 12,
            "num_attention_heads": 6,
            "intermediate_size": 1536,
            **_NO_DROPOUT,
        },
        decoder={
            "d_model": 256,
            "decoder_layers": 6,
            "decoder_attention_heads": 8,
            "decoder_ffn_dim": 1024,
            "activation_function": "relu",
            "scale_embedding": True,
            "dropout": 0.1,
            "max_position_embeddings": 512,
        },
        keep_aspect=False,
    ),
}
