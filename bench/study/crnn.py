"""CRNN (Shi et al. 2017), as docTR builds it (`crnn_mobilenet_v3_small`), trained from scratch on the strings that the
family of encoders learns: how a reader of another make does with the same budget of strings."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict

from bench.core.plugins import not_installed
from bench.workloads.held_out import task_strings
from seqocr.data.mixture import Lines
from seqocr.data.processor import Processor
from seqocr.data.sources.datasets import DIGITS
from seqocr.decoding.output import DecoderOutput
from seqocr.train.config import TrainConfig
from seqocr.train.loader import ShardedBatches
from seqocr.train.optim import set_learning_rate
from seqocr.train.recipe import build_mixture, load_splits
from seqocr.train.state import read_tensors, write_tensors

NAME = "crnn"  # of the reader, and of its table
ARCHITECTURE = "crnn_mobilenet_v3_small"
PROCESSOR = Processor(32, 160)  # 32 pixels high, as published, and as wide as `small` sees
LEARNING_RATE = 1e-3  # at its peak
_WEIGHTS, _STATE = "model.safetensors", "training-state.safetensors"
_SAVE_EVERY = 250  # steps
_READ_AT_ONCE = 100
_FLAT = StateDictOptions(flatten_optimizer_state_dict=True)

missing = partial(not_installed, doctr="python-doctr")


def made_with() -> str:
    return f"python-doctr {version('python-doctr')}, {ARCHITECTURE}"


def build(seed: int) -> nn.Module:
    """An untrained model of docTR's, digits its vocabulary."""
    from doctr.models import recognition

    torch.manual_seed(seed)
    model: nn.Module = getattr(recognition, ARCHITECTURE)(pretrained=False, pretrained_backbone=False, vocab=DIGITS)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def is_learned(folder: Path) -> bool:
    return (folder / _WEIGHTS).exists()


def learn(config: TrainConfig, folder: Path, advance: Callable[[int, float], None] = lambda step, loss: None) -> None:
    """Train to the end; goes on where it was cut short. Steps, batch, strings and schedule are of `config`, optimiser
    and learning rate those of docTR's own training.

    Args:
        folder: of the weights; advance: called after each step with its number and its loss.
    """
    config = replace(config, learning_rate=LEARNING_RATE)
    torch.manual_seed(config.seed)
    model = build(config.seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    step = _load_state(folder / _STATE, model, optimizer) if (folder / _STATE).exists() else 0
    batches = iter(
        ShardedBatches(build_mixture(config, load_splits()), config.batch_size, range(1), 1, step, PROCESSOR)
    )
    while step < config.steps:
        set_learning_rate([optimizer], config, step)
        (part,) = next(batches)[0]
        loss = model(part.pixels.contiguous(memory_format=torch.channels_last), part.texts)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        advance(step, loss.item())
        if step % _SAVE_EVERY == 0:
            _save_state(folder / _STATE, model, optimizer, step)
    write_tensors(folder / _WEIGHTS, model.state_dict(), {"step": str(step)})
    (folder / _STATE).unlink(missing_ok=True)


def _save_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    moments: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=_FLAT)
    tensors = {f"optimizer/{name}": x for name, x in moments.items() if isinstance(x, torch.Tensor)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {**model.state_dict(), **tensors}, {"step": json.dumps(step)})


def _load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """The step that training had reached."""
    metadata, tensors = read_tensors(path)
    model.load_state_dict({name: x for name, x in tensors.items() if not name.startswith("optimizer/")})
    before: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=_FLAT)
    moments: dict[str, Any] = {
        name.removeprefix("optimizer/"): x for name, x in tensors.items() if name.startswith("optimizer/")
    }
    before |= moments
    set_optimizer_state_dict(model, optimizer, before, options=_FLAT)
    return int(metadata["step"])


class Reader:
    """Trained weights of a folder."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = build(0).eval()
        self.model.load_state_dict(read_tensors(folder / _WEIGHTS)[1])

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @torch.inference_mode()
    def decode(self, images: torch.Tensor | Sequence[Any], strategy: str = NAME) -> DecoderOutput:
        """Best path; images as of `Processor`."""
        read = self.model(PROCESSOR(images).contiguous(memory_format=torch.channels_last))["preds"]
        confidences = np.array([confidence for _, confidence in read], np.float32)
        return DecoderOutput([text for text, _ in read], confidences, passes=1)


def read_sets(reader: Reader, sets: Sequence[tuple[str, Lines]]) -> pd.DataFrame:
    """One row per line: `set`, `index`, `text`, `prediction`; of `five-digits` besides, the task's own set."""
    rows = []
    for name, lines in [*sets, ("five-digits", task_strings(2000))]:
        for first in range(0, len(lines), _READ_AT_ONCE):
            images, texts = lines.batch(range(first, min(first + _READ_AT_ONCE, len(lines))))
            read = reader.decode(images).texts
            rows += [
                {"set": name, "index": first + i, "text": text, "prediction": prediction}
                for i, (text, prediction) in enumerate(zip(texts, read, strict=True))
            ]
    return pd.DataFrame(rows)
