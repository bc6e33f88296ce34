"""The manifest of exported graphs: a config, with checksums of itself and of the graphs written with it."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seqocr.errors import InputError
from seqocr.files import file_sum, read_json, shown
from seqocr.models.config_sum import without_sum

RUNTIME = "onnx"
# Since 2 one-pass heads give log probabilities, since 3 checksums say which file is which graph, since 4 each head's
# output is declared.
FORMAT = 4
STATIC = "static"  # how activations of int8 graphs are quantised; those of earlier versions do not say: dynamic
AGAIN = "write it again with `seqocr export`"


def is_exported(directory: Path) -> bool:
    """Whether a directory holds graphs and not weights."""
    try:
        return "runtime" in read_json(directory / "config.json")
    except (InputError, TypeError):
        return False  # what is wrong with it is for the loader to say


def exported_outputs(directory: Path) -> dict[str, str]:
    """By name, the outputs of the heads whose graphs a directory holds; empty where it holds none."""
    try:
        config = read_json(directory / "config.json")
        return dict(config["outputs"]) if "runtime" in config else {}
    except (InputError, LookupError, TypeError, ValueError):
        return {}  # what is wrong with it is for the loader to say


def rounds_by_batch(config: dict[str, Any]) -> bool:
    """Whether graphs round a line's numbers by all lines that they are given at once."""
    runtime = config["runtime"]
    return bool(runtime.get("precision") == "int8" and runtime.get("activations") != STATIC)


def config_sum(config: dict[str, Any]) -> str:
    """SHA-256 of all that a config says of the recognizer but its provenance."""
    said = {key: value for key, value in without_sum(config).items() if key not in ("runtime", "provenance")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def check_config(directory: Path, config: dict[str, Any]) -> None:
    """Raise an InputError if the config is not the one that the graphs were written with."""
    name, runtime = shown(directory), config["runtime"]
    if not isinstance(runtime, dict) or runtime.get("name") != RUNTIME:
        raise InputError(f"{name} holds graphs for an unknown runtime: {AGAIN}")
    if runtime.get("format") != FORMAT:
        raise InputError(f"{name} holds graphs of another version: {AGAIN}")
    if runtime.get("config") != config_sum(config):
        raise InputError(f"{name}: config.json is not what the graphs were written with: {AGAIN}")


def check_graphs(directory: Path, config: dict[str, Any], graphs: Iterable[str]) -> None:
    """Raise an InputError if the graphs, of which these must be there (names without ending), are not those that were
    written with this config, each under its own name."""
    sums = config["runtime"].get("graphs")
    sums = sums if isinstance(sums, dict) else {}
    for file in dict.fromkeys([*(f"{graph}.onnx" for graph in graphs), *sums]):
        path = directory / file
        if not path.is_file():
            raise InputError(f"{shown(path)} is missing: {AGAIN}")
        try:
            found = file_sum(path)
        except OSError as error:
            raise InputError(f"{shown(path)} cannot be read ({error.strerror}): {AGAIN}") from error
        if sums.get(file) != found:
            raise InputError(f"{shown(path)} is not the graph that was written there: {AGAIN}")
