"""A job: one shard, read line by line into one Parquet file. The file is the same wherever it runs."""

import hashlib
import io
import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from PIL import Image

from seqocr import __version__
from seqocr.batch.parts import write_part
from seqocr.batch.sources import Shard, Source
from seqocr.decoding.calibration import apply_calibration
from seqocr.errors import InputError
from seqocr.files import read_json
from seqocr.inference.load import load
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import chosen_head, notes_on
from seqocr.inference.prediction import Prediction
from seqocr.inference.shipped import DEFAULT
from seqocr.inference.symbols import Symbol
from seqocr.models.config_sum import without_sum

_ROWS = 5000  # per row group


class LineReader:
    """Exported graphs that read one line at a time, on one thread.

    Int8 graphs of earlier versions round by all that they are given at once; read alone, a line's prediction depends
    on nothing else.
    InputError if the weights are not exported graphs, or not of this head; an empty name is the default head's.
    """

    def __init__(self, weights: str | None, head: str) -> None:
        reader = load(weights, head, "cpu")
        if not isinstance(reader, OnnxRecognizer):
            raise InputError(
                f"--weights {weights or DEFAULT} has no graphs{head and f' of the head {head}'}: "
                "write some with `seqocr export`"
            )
        self.reader, self.head = reader.with_threads(1), chosen_head(reader, head)

    @property
    def digest(self) -> str:
        """Of graphs and their configuration."""
        # As earlier versions wrote the config, so that their results are gone on with.
        config = json.dumps(without_sum(read_json(self.reader.directory / "config.json")), indent=2, ensure_ascii=False)
        graphs = [self.reader.directory / f"{graph}.onnx" for graph in self.reader.heads[self.head].graphs]
        content = b"".join([f"{config}\n".encode(), *(path.read_bytes() for path in graphs)])
        return hashlib.sha256(content).hexdigest()[:16]

    def read(self, image: Image.Image) -> Prediction:
        """Greedy; symbols have the confidences that greedy decoding gives them."""
        decoded = self.reader.decode([image], self.head)
        (confidence,) = apply_calibration(self.reader.provenance, self.head, decoded.confidences).tolist()
        (text,), (confidences,) = decoded.texts, decoded.symbol_confidences()
        shown = None if decoded.shown is None else decoded.shown[0]
        notes = notes_on(self.reader, self.head, image, text, confidence, shown)
        confidence = confidence if text else 0.0
        return Prediction(text, confidence, tuple(map(Symbol, text, confidences)), passes=decoded.passes, notes=notes)


def versions(reader: LineReader) -> dict[str, str]:
    """What must be the same on all machines."""
    return {"weights": reader.digest, "seqocr": __version__, "onnxruntime": version("onnxruntime")}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a shard."""

    number: int
    lines: int = 0  # rows written
    problems: int = 0  # those of images that could not be read
    error: str = ""  # why nothing was written


@dataclass(frozen=True)
class Job:
    """Reads shards; a worker needs nothing else."""

    source: str
    weights: str | None
    head: str
    out: str  # the folder of Parquet files, as fsspec takes it
    versions: dict[str, str]  # of the process that hands out shards (see `versions`)

    def __call__(self, shard: Shard) -> Outcome:
        """Read a shard. An error is part of the outcome, so that no engine wraps it in its own words."""
        try:
            reader = _reader(self.weights, self.head)
            if (own := versions(reader)) != self.versions:
                raise InputError(f"a worker has {own}, not {self.versions}: install the same everywhere")
            rows = [_row(name, line, reader) for name, line in Source(self.source).lines(shard)]
            problems = sum(row["problem"] is not None for row in rows)
            write_part(self.out, shard, _parquet(rows), len(rows), problems)
        except (InputError, OSError) as error:
            return Outcome(shard.number, error=str(error))
        return Outcome(shard.number, len(rows), problems)


@cache
def _reader(weights: str | None, head: str) -> LineReader:
    """One per process."""
    return LineReader(weights, head)


def _row(name: str, line: Image.Image | str, reader: LineReader) -> dict[str, Any]:
    """`file_name`, `text`, `confidence`, `symbol_confidences`, `notes`; or, in place of the last four, `problem`."""
    if isinstance(line, str):
        return {"file_name": name, "problem": line}
    prediction = reader.read(line)
    p, symbols = prediction.confidence, [symbol.confidence for symbol in prediction.symbols]
    if not math.isfinite(p):
        return {"file_name": name, "problem": f"{name} gives {p} with these weights: take others"}
    read = {"text": prediction.text, "confidence": p, "symbol_confidences": symbols, "notes": list(prediction.notes)}
    return {"file_name": name, **read, "problem": None}


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    number = pa.float32()
    columns = {"confidence": number, "symbol_confidences": pa.list_(number), "problem": pa.string()}
    columns |= {"notes": pa.list_(pa.string())}
    table = pa.Table.from_pylist(rows, pa.schema({"file_name": pa.string(), "text": pa.string(), **columns}))
    file = io.BytesIO()
    parquet.write_table(table, file, row_group_size=_ROWS, compression="zstd", use_dictionary=False)
    return file.getvalue()
