"""Distillation: heads learn the class probabilities that convolutional teachers give digits, instead of hard labels.

Teachers label many distorted copies of every digit once, and lines are made of those. Heads with a place for each
symbol learn the soft labels at a temperature (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"); CTC
has no such place, and learns the teachers' text (as in Touvron et al. 2021, DeiT).
"""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from seqocr import environment
from seqocr.data.augment import CELL, Augmentation
from seqocr.data.sampling import hash_seed
from seqocr.data.soft_labels import SoftLabels, SoftLabelText
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError
from seqocr.files import shown
from seqocr.models.heads.base import Head
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress
from seqocr.train.average import moving_average
from seqocr.train.state import UNREADABLE, read_tensors, write_tensors

TEACHERS, EPOCHS, COPIES = 2, 15, 12
TEMPERATURE = 2.0  # of soft labels and of the logits that learn them
_STRENGTHS = (1.0, 0.5)  # of the augmentation of copies, alternating
_BATCH, _RATE, _WARMUP, _DECAY, _EMA = 256, 4e-3, 0.1, 0.05, 0.995
_SMOOTHING = 0.02
_LABEL_BATCH = 2048  # copies
_DIGITS = "digits"  # in a file's metadata: the digest of the digits that it belongs to
_REMEDY = "delete it, or give another folder"


class Teacher(nn.Sequential):
    """(N, 28, 28) float32 in [0, 1] -> (N, classes) logits of a digit: three stages of two 3x3 convolutions each."""

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


def load_teachers(
    digits: Digits, folder: Path, *, count: int = TEACHERS, epochs: int = EPOCHS, device: torch.device | str = "cpu"
) -> list[Teacher]:
    """Teachers of digits, on the CPU: those in `folder`, and where there are fewer, new ones, which are saved there.

    Raises:
        InputError: a file there cannot be read, or belongs to other digits.
    """
    return [_load_teacher(digits, folder / f"teacher-{i}.safetensors", i, epochs, device) for i in range(count)]


def load_soft_labels(
    digits: Digits,
    folder: Path,
    *,
    teachers: list[Teacher] | None = None,
    copies: int = COPIES,
    device: torch.device | str = "cpu",
) -> SoftLabels:
    """Soft labels of copies of digits: those in `folder`, or new ones by its teachers, which are saved there.

    Args:
        teachers: default: those of `folder`.
        copies: of each digit.

    Raises:
        InputError: a file there cannot be read, or belongs to other digits.
    """
    path = folder / "soft-labels.safetensors"
    if not path.exists():
        teachers = load_teachers(digits, folder, device=device) if teachers is None else teachers
        _write(path, digits, _label_copies(digits, [each.to(device) for each in teachers], copies, device))
    tensors = _read(path, digits)
    if "images" not in tensors or "logits" not in tensors or len(tensors["images"]) != copies * len(digits):
        raise InputError(f"{shown(path)} belongs to other digits: {_REMEDY}")
    images, logits = tensors["images"], tensors["logits"]
    return SoftLabels(replace(digits, images=images, labels=logits.argmax(dim=1)), logits)


