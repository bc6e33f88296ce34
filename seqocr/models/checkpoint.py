"""Saving and loading a recognizer: `model.safetensors` and a `config.json`, or a directory of Hugging Face's."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from seqocr.errors import InputError
from seqocr.files import file_sum, read_json, replacing, shown, write_json
from seqocr.models.config_sum import check_sum, with_sum
from seqocr.models.hugging_face import is_hugging_face, load_hugging_face
from seqocr.models.recognizer import Recognizer

_FILES = "files"  # key of the checksums, by name, of what config.json was written with


def load_recognizer(directory: Path | str) -> Recognizer:
    """Read what `save` wrote, or what `export_hugging_face` did.

    Raises:
        InputError: a file is missing, corrupt, does not fit the other, or the config was edited.
    """
    directory = Path(directory)
    if is_hugging_face(directory):
        return load_hugging_face(directory)
    config, weights = directory / "config.json", directory / "model.safetensors"
    for path in (config, weights):
        if not os.path.isfile(path):  # noqa: PTH113 (Path's raises an error for a name that is too long)
            raise InputError(f"{shown(path)} is missing: give a directory written by `seqocr train`")
    try:
        _check_shapes(config, weights)
        check_sum(config, found := read_json(config))
        _check_content(found, weights)
        recognizer = Recognizer.from_config(config)
        recognizer.load_state_dict(load_file(weights))
        if odd := [name for name, p in recognizer.named_parameters() if not p.isfinite().all()]:
            raise ValueError(f"{odd[0]} has what is no number (NaN or infinite)")
    except InputError:
        raise
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = shown(" ".join(str(error).split())[:300])
        raise InputError(f"{shown(weights)} cannot be used ({reason}): train or copy it again") from error
    return recognizer.eval()


def _check_shapes(config: Path, weights: Path) -> None:
    """Check that the config describes what there are weights for, so that it takes no more memory than they do."""
    with torch.device("meta"):  # which takes none
        asked = {name: list(x.shape) for name, x in Recognizer.from_config(config).state_dict().items()}
    with safe_open(weights, framework="pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if asked != found:
        name = min(name for name in {*asked, *found} if asked.get(name) != found.get(name))
        there, wanted = found.get(name, "none"), asked.get(name, "none")
        raise ValueError(f"{name}: {there} there, {wanted} asked for by {config.name}")


def _check_content(config: dict[str, Any], weights: Path) -> None:
    """Check that weights are those that a config was written with; earlier versions did not say."""
    sums = config.get(_FILES)
    if isinstance(sums, dict) and weights.name in sums and sums[weights.name] != file_sum(weights):
        raise ValueError("it is not the file that was written beside config.json")


def save(recognizer: Recognizer, directory: Path | str, half: bool = False) -> None:
    """Write `model.safetensors`, with `half` in 16 bits a weight, and `config.json`, each whole or not at all."""
    directory = Path(directory)
    kept = torch.float16 if half else torch.float32
    path = directory / "model.safetensors"
    with replacing(path) as temporary:
        # save_file would make the file readable by its owner alone, whatever the umask.
        weights = {name: x.to(kept) if x.is_floating_point() else x for name, x in recognizer.state_dict().items()}
        temporary.write_bytes(to_bytes({name: x.contiguous() for name, x in weights.items()}))
    write_json(directory / "config.json", with_sum({**recognizer.config(), _FILES: {path.name: file_sum(path)}}))
