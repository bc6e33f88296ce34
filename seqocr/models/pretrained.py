"""TrOCR checkpoints in Hugging Face format: from the hub or a local directory. Only JSON and safetensors are opened,
and here: transformers has no file to unpickle, and no name of code, kernels or adapters to fetch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file
from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from transformers.utils import logging as chatter

from seqocr.errors import InputError
from seqocr.files import read_json, shown
from seqocr.hub import hub_answers
from seqocr.models.encoder import KINDS, Encoder
from seqocr.models.limits import CONFIG_ERRORS, DECODER_SETTINGS, ENCODER_SETTINGS, check_settings

# How names of pickled weights end. A pickle is a program, run when it is loaded.
_PICKLES = (".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Pretrained:
    """What a TrOCR checkpoint brings: its encoder, with weights, and its decoder and image processor.

    Attributes:
        decoder: keyword arguments of `TrOCRConfig`.
        decoder_weights: state dict of `TrOCRForCausalLM`, with the checkpoint's own vocabulary.
        mean, std: per channel; TrOCR's own values where there is no image processor. `Processor` checks them.
        keep_aspect: whether its image processor keeps the aspect of a line.
    """

    encoder: Encoder
    decoder: dict[str, Any]
    decoder_weights: dict[str, torch.Tensor]
    mean: Any
    std: Any
    keep_aspect: bool


def load_pretrained(source: str) -> Pretrained:
    """Load a TrOCR checkpoint by hub id or directory. Never unpickles: the checkpoint must have safetensors.

    Raises:
        InputError: it cannot be found, reached, or read, names a pickle, or its config does not fit its weights; within
            seconds, saying what to do.
    """
    local = Path(source).is_dir() or not hub_answers()  # what was downloaded loads without the hub
    try:
        config = _json(source, "config.json", local)
        if config is None:
            raise OSError("it has no config.json")
        _refuse_pickles(source, config)
        parsed = _parsed(source, config)
        model = _built(parsed, _weights(source, local))
        images = _json(source, "preprocessor_config.json", local)
        if images is None:
            images = (_json(source, "processor_config.json", local) or {}).get("image_processor")
    except InputError:
        raise
    except CONFIG_ERRORS as error:
        raise InputError(_explain(source, error)) from error
    images = images if isinstance(images, dict) else {}
    mean, std = (images.get(name, (0.5, 0.5, 0.5)) for name in ("image_mean", "image_std"))
    return Pretrained(
        Encoder(model.encoder),
        {name: getattr(model.decoder.config, name) for name in DECODER_SETTINGS},
        model.decoder.state_dict(),
        tuple(mean) if isinstance(mean, list) else mean,
        tuple(std) if isinstance(std, list) else std,
        bool(images.get("pad_size")),
    )


def _file(source: str, name: str, local: bool) -> Path | None:
    """One file of a checkpoint, if it has it; from the hub, downloaded unless it was before."""
    if Path(source).is_dir():
        path = Path(source, name)
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(source, name, local_files_only=local))
    except EntryNotFoundError:
        if name == "config.json":  # then there is no such checkpoint, or no hub: the client says which
            raise
        return None


def _json(source: str, name: str, local: bool) -> Any:
    path = _file(source, name, local)
    return None if path is None else read_json(path)


def _refuse_pickles(source: str, value: Any) -> None:
    """Whatever a config or an index calls them."""
    for text in _texts(value):
        if text.lower().endswith(_PICKLES):
            raise InputError(
                f"{shown(source)} names a pickle, {shown(text)!r}, and pickles can run any program: "
                "save the checkpoint again as safetensors"
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _parsed(source: str, config: Any) -> VisionEncoderDecoderConfig:
    """Of a config, what is known, and within bounds."""
    if config["model_type"] != "vision-encoder-decoder":
        raise ValueError(f"its model type is {config['model_type']!r}")
    if (kind := config["decoder"]["model_type"]) != "trocr":
        raise InputError(f"{shown(source)} has a {kind} decoder, not TrOCR's: choose a TrOCR checkpoint")
    beside = ("vocab_size", "cross_attention_hidden_size", "tie_word_embeddings")
    try:
        encoder = check_settings(config["encoder"], (*ENCODER_SETTINGS, "model_type"))
        decoder = check_settings(config["decoder"], (*DECODER_SETTINGS, *beside, "model_type"))
    except InputError as error:
        raise ValueError(str(error)) from error  # which is then said of the checkpoint
    if encoder["model_type"] not in KINDS:
        raise ValueError(f"its encoder is {encoder['model_type']!r}, not one of {', '.join(KINDS)}")
    tied = {"tie_word_embeddings": config["tie_word_embeddings"]} if "tie_word_embeddings" in config else {}
    return VisionEncoderDecoderConfig(encoder=encoder, decoder={**decoder, "pad_token_id": 0}, **tied)


def _weights(source: str, local: bool) -> dict[str, torch.Tensor]:
    names = ["model.safetensors"]
    if _file(source, names[0], local) is None:
        index = _json(source, _INDEX, local)
        if index is None:
            raise OSError("it has no model.safetensors")
        _refuse_pickles(source, index)
        names = sorted(set(index["weight_map"].values()))
        if odd := [name for name in names if not re.fullmatch(r"[\w.-]+\.safetensors", name)]:
            raise ValueError(f"{_INDEX} names {shown(odd[0])!r}")
    weights: dict[str, torch.Tensor] = {}
    for name in names:
        path = _file(source, name, local)
        if path is None:
            raise OSError(f"it has no {name}")
        weights |= load_file(path)
    return weights


def _built(config: VisionEncoderDecoderConfig, weights: dict[str, torch.Tensor]) -> Any:
    with torch.device("meta"):  # which takes no memory
        asked = sum(p.numel() for p in VisionEncoderDecoderModel(config).parameters())
    given = sum(tensor.numel() for tensor in weights.values())
    if asked > 2 * given:  # an output that is tied to the input, and a pooler, may be left out
        raise ValueError(f"config.json describes {asked:,} weights, there are {given:,}")
    with _quiet():
        model, report = VisionEncoderDecoderModel.from_pretrained(
            None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(name for name in report["missing_keys"] if ".pooler." not in name):
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} among them")
    if odd := [name for name, p in model.named_parameters() if not p.isfinite().all()]:
        raise ValueError(f"{len(odd)} weights are no numbers (NaN or infinite), {odd[0]} among them")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' table of what did not fit, which is said in a line, and its progress bar."""
    before = chatter.get_verbosity()
    chatter.set_verbosity(chatter.CRITICAL)
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(before)
        chatter.enable_progress_bar()


def _explain(source: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if Path(source).is_dir():
        return (
            f"{shown(source)} is not a TrOCR checkpoint in Hugging Face format ({reason}): "
            "it needs config.json and model.safetensors"
        )
    return (
        f"{source!r} is no preset and no directory here, and could not be loaded from {constants.ENDPOINT} ({reason}). "
        "Check the name and the connection; or download the checkpoint where there is one "
        f"(`hf download {source} --local-dir DIR`) and give DIR; or use a preset: tiny, small"
    )
