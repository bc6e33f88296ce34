"""Our own heads, through PyTorch's eager mode and through ONNX Runtime."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench import backends as runtimes
from bench.core import strategies
from bench.peers.base import Declared, Peer
from seqocr.models.recognizer import Recognizer


def _load(runtime: str, way: str, recognizer: Recognizer, folder: Path, inverted: bool) -> Peer:
    decode, processor = runtimes.prepare(runtime, recognizer, folder).heads[way], recognizer.processor
    return Peer(lambda lines: decode(processor(lines)).texts, f"seqocr, {runtime}")


def _declared(runtime: str, way: str) -> Declared:
    return Declared(
        way if runtime == runtimes.EAGER else f"{way}, {runtime}",
        partial(_load, runtime, way),
        partial(runtimes.missing, runtime),
        order=0,
        way=way,
    )


PEERS = [
    *(_declared(runtimes.EAGER, way) for way in strategies.deployed()),
    *(_declared("onnxruntime", way) for way in strategies.exportable()),
]
