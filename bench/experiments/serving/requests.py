"""Lines that are asked for, as PNG, and what the library reads of each by itself."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

LEVELS = ("grid", "jitter", "wild")
HEAD = "parallel"
_COUNT = 100  # of each level


@dataclass(frozen=True)
class Sample:
    """A line's PNG, and its text."""

    png: bytes
    text: str


def made() -> list[Sample]:
    """Test strings of 1 to 10 digits of every level, and what the shipped weights read of them."""
    from seqocr.data.sequences import SequenceMNIST
    from seqocr.data.sources.datasets import load_digits
    from seqocr.data.synthetic.layouts import LEVELS as LAYOUTS
    from seqocr.inference.load import load_reader
    from seqocr.inference.predict import ReadOptions, predict

    reader, digits, found = load_reader(None, HEAD, "cpu"), load_digits("test"), []
    for level in LEVELS:
        strings = SequenceMNIST(digits, (1, 10), count=_COUNT, layout=LAYOUTS[level])
        for i in range(len(strings)):
            line = Image.fromarray(np.asarray(strings[i][0]))
            file = io.BytesIO()
            line.save(file, "PNG")
            found.append(Sample(file.getvalue(), predict(reader, [line], ReadOptions(HEAD, symbols=True))[0].text))
    return found


def save(lines: list[Sample], folder: Path) -> None:
    """For other processes."""
    for i, line in enumerate(lines):
        (folder / f"{i:04d}.png").write_bytes(line.png)
    (folder / "texts.json").write_text(json.dumps([line.text for line in lines]), encoding="utf-8")


def load(folder: Path) -> list[Sample]:
    """What `save` wrote."""
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    return [Sample((folder / f"{i:04d}.png").read_bytes(), text) for i, text in enumerate(texts)]


def form(group: list[Sample]) -> tuple[bytes, str]:
    """A request's body (multipart/form-data), and its content type."""
    boundary = "seqocr-lines"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="{i}.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + line.png
        + b"\r\n"
        for i, line in enumerate(group)
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
