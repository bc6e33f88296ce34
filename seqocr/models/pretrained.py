"""TrOCR checkpoints in Hugging Face format: from the hub or a local directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from huggingface_hub.errors import StrictDataclassError
from huggingface_hub.utils import get_session
from safetensors import SafetensorError
from transformers import AutoImageProcessor, VisionEncoderDecoderModel

from seqocr.errors import InputError
from seqocr.models.encoder import Encoder

_SECONDS_TO_ANSWER = 10  # a hub that has not answered by then counts as absent

# Among what transformers raises of files that are no checkpoint, or of another kind of model.
LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)

_DECODER_SETTINGS = (
    "d_model",
    "decoder_layers",
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "activation_function",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "scale_embedding",
    "layernorm_embedding",
    "use_learned_position_embeddings",
    "max_position_embeddings",
)


@dataclass(frozen=True)
class Pretrained:
    """What a TrOCR checkpoint brings.

    Attributes:
        encoder: with its weights.
        decoder: keyword arguments of `TrOCRConfig`.
        decoder_weights: state dict of `TrOCRForCausalLM`, with the checkpoint's own vocabulary.
        mean, std: of its image processor, a channel.
    """

    encoder: Encoder
    decoder: dict[str, Any]
    decoder_weights: dict[str, torch.Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load_pretrained(source: str) -> Pretrained:
    """Load a TrOCR checkpoint by hub id or directory. Never unpickles: the checkpoint must have safetensors.

    Raises:
        InputError: it cannot be found, reached, or read; within seconds, saying what to do.
    """
    # Asked first, because the hub's client repeats for the better part of a minute before it gives up. A checkpoint
    # that was downloaded earlier loads without the hub.
    local = Path(source).is_dir() or not _hub_answers()
    try:
        model = VisionEncoderDecoderModel.from_pretrained(source, use_safetensors=True, local_files_only=local)
    except LOAD_ERRORS as error:
        raise InputError(_explain(source, error)) from error
    decoder = model.decoder
    if decoder.config.model_type != "trocr":
        raise InputError(f"{source} has a {decoder.config.model_type} decoder, not TrOCR's: choose a TrOCR checkpoint")
    mean, std = _normalisation(source, local)
    return Pretrained(
        Encoder(model.encoder),
        {name: getattr(decoder.config, name) for name in _DECODER_SETTINGS},
        decoder.state_dict(),
        mean,
        std,
    )


def _hub_answers() -> bool:
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS_TO_ANSWER)
    except Exception:  # whatever the client of the hub in use raises; then there is no hub for us
        return False
    return True


def _normalisation(source: str, local: bool) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    try:
        processor = AutoImageProcessor.from_pretrained(source, local_files_only=local)
    except (OSError, ValueError):
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # a bare model directory: TrOCR's own values
    return tuple(processor.image_mean), tuple(processor.image_std)


def _explain(source: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if Path(source).is_dir():
        return (
            f"{source} is not a TrOCR checkpoint in Hugging Face format ({reason}): "
            "it needs config.json and model.safetensors"
        )
    return (
        f"{source!r} is no preset and no directory here, and could not be loaded from {constants.ENDPOINT} ({reason}). "
        "Check the name and the connection; or download the checkpoint where there is one "
        f"(`hf download {source} --local-dir DIR`) and give DIR; or use a preset: tiny, small"
    )
