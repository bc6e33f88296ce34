"""Learning what convolutional networks believe of digits, instead of what the digits are labelled.

Teachers are trained on digits alone. They then look at many distorted copies of every digit, once, and what they
believe of each copy is kept. Lines are made of those copies. Slots and the autoregressive decoder learn the
beliefs, softened (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"); CTC has no place that is one
digit's, and learns the text that the teachers read (as in Touvron et al. 2021, DeiT).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from seqocr import environment
from seqocr.data.augment import CELL, Augmentation
from seqocr.data.sequences import mixed
from seqocr.data.soft_labels import SoftLabels
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError
from seqocr.files import replacing, shown
from seqocr.models.heads.base import Head
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress
from seqocr.train.loop import averaged_model

TEACHERS, EPOCHS, COPIES = 2, 15, 12
TEMPERATURE = 2.0  # that beliefs are softened by
_STRENGTHS = (1.0, 0.5)  # of the augmentation of copies, in turn
_BATCH, _RATE, _WARMUP, _DECAY, _MEMORY = 256, 4e-3, 0.1, 0.05, 0.995
_SMOOTHING = 0.02
_AT_ONCE = 2048  # copies that teachers look at
_OF = "digits"  # in a file's metadata: a digest of the digits that it is of
_ELSEWHERE = "delete it, or give another folder"


class Teacher(nn.Sequential):
    """(N, 28, 28) float32 in [0, 1] -> (N, classes): logits of a digit. Three stages of two 3x3 convolutions each."""

    def __init__(self, classes: int, width: int = 32) -> None:
        def convolution(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        super().__init__(
            nn.Unflatten(1, (1, CELL)),
            *convolution(1, width),
            *convolution(width, width),
            nn.MaxPool2d(2),
            *convolution(width, 2 * width),
            *convolution(2 * width, 2 * width),
            nn.MaxPool2d(2),
            *convolution(2 * width, 4 * width),
            *convolution(4 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, classes),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def teachers(
    digits: Digits, folder: Path, *, count: int = TEACHERS, epochs: int = EPOCHS, device: torch.device | str = "cpu"
) -> list[Teacher]:
    """Teachers of digits, on the CPU. Those in `folder` are loaded, the others trained and put there, one by one.

    Raises:
        InputError: one that lies there cannot be read, or is of other digits.
    """
    return [_teacher(digits, folder / f"teacher-{seed}.safetensors", seed, epochs, device) for seed in range(count)]


def _teacher(digits: Digits, path: Path, seed: int, epochs: int, device: torch.device | str) -> Teacher:
    torch.manual_seed(seed)
    teacher = Teacher(len(digits.symbols))
    if path.exists():
        try:
            teacher.load_state_dict(_kept(path, digits))
        except RuntimeError as error:
            raise InputError(f"{shown(path)} is no teacher of these digits: {_ELSEWHERE}") from error
        return teacher.eval()
    teacher = teacher.to(device)
    average = averaged_model(teacher, _MEMORY)
    optimizer = torch.optim.AdamW(teacher.parameters(), weight_decay=_DECAY)
    augmentation, random = Augmentation(), torch.Generator().manual_seed(seed)
    size = min(_BATCH, len(digits))
    in_epoch = len(digits) // size
    steps = epochs * in_epoch
    with progress(f"teacher {seed}", steps) as reporter:
        for step in range(steps):
            if step % in_epoch == 0:
                order = torch.randperm(len(digits), generator=random).split(size)
            chosen = order[step % in_epoch]
            rate = min(1, (step + 1) / (_WARMUP * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.param_groups[0]["lr"] = _RATE * rate
            noise = torch.rand(len(chosen), augmentation.noise_size, generator=random)
            logits = _looked(teacher, augmentation(digits.images[chosen].float() / 255, noise).to(device))
            loss = F.cross_entropy(logits, digits.labels[chosen].to(device), label_smoothing=_SMOOTHING)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(teacher)
            reporter.advance(f"loss {loss.item():.3f}" if step % 50 == 0 else "")
    for own, averaged in zip(teacher.buffers(), average.module.buffers(), strict=True):
        averaged.copy_(own)  # of batch norm: only weights are averaged
    _keep(path, digits, {name: x.cpu().contiguous() for name, x in average.module.state_dict().items()})
    return cast(Teacher, average.module).cpu().eval()


def _keep(path: Path, digits: Digits, tensors: dict[str, torch.Tensor]) -> None:
    with replacing(path) as temporary:
        # save_file would make the file readable by its owner alone, whatever the umask.
        temporary.write_bytes(to_bytes(tensors, {_OF: _digest(digits)}))


def _kept(path: Path, digits: Digits) -> dict[str, torch.Tensor]:
    """
    Raises:
        InputError: the file cannot be read, or is of other digits.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(_OF) != _digest(digits):
                raise InputError(f"{shown(path)} is of other digits: {_ELSEWHERE}")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{shown(path)} cannot be read: {_ELSEWHERE}") from error


