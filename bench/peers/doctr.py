"""docTR's own predictor, with random weights.

Heads that write symbol by symbol are built for the task's length, so they stop there.
"""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from bench.core.plugins import not_installed
from bench.peers.base import Peer, PeerSpec, to_rgb
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.data.sources.datasets import DIGITS
from seqocr.models.recognizer import Recognizer

_ARCHITECTURES = ("parseq", "vitstr_small", "crnn_vgg16_bn", "crnn_mobilenet_v3_small")


def _load(arch: str, recognizer: Recognizer, folder: Path, inverted: bool) -> Peer:
    from doctr.models import recognition
    from doctr.models.preprocessor import PreProcessor
    from doctr.models.recognition.predictor import RecognitionPredictor

    limit = {} if arch.startswith("crnn") else {"max_length": TASK_LENGTH}
    torch.manual_seed(0)
    model = getattr(recognition, arch)(pretrained=False, pretrained_backbone=False, vocab=DIGITS, **limit).eval()
    if arch == "parseq":
        model.head.bias.data[len(DIGITS)] = -1e4  # never the end, so that it writes all it may
    look = {name: model.cfg[name] for name in ("mean", "std")}
    shape = model.cfg["input_shape"][-2:]
    predict = RecognitionPredictor(PreProcessor(shape, batch_size=128, preserve_aspect_ratio=True, **look), model)

    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        with torch.inference_mode():
            return [text for text, _ in predict(to_rgb(lines, inverted))]

    return Peer(read, f"python-doctr {version('python-doctr')}, random weights")


_missing = partial(not_installed, doctr="python-doctr")
PEERS = [PeerSpec(f"docTR {arch}", partial(_load, arch), _missing, order=30, trained=False) for arch in _ARCHITECTURES]
