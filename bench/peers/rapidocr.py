"""RapidOCR: PP-OCRv4's recogniser (SVTR-LCNet, CTC). It scales lines to 48 pixels by itself."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from bench.core.plugins import not_installed
from bench.peers.base import Peer, PeerSpec, keep_digits, to_rgb
from seqocr.models.recognizer import Recognizer


def _load(recognizer: Recognizer, folder: Path, inverted: bool) -> Peer:
    from rapidocr_onnxruntime import RapidOCR

    recognise = RapidOCR().text_rec

    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        return [keep_digits(text) for text, *_ in recognise(to_rgb(lines, inverted))[0]]

    return Peer(read, f"rapidocr-onnxruntime {version('rapidocr-onnxruntime')}, recognition only, PP-OCRv4 weights")


_missing = partial(not_installed, rapidocr_onnxruntime="rapidocr-onnxruntime")
PEERS = [PeerSpec("RapidOCR", _load, _missing, order=10)]
