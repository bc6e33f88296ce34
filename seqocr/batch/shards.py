"""A job: one shard, read line by line into one Parquet file. The file is the same wherever it runs."""

from __future__ import annotations

import hashlib
import io
import math
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from PIL import Image

from seqocr import __version__
from seqocr.batch.sources import Shard, Source
from seqocr.batch.storage import write_file
from seqocr.decoding.calibration import apply_calibration
from seqocr.errors import InputError
from seqocr.inference.load import load_reader
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import Prediction
from seqocr.inference.symbols import Symbol

_ROWS = 5000  # per row group


class LineReader:
    """Exported graphs that read one line at a time, on one thread.

    An int8 graph rounds by all that it is given at once; read alone, a line's prediction depends on nothing else.

    Raises:
        InputError: the weights are not exported graphs, or not of this head.
    """

    def __init__(self, weights: str | None, head: str) -> None:
        reader = load_reader(weights, head, "cpu")
        if not isinstance(reader, OnnxRecognizer):
            raise InputError(
                f"--weights {weights or 'strings'} has no graphs of the head {head}: write some with `seqocr export`"
            )
        self.reader, self.head = reader.with_threads(1), head

    @property
    def digest(self) -> str:
        """Of graphs and their configuration."""
        names = ["config.json", *(f"{graph}.onnx" for graph in self.reader.heads[self.head].graphs)]
        found = hashlib.sha256()
        for name in names:
            found.update((self.reader.directory / name).read_bytes())
        return found.hexdigest()[:16]

    def read(self, image: Image.Image) -> Prediction:
        """Greedy; symbols have the confidences that greedy decoding gives them."""
        decoded = self.reader.decode([image], self.head)
        (confidence,) = apply_calibration(self.reader.provenance, self.head, decoded.confidences).tolist()
        (text,), (confidences,) = decoded.texts, decoded.symbol_confidences()
        return Prediction(text, confidence, tuple(map(Symbol, text, confidences)), passes=decoded.passes)


def versions(reader: LineReader) -> dict[str, str]:
    """What must be the same on all machines."""
    return {"weights": reader.digest, "seqocr": __version__, "onnxruntime": version("onnxruntime")}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a shard.

    Attributes:
        lines: rows written; problems: those of images that could not be read.
        error: why nothing was written; empty otherwise.
    """

    number: int
    lines: int = 0
    problems: int = 0
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Job:
    """Reads shards; a worker needs nothing else.

    Attributes:
        out: the folder of Parquet files, as fsspec takes it.
        versions: of the process that hands out shards (see `versions`).
    """

    source: str
    weights: str | None
    head: str
    out: str
    versions: dict[str, str]

    def __call__(self, shard: Shard) -> Outcome:
        """Read a shard. An error is part of the outcome, so that no engine wraps it in its own words."""
        start = time.monotonic()
        try:
            reader = _reader(self.weights, self.head)
            if (own := versions(reader)) != self.versions:
                raise InputError(f"a worker has {own}, not {self.versions}: install the same everywhere")
            rows = [_row(name, line, reader) for name, line in Source(self.source).lines(shard)]
            write_file(self.out, part_name(shard.number), _parquet(rows))
        except (InputError, OSError) as error:
            return Outcome(shard.number, error=str(error))
        problems = sum(row["problem"] is not None for row in rows)
        return Outcome(shard.number, len(rows), problems, time.monotonic() - start)


@cache
def _reader(weights: str | None, head: str) -> LineReader:
    """One per process."""
    return LineReader(weights, head)


def part_name(number: int) -> str:
    return f"part-{number:07d}.parquet"


def _row(name: str, line: Image.Image | str, reader: LineReader) -> dict[str, Any]:
    """`file_name`, `text`, `confidence`, `symbol_confidences`; or, in place of the last three, `problem`."""
    if isinstance(line, str):
        return {"file_name": name, "problem": line}
    prediction = reader.read(line)
    if not math.isfinite(prediction.confidence):
        return {"file_name": name, "problem": f"{name} gives {prediction.confidence} with these weights: take others"}
    return {
        "file_name": name,
        "text": prediction.text,
        "confidence": prediction.confidence,
        "symbol_confidences": [symbol.confidence for symbol in prediction.symbols],
        "problem": None,
    }


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            ("file_name", pa.string()),
            ("text", pa.string()),
            ("confidence", pa.float32()),
            ("symbol_confidences", pa.list_(pa.float32())),
            ("problem", pa.string()),
        ]
    )
    file = io.BytesIO()
    parquet.write_table(
        pa.Table.from_pylist(rows, schema), file, row_group_size=_ROWS, compression="zstd", use_dictionary=False
    )
    return file.getvalue()