def training_loss(head: Head, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """The head's loss (see `Head.loss`), against soft labels where any text has them."""
    if any(isinstance(text, SoftLabelText) for text in texts):
        return head.distillation_loss(features, texts, TEMPERATURE)
    return head.loss(features, texts)


class ShardLoss(nn.Module):
    """What a shard adds to its batch's loss, the sum of the heads'. A module, as DistributedDataParallel needs one."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, pixels: torch.Tensor, texts: list[str], shares: list[float] | None) -> torch.Tensor:
        """A scalar, of pixel_values (B, 3, H, W) against B texts; `shares` as `Trainer` has them."""
        features = self.recognizer.encoder(pixels)
        losses = [training_loss(head, features, texts) for head in self.recognizer.heads.values()]
        if shares is not None:
            losses = [loss * share for loss, share in zip(losses, shares, strict=True)]
        loss = torch.stack(losses).sum()
        if (reader := self.recognizer.marks_reader) is not None:
            marks = reader.loss_of_shown(features, texts)
            loss = loss + (marks if shares is None else marks * (sum(shares) / len(shares)))
        return loss


def _load_teacher(digits: Digits, path: Path, seed: int, epochs: int, device: torch.device | str) -> Teacher:
    torch.manual_seed(seed)
    teacher = Teacher(len(digits.symbols))
    if path.exists():
        try:
            teacher.load_state_dict(_read(path, digits))
        except RuntimeError as error:
            raise InputError(f"{shown(path)} is no teacher of these digits: {_REMEDY}") from error
        return teacher.eval()
    teacher = teacher.to(device)
    average = moving_average(teacher, _EMA)
    optimizer = torch.optim.AdamW(teacher.parameters(), weight_decay=_DECAY)
    augmentation, random = Augmentation(), torch.Generator().manual_seed(seed)
    size = min(_BATCH, len(digits))
    steps_per_epoch = len(digits) // size
    steps = epochs * steps_per_epoch
    with progress(f"teacher {seed}", steps) as reporter:
        for step in range(steps):
            if step % steps_per_epoch == 0:
                order = torch.randperm(len(digits), generator=random).split(size)
            batch = order[step % steps_per_epoch]
            rate = min(1, (step + 1) / (_WARMUP * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.param_groups[0]["lr"] = _RATE * rate
            noise = torch.rand(len(batch), augmentation.noise_size, generator=random)
            logits = _logits(teacher, augmentation(digits.images[batch].float() / 255, noise).to(device))
            loss = F.cross_entropy(logits, digits.labels[batch].to(device), label_smoothing=_SMOOTHING)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(teacher)
            reporter.advance(f"loss {loss.item():.3f}" if step % 50 == 0 else "")
    for buffer, averaged in zip(teacher.buffers(), average.module.buffers(), strict=True):
        averaged.copy_(buffer)  # of batch norm: only weights are averaged
    _write(path, digits, {name: x.cpu().contiguous() for name, x in average.module.state_dict().items()})
    return cast(Teacher, average.module).cpu().eval()


@torch.inference_mode()
def _label_copies(
    digits: Digits, teachers: list[Teacher], copies: int, device: torch.device | str
) -> dict[str, torch.Tensor]:
    """`images` (N, 28, 28) uint8, distorted; `logits` (N, classes) float16, logs of teachers' mean probabilities."""
    total = copies * len(digits)
    images = torch.empty(total, CELL, CELL, dtype=torch.uint8)
    logits = torch.empty(total, len(digits.symbols), dtype=torch.float16)
    with progress("soft labels", -(-total // _LABEL_BATCH)) as reporter:
        for start in range(0, total, _LABEL_BATCH):
            batch = torch.arange(start, min(start + _LABEL_BATCH, total))
            generator = torch.Generator().manual_seed(hash_seed(start))
            cells, copy = digits.images[batch % len(digits)].float() / 255, batch // len(digits)
            for i, strength in enumerate(_STRENGTHS):
                augmentation = Augmentation().with_strength(strength)
                some = copy % len(_STRENGTHS) == i
                noise = torch.rand(len(batch), augmentation.noise_size, generator=generator)
                cells[some] = augmentation(cells[some], noise[some])
            images[batch] = stored = cells.mul(255).round().to(torch.uint8)
            scaled = (stored.float() / 255).to(device)
            probabilities = torch.stack([_logits(teacher, scaled).softmax(dim=1) for teacher in teachers])
            logits[batch] = probabilities.mean(0).log().half().cpu()
            reporter.advance("")
    return {"images": images, "logits": logits}


def _logits(teacher: Teacher, images: torch.Tensor) -> torch.Tensor:
    """Logits (N, classes) float32; in bfloat16 where the CPU has instructions for it, which convolutions gain from."""
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cpu" and environment.multiplies_bfloat16()):
        return teacher(images).float()


def _write(path: Path, digits: Digits, tensors: dict[str, torch.Tensor]) -> None:
    write_tensors(path, tensors, {_DIGITS: _digest(digits)})


def _read(path: Path, digits: Digits) -> dict[str, torch.Tensor]:
    try:
        metadata, tensors = read_tensors(path)
    except UNREADABLE as error:
        raise InputError(f"{shown(path)} cannot be read ({error}): {_REMEDY}") from error
    if metadata.get(_DIGITS) != _digest(digits):
        raise InputError(f"{shown(path)} belongs to other digits: {_REMEDY}")
    return tensors


def _digest(digits: Digits) -> str:
    digest = hashlib.sha256(digits.images.numpy().tobytes())
    digest.update(digits.labels.numpy().tobytes())
    return digest.hexdigest()