def _digest(digits: Digits) -> str:
    found = hashlib.sha256(digits.images.numpy().tobytes())
    found.update(digits.labels.numpy().tobytes())
    return found.hexdigest()


def _looked(teacher: Teacher, images: torch.Tensor) -> torch.Tensor:
    """Logits (N, classes) float32; in bfloat16 where there are instructions for it, which convolutions gain from."""
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cpu" and environment.multiplies_bfloat16()):
        return teacher(images).float()


def beliefs(
    digits: Digits,
    folder: Path,
    *,
    of: list[Teacher] | None = None,
    copies: int = COPIES,
    device: torch.device | str = "cpu",
) -> SoftLabels:
    """Have teachers look at copies of digits. What they believe is kept in `folder`, and loaded from there.

    Args:
        of: teachers; default: those of `folder`.

    Raises:
        InputError: what lies there is of something else.
    """
    path = folder / "beliefs.safetensors"
    if not path.exists():
        of = teachers(digits, folder, device=device) if of is None else of
        _keep(path, digits, _looked_at(digits, [each.to(device) for each in of], copies, device))
    found = _kept(path, digits)
    if "images" not in found or "logits" not in found or len(found["images"]) != copies * len(digits):
        raise InputError(f"{shown(path)} is of other digits: {_ELSEWHERE}")
    images, logits = found["images"], found["logits"]
    return SoftLabels(replace(digits, images=images, labels=logits.argmax(dim=1)), logits)


@torch.inference_mode()
def _looked_at(
    digits: Digits, looking: list[Teacher], copies: int, device: torch.device | str
) -> dict[str, torch.Tensor]:
    """Distorted copies, (N, 28, 28) uint8, and the logarithms of what teachers believe on average, (N, classes)."""
    total = copies * len(digits)
    images = torch.empty(total, CELL, CELL, dtype=torch.uint8)
    logits = torch.empty(total, len(digits.symbols), dtype=torch.float16)
    with progress("what teachers believe", -(-total // _AT_ONCE)) as reporter:
        for start in range(0, total, _AT_ONCE):
            here = torch.arange(start, min(start + _AT_ONCE, total))
            generator = torch.Generator().manual_seed(mixed(start))
            cells, copy = digits.images[here % len(digits)].float() / 255, here // len(digits)
            for turn, strength in enumerate(_STRENGTHS):
                augmentation = Augmentation().scaled(strength)
                some = copy % len(_STRENGTHS) == turn
                noise = torch.rand(len(here), augmentation.noise_size, generator=generator)
                cells[some] = augmentation(cells[some], noise[some])
            images[here] = stored = cells.mul(255).round().to(torch.uint8)
            scaled = (stored.float() / 255).to(device)
            seen = torch.stack([_looked(each, scaled).softmax(dim=1) for each in looking])
            logits[here] = seen.mean(0).log().half().cpu()
            reporter.advance("")
    return {"images": images, "logits": logits}


@contextmanager
def learning_beliefs(recognizer: Recognizer) -> Iterator[None]:
    """While it lasts, `loss` of each head is its `distillation_loss`."""
    taught = [h for h in recognizer.heads.values() if type(h).distillation_loss is not Head.distillation_loss]
    for head in taught:
        head.loss = partial(head.distillation_loss, temperature=TEMPERATURE)
    try:
        yield
    finally:
        for head in taught:
            del head.loss
