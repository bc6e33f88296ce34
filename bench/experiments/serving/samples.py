"""Sample lines as PNG, with the text that the library reads of each by itself."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.workloads.held_out import held_out_digits
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.synthetic.layouts import LEVELS

_COUNT = 100  # of each level


@dataclass(frozen=True)
class Sample:
    png: bytes
    text: str


def make_samples() -> list[Sample]:
    """Strings of 1 to 10 digits of every level, and what the shipped graphs read."""
    from seqocr.inference.load import load
    from seqocr.inference.predict import predict
    from seqocr.inference.prediction import ReadOptions

    reader, digits, samples = load(None, "", "cpu"), held_out_digits(), []
    for layout in LEVELS.values():
        strings = SequenceMNIST(digits, (1, 10), count=_COUNT, layout=layout)
        for i in range(len(strings)):
            line, file = Image.fromarray(np.asarray(strings[i][0])), io.BytesIO()
            line.save(file, "PNG")
            samples.append(Sample(file.getvalue(), predict(reader, [line], ReadOptions(symbols=True))[0].text))
    return samples


def save_samples(samples: list[Sample], folder: Path) -> None:
    """For other processes."""
    for i, sample in enumerate(samples):
        (folder / f"{i:04d}.png").write_bytes(sample.png)
    (folder / "texts.json").write_text(json.dumps([sample.text for sample in samples]), encoding="utf-8")


def load_samples(folder: Path) -> list[Sample]:
    """What `save_samples` wrote."""
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    return [Sample((folder / f"{i:04d}.png").read_bytes(), text) for i, text in enumerate(texts)]


def form(samples: Sequence[Sample]) -> tuple[bytes, str]:
    """Body (multipart/form-data) and content type of a request."""
    boundary = "seqocr-lines"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="{i}.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + sample.png
        + b"\r\n"
        for i, sample in enumerate(samples)
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
