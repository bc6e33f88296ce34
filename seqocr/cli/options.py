"""Options that several commands share, and what becomes of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqocr.errors import InputError

Heads = Annotated[str, typer.Option(help="Heads, separated by commas.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data sets [$SEQOCR_DATA or ./data].")]
DataSet = Annotated[str, typer.Option(help="mnist, emnist-digits, emnist-letters, qmnist, kmnist or usps.")]
OwnLines = Annotated[
    Path | None, typer.Option(help="Lines of your own: a folder with metadata.csv, labels.json or gt.txt.")
]
Skip = Annotated[bool, typer.Option(help="Leave out lines of --data that cannot be used.")]
Level = Annotated[str, typer.Option(help="How digits are laid out: grid, jitter or wild.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: cuda where there is one.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Directory written by `seqocr train` or `seqocr export`, or tiny [strings, both shipped]."),
]
Engine = Annotated[str, typer.Option(help="What runs exported graphs: onnxruntime or openvino.")]


def parsed_length(text: str) -> int | tuple[int, int]:
    try:
        shortest, *longest = (int(part) for part in text.split("-"))
        if len(longest) <= 1:
            return (shortest, longest[0]) if longest else shortest
    except ValueError:
        pass
    raise InputError(f"--length {text}: give a number, or SHORTEST-LONGEST such as 1-5")


def parsed_size(text: str | None, option: str) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"{option} {text}: give HEIGHTxWIDTH such as 32x160") from None
    return height, width


def choose_device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: choose cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; use --device cpu")
    return name
