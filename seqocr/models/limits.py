"""Known settings of encoders and decoders and their bounds, checked before memory is allocated."""

from collections.abc import Iterable
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from seqocr.errors import InputError
from seqocr.files import shown

# Among what transformers raises of configs that describe no model, or another kind, and of weights that do not fit.
CONFIG_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, AssertionError, ArithmeticError),
    *(SafetensorError, StrictDataclassError),
)
MOST_SYMBOLS = 100_000  # of a charset: nearly all characters in use
LONGEST = 10_000  # symbols of a text

_WIDEST = (1, 8192)
# Bounds of whole numbers; TrOCR's largest checkpoint is at most an eighth of these.
_ENCODER = {
    "hidden_size": _WIDEST,
    "num_hidden_layers": (0, 128),
    "num_attention_heads": (1, 128),
    "intermediate_size": (1, 32_768),
    "image_size": (1, 10_000),
    "patch_size": (1, 10_000),
    "num_channels": (3, 3),
    "pooler_output_size": _WIDEST,
    "stem_channels": (1, 4096),
}
_DECODER = {
    "d_model": _WIDEST,
    "decoder_layers": (1, 128),
    "decoder_attention_heads": (1, 128),
    "decoder_ffn_dim": (1, 32_768),
    "max_position_embeddings": (1, 10_000),
}
_BESIDE = {"cross_attention_hidden_size": _WIDEST, "vocab_size": (1, 1_000_000), "frames_a_column": (1, 64)}
BOUNDS = {**_ENCODER, **_DECODER, **_BESIDE}
# How many numbers a list may have, of settings that may be one; a stem has as many stages.
_NUMBERS = {"image_size": (2,), "patch_size": (2,), "stem_channels": range(1, 7)}
# All else in a config is left out: some of it names code or files that transformers would fetch.
ENCODER_SETTINGS = (
    *_ENCODER,
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "initializer_range",
    "layer_norm_eps",
    "qkv_bias",
    "encoder_stride",
    "pooler_act",
    # BEiT's
    "use_mask_token",
    "use_absolute_position_embeddings",
    "use_relative_position_bias",
    "use_shared_relative_position_bias",
    "layer_scale_init_value",
    "drop_path_rate",
    "use_mean_pooling",
)
DECODER_SETTINGS = (
    *_DECODER,
    "activation_function",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "scale_embedding",
    "layernorm_embedding",
    "use_learned_position_embeddings",
)


def check_task(charset: Any, max_length: Any) -> None:
    """
    Raises:
        InputError: a charset is no text of at most `MOST_SYMBOLS` that can be printed, or a length is no whole number
            up to `LONGEST`.
    """
    if not isinstance(charset, str) or len(charset) > MOST_SYMBOLS or shown(charset) != charset:
        raise InputError(f"charset {str(charset)[:50]!r}: give up to {MOST_SYMBOLS:,} symbols that can be printed")
    if type(max_length) is not int or max_length > LONGEST:
        raise InputError(f"max_length {str(max_length)[:50]}: give a whole number of symbols up to {LONGEST:,}")


def check_settings(settings: Any, known: Iterable[str]) -> dict[str, Any]:
    """The known ones of a config's settings.

    Raises:
        InputError: the config is no table, or a setting is not a whole number within `BOUNDS`.
    """
    if not isinstance(settings, dict):
        raise InputError(f"{str(settings)[:50]!r} is no table of settings")
    kept = {name: settings[name] for name in known if name in settings}
    for name, value in kept.items():
        if name in BOUNDS and value is not None:
            low, high = BOUNDS[name]
            several = isinstance(value, list | tuple) and len(value) in _NUMBERS.get(name, ())
            sides = value if several else [value]
            if not all(type(side) is int and low <= side <= high for side in sides):
                given = "x".join(map(str, sides))[:50]
                raise InputError(f"{name.replace('_', ' ')} {given}: give a whole number from {low:,} to {high:,}")
    return kept
