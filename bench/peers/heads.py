"""This project's heads as peers: in PyTorch's eager mode, and in ONNX Runtime."""

from functools import partial
from pathlib import Path

from bench import backends
from bench.core import strategies
from bench.peers.base import Peer, PeerSpec
from seqocr.models.recognizer import Recognizer


def _load(backend: str, strategy: str, recognizer: Recognizer, folder: Path, inverted: bool) -> Peer:
    decode, processor = backends.prepare(backend, recognizer, folder).strategies[strategy], recognizer.processor
    return Peer(lambda lines: decode(processor(lines)).texts, f"seqocr, {backend}")


def _spec(backend: str, strategy: str) -> PeerSpec:
    name = strategy if backend == backends.EAGER else f"{strategy}, {backend}"
    missing = backends.backends()[backend].missing
    return PeerSpec(name, partial(_load, backend, strategy), missing, order=0, strategy=strategy)


PEERS = [
    *(_spec(backends.EAGER, strategy) for strategy in strategies.deployed()),
    *(_spec("onnxruntime", strategy) for strategy in strategies.exportable()),
]
