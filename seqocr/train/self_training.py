"""Self-training: adapts weights to unlabelled lines with pseudo-labels on which all heads agree.

In each round (Lee 2013, "Pseudo-Label") texts on which all heads agree with confidence become labels, and are learned
from augmented images (as in FixMatch, Sohn et al. 2020) beside synthetic lines. Heads that decode differently seldom
make the same mistake. A round that lowers exact match on held-out synthetic lines, or the heads' agreement on held-out
unlabelled ones, is undone, and is the last.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqocr.data.augment import LineAugmentation
from seqocr.data.digests import image_digest
from seqocr.data.folder import Line, LineFolder, ShuffledLines
from seqocr.data.images import open_line
from seqocr.data.mixture import DataMixture, Lines, MixtureSource
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits
from seqocr.data.synthetic.layouts import level
from seqocr.data.synthetic.lines import Glyphs, SyntheticLines, TextSampler
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.errors import InputError
from seqocr.files import shown, write_json
from seqocr.inference.image_files import image_files
from seqocr.inference.predictions import decode_with, predict_lines
from seqocr.models.checkpoint import save
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress
from seqocr.train.config import SELF_TRAINING, TrainConfig
from seqocr.train.loop import Trainer
from seqocr.train.state import is_finished

ROUNDS = 4
MIN_CONFIDENCE = 0.7  # of the least confident head in a pseudo-label
MIN_IMAGES = 64
_MIN_LABELS = 32  # pseudo-labelled lines to learn from
_HELD_OUT = 0.15  # share of the images that is never learned from
_SPLIT = "unlabelled"  # names the split of images, which depends on it
_SYNTHETIC_LINES = 600  # held out
# What a round may lose. Synthetic lines are of another kind than those adapted to: some of them may be given up.
_SYNTHETIC_LOSS = 0.06  # of exact match, since the start
_AGREEMENT_LOSS = 0.02  # since the best round
_BATCH = 64
_HISTORY = "rounds.json"


@dataclass(frozen=True)
class Round:
    """How weights read after a round; round 0 is the start.

    Attributes:
        learned: pseudo-labelled lines.
        agreement: share of held-out images on which all heads agree.
        synthetic: exact match on held-out synthetic lines, mean of the heads.
        kept: whether its weights were kept.
    """

    number: int
    learned: int
    agreement: float
    synthetic: float
    kept: bool


def self_train(
    recognizer: Recognizer,
    directory: Path,
    rehearsal: Sequence[MixtureSource],
    out: Path,
    *,
    rounds: int = ROUNDS,
    min_confidence: float = MIN_CONFIDENCE,
    config: TrainConfig | None = None,
    command: str | None = None,
) -> tuple[Recognizer, list[Round]]:
    """Adapt trained weights to the images in a folder and below, and save the best, which may be the initial ones;
    returns them, and what was measured after each round. An interrupted run goes on.

    Args:
        recognizer: with two heads or more; is not changed.
        rehearsal: labelled lines to learn beside, each part with some held out.
        min_confidence: of every head in a pseudo-label.
        config: of each round; default: `SELF_TRAINING`.

    Raises:
        InputError: there are too few images or heads, or `out` holds a finished recognizer.
    """
    if len(recognizer.heads) < 2:
        raise InputError("self-training takes two heads or more, whose agreement is the evidence")
    if is_finished(out):
        raise InputError(f"{shown(out)} holds a finished recognizer: give another --out, or delete it first")
    config = config or TrainConfig(**SELF_TRAINING)
    images = [
        Line(path.relative_to(directory).as_posix(), path, "", pixels)
        for path, pixels in readable_images(image_files([str(directory)]))
    ]
    learned, held_out = LineFolder.from_lines(directory, images, recognizer.charset).split(_HELD_OUT, _SPLIT)
    synthetic = DataMixture(list(rehearsal)).held_out(_SYNTHETIC_LINES)
    best, history = recognizer, [_evaluate(0, recognizer, held_out, synthetic, 0)]
    _report(history[-1], len(held_out))
    for number in range(1, rounds + 1):
        labelled = _pseudo_labelled(best, learned, min_confidence)
        if len(labelled) < _MIN_LABELS:
            print(f"heads agree with confidence on only {len(labelled)} lines: at least {_MIN_LABELS} are needed")
            break
        after = _train_round(number, best, labelled, rehearsal, out / f"round-{number}", config, command)
        found = _evaluate(number, after, held_out, synthetic, len(labelled))
        agreement = max(each.agreement for each in history if each.kept)
        is_worse = _fell(found.synthetic, history[0].synthetic, len(synthetic), _SYNTHETIC_LOSS) or _fell(
            found.agreement, agreement, len(held_out), _AGREEMENT_LOSS
        )
        history.append(replace(found, kept=not is_worse))
        _report(history[-1], len(held_out))
        if is_worse:
            break
        best = after
    result = copy.deepcopy(best)
    result.provenance = {**best.provenance, "self_training": [asdict(each) for each in history]}
    save(result, out)
    write_json(out / _HISTORY, [asdict(each) for each in history])
    return result, history


def readable_images(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Those that can be opened, with the digests of their pixels.

    Raises:
        InputError: they are fewer than `MIN_IMAGES`.
    """
    readable, problems = [], []
    for path in paths:
        try:
            readable.append((path, image_digest(open_line(path))))
        except InputError as error:
            problems.append(str(error))
    if len(readable) < MIN_IMAGES:
        more = f"; the first that cannot be read: {problems[0]}" if problems else ""
        raise InputError(f"{len(readable)} line images to learn from: give at least {MIN_IMAGES}{more}")
    return readable


def rehearsal_lines(recognizer: Recognizer, digits: tuple[Digits, Digits], seed: int = 0) -> list[MixtureSource]:
    """Synthetic lines, of digits to learn from and held-out ones, to learn beside unlabelled lines so that nothing is
    forgotten: two thirds in one writer's style each, a third plainer.

    Raises:
        InputError: the recognizer reads other symbols than digits.
    """
    if recognizer.charset != digits[0].symbols:
        raise InputError(
            f"--pseudo-label adds synthetic lines of {digits[0].symbols!r}, and these weights read "
            f"{recognizer.charset!r}: give weights that read digits"
        )
    length = (1, recognizer.max_length)
    styled, held_out = (
        SyntheticLines(Glyphs(each), TextSampler(length), WriterStyle(), seed=seed + i) for i, each in enumerate(digits)
    )
    plainer: dict[str, Any] = {"seed": seed + 2, "layout": level("jitter")}
    return [
        MixtureSource(styled, held_out, 2),
        MixtureSource(SequenceMNIST(digits[0], length, **plainer), SequenceMNIST(digits[1], length, **plainer)),
    ]


def pseudo_labels(recognizer: Recognizer, images: Sequence[Image.Image]) -> list[tuple[str, float] | None]:
    """The text that all heads agree on, and the least confidence, not calibrated; None where they disagree."""
    labels: list[tuple[str, float] | None] = []
    for start in range(0, len(images), _BATCH):
        with torch.inference_mode():
            outputs = list(decode_with(recognizer, images[start : start + _BATCH], list(recognizer.heads)).values())
        confidences = np.stack([each.confidences for each in outputs]).min(axis=0).tolist()
        for texts, p in zip(zip(*(each.texts for each in outputs), strict=True), confidences, strict=True):
            agree = len(set(texts)) == 1 and texts[0] and math.isfinite(p)
            labels.append((texts[0], p) if agree else None)
    return labels


def _pseudo_labelled(recognizer: Recognizer, lines: LineFolder, min_confidence: float) -> LineFolder:
    recognizer.eval()
    labelled: list[Line] = []
    with progress("label", len(lines)) as reporter:
        for start in range(0, len(lines), _BATCH):
            batch = lines.lines[start : start + _BATCH]
            labels = pseudo_labels(recognizer, [open_line(line.path) for line in batch])
            labelled += [
                replace(line, text=label[0])
                for line, label in zip(batch, labels, strict=True)
                if label and label[1] >= min_confidence and len(label[0]) <= recognizer.max_length
            ]
            reporter.advance(steps=len(batch))
    return LineFolder.from_lines(lines.directory, labelled, recognizer.charset)


def _train_round(
    number: int,
    recognizer: Recognizer,
    labelled: LineFolder,
    rehearsal: Sequence[MixtureSource],
    out: Path,
    config: TrainConfig,
    command: str | None,
) -> Recognizer:
    """Learn from pseudo-labelled lines, which make up half of each batch, and from rehearsal lines."""
    lines = ShuffledLines(labelled, LineAugmentation().with_strength(config.augment), config.seed + number)
    weight = sum(part.weight for part in rehearsal)
    batch = max(1, min(config.batch_size, 2 * len(labelled)) // (2 * weight)) * 2 * weight
    config = replace(config, validate_every=config.steps, seed=config.seed + number, batch_size=batch)
    data = DataMixture([MixtureSource(lines, None, weight), *rehearsal])
    start = copy.deepcopy(recognizer)
    return Trainer(start, data, config, out, recognizer.device, command=command, init=recognizer).fit_or_load()


def _evaluate(number: int, recognizer: Recognizer, held_out: LineFolder, synthetic: Lines, learned: int) -> Round:
    recognizer.eval()
    labels = pseudo_labels(recognizer, [open_line(line.path) for line in held_out.lines])
    predictions = predict_lines(recognizer, synthetic, quiet=True)
    exact = float((predictions["prediction"] == predictions["text"]).mean())
    return Round(number, learned, float(np.mean([label is not None for label in labels])), exact, True)


def _fell(share: float, before: float, lines: int, allowed: float) -> bool:
    """Whether a share of so many lines fell by more than is allowed, and by more than chance would explain."""
    chance = math.sqrt(2 * before * (1 - before) / lines)
    return share < before - max(allowed, chance)


def _report(found: Round, held_out: int) -> None:
    title = f"round {found.number}, {found.learned:,} pseudo-labels" if found.number else "start"
    undone = "" if found.kept else ": this does harm, and is undone"
    print(
        f"{title}: heads agree on {found.agreement:.1%} of {held_out:,} held-out lines; "
        f"exact match on synthetic lines {found.synthetic:.1%}{undone}"
    )
