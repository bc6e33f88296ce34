"""Adapting to lines that nobody has labelled: the heads label what they agree on, and learn from it.

Self-training in rounds (Lee 2013, "Pseudo-Label"): each round reads all lines with the weights of the round before,
takes the texts that all heads read alike and with confidence, and learns from those lines, changed as FixMatch changes
them (Sohn et al. 2020), mixed with drawn lines whose texts are known. Heads that differ in how they read are the
evidence: they seldom make the same mistake.

It can do harm: weights may learn their own mistakes, and forget what they knew. Two things are watched after every
round, on lines that were not learned from: exact match of drawn lines, and how often the heads agree on unlabelled
ones. A round that lowers one of them is undone, and ends it.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqocr import metrics
from seqocr.data.augment import LineAugmentation
from seqocr.data.folder import Line, LineFolder, ShuffledLines
from seqocr.data.images import open_line
from seqocr.data.mixture import DataMixture, Lines, Part
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits
from seqocr.data.synthetic.layouts import level
from seqocr.data.synthetic.lines import Glyphs, SyntheticLines, Texts
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.errors import InputError
from seqocr.files import read_json, shown, write_json
from seqocr.inference.image_files import image_files
from seqocr.inference.load import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress
from seqocr.train.config import FINE_TUNING, TrainConfig
from seqocr.train.loop import fit
from seqocr.train.state import is_finished

ROUNDS = 4
STEPS = 250  # of a round
SURE = 0.7  # how sure the least sure head is of a text that is learned
WATCHED = 0.15  # share of the lines that are never learned from
_FEWEST = 32  # lines learned from
FEWEST = 2 * _FEWEST  # images to begin with
# What a round may lose: drawn lines are of another kind than those adapted to, so some of them may be given up.
_DRAWN_ALLOWED = 0.06  # of exact match, since the start
_LOSS_ALLOWED = 0.02  # of agreement, since the best round
_BATCH = 64
_HISTORY = "rounds.json"


@dataclass(frozen=True)
class Round:
    """How weights read after a round; round 0 is the start.

    Attributes:
        learned: lines whose texts were learned.
        agreement: share of watched lines on which all heads read the same.
        drawn: exact match of drawn lines, mean of the heads.
        kept: whether it is better than what was there before.
    """

    number: int
    learned: int
    agreement: float
    drawn: float
    kept: bool


def usable(paths: Sequence[Path]) -> list[Path]:
    """Those that can be opened.

    Raises:
        InputError: they are too few.
    """
    found, problems = [], []
    for path in paths:
        try:
            open_line(path)
            found.append(path)
        except InputError as error:
            problems.append(str(error))
    if len(found) < FEWEST:
        more = f"; the first that cannot be read: {problems[0]}" if problems else ""
        raise InputError(f"{len(found)} line images to learn from: give at least {FEWEST}{more}")
    return found


def self_train(
    recognizer: Recognizer,
    directory: Path,
    drawn: Sequence[Part],
    out: Path,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    sure: float = SURE,
    config: TrainConfig | None = None,
    command: str | None = None,
) -> tuple[Recognizer, list[Round]]:
    """Adapt trained weights to the images of a folder and below.

    Goes on where it was cut short. What is kept, which may be the start, is written to `out`.

    Args:
        recognizer: stays as it is; of two heads or more.
        drawn: lines with texts, to learn from beside, each with some held out.
        sure: least confidence of each head in a text that is learned.
        config: of each round; default: as trained weights are adapted to labelled lines.

    Raises:
        InputError: there are too few lines, or heads.
    """
    if len(recognizer.heads) < 2:
        raise InputError("learning without labels takes two heads or more, whose agreement is the evidence")
    if is_finished(out):
        raise InputError(f"{shown(out)} holds a finished recognizer: give another --out, or delete it first")
    base = config or TrainConfig(**{**FINE_TUNING, "level": "data"})
    learned, watched = _apart(usable(image_files([str(directory)])))
    texts_of = DataMixture(list(drawn))
    held_out = texts_of.held_out(600)
    best, history = recognizer, [_measured(0, recognizer, watched, held_out, 0, True)]
    _say(history[-1], len(watched))
    for number in range(1, rounds + 1):
        labelled = _labelled(best, learned, sure)
        if len(labelled) < _FEWEST:
            print(f"only {len(labelled)} lines are read alike and with confidence: {_FEWEST} are needed to learn from")
            break
        folder = _folder(directory, labelled, recognizer.charset)
        settings = dataclasses.replace(base, steps=steps, validate_every=steps, seed=base.seed + number)
        lines = ShuffledLines(folder, LineAugmentation().scaled(settings.augment), settings.seed)
        # Half of a batch is unlabelled lines.
        known = sum(part.weight for part in drawn)
        material = DataMixture([Part(lines, None, known), *drawn])
        where = out / f"round-{number}"
        if is_finished(where):
            after = load_recognizer(where).to(recognizer.device)
        else:
            start = copy.deepcopy(best)
            batch = _multiple(settings.batch_size, 2 * known, len(labelled) * 2)
            after = fit(
                start,
                material,
                dataclasses.replace(settings, batch_size=batch),
                where,
                recognizer.device,
                command,
            )
        found = _measured(number, after, watched, held_out, len(labelled), False)
        agreement = max(each.agreement for each in history if each.kept)
        kept = not _worse(found.drawn, history[0].drawn, len(held_out), _DRAWN_ALLOWED) and not _worse(
            found.agreement, agreement, len(watched), _LOSS_ALLOWED
        )
        history.append(dataclasses.replace(found, kept=kept))
        _say(history[-1], len(watched))
        if not kept:
            break
        best = after
    result = copy.deepcopy(best)
    result.provenance = {**best.provenance, "unlabelled": [dataclasses.asdict(each) for each in history]}
    save(result, out)
    write_json(out / _HISTORY, [dataclasses.asdict(each) for each in history])
    return result, history


def drawn_lines(recognizer: Recognizer, digits: tuple[Digits, Digits], seed: int = 0) -> list[Part]:
    """What is learned beside unlabelled lines, so that what was known is not forgotten: two thirds as people write
    amounts, a third plainer.

    Args:
        digits: to draw with, and to draw held-out lines with.

    Raises:
        InputError: the recognizer reads other symbols than digits.
    """
    if recognizer.charset != digits[0].symbols:
        raise InputError(
            f"--unlabelled draws lines of {digits[0].symbols!r} beside, and these weights read {recognizer.charset!r}: "
            "give weights that read digits"
        )
    length = (1, recognizer.max_length)
    written, held_out = (
        SyntheticLines(Glyphs.of(each), Texts(length), WriterStyle(), seed=seed + i) for i, each in enumerate(digits)
    )
    plainer: dict[str, Any] = {"seed": seed + 2, "layout": level("jitter")}
    return [
        Part(written, held_out, 2),
        Part(SequenceMNIST(digits[0], length, **plainer), SequenceMNIST(digits[1], length, **plainer)),
    ]


def rounds_of(out: Path) -> list[Round]:
    """What is known of a finished run."""
    return [Round(**row) for row in read_json(out / _HISTORY)]


def agreed(recognizer: Recognizer, images: Sequence[Image.Image]) -> list[tuple[str, float] | None]:
    """The text that all heads read of each line, and the confidence of the least sure; None where they differ.

    Confidences are as before calibration: weights of later rounds have none.
    """
    found: list[tuple[str, float] | None] = []
    for at in range(0, len(images), _BATCH):
        with torch.inference_mode():
            features = recognizer.encode(images[at : at + _BATCH])
            read = [head.decode(features) for head in recognizer.heads.values()]
        sure = torch.stack([each.confidences.cpu().float() for each in read]).amin(0).tolist()
        for texts, p in zip(zip(*(each.texts for each in read), strict=True), sure, strict=True):
            alike = len(set(texts)) == 1 and texts[0] and math.isfinite(p)
            found.append((texts[0], p) if alike else None)
    return found


def _labelled(recognizer: Recognizer, paths: Sequence[Path], sure: float) -> list[Line]:
    lines: list[Line] = []
    recognizer.eval()
    with progress("label", len(paths)) as reporter:
        for at in range(0, len(paths), _BATCH):
            some = paths[at : at + _BATCH]
            read = agreed(recognizer, [open_line(path) for path in some])
            lines += [
                Line(path.name, path, each[0])
                for path, each in zip(some, read, strict=True)
                if each and each[1] >= sure and len(each[0]) <= recognizer.max_length
            ]
            reporter.advance(steps=len(some))
    return lines


def _measured(
    number: int, recognizer: Recognizer, watched: Sequence[Path], held_out: Lines, learned: int, kept: bool
) -> Round:
    recognizer.eval()
    read = agreed(recognizer, [open_line(path) for path in watched])
    predictions = metrics.predict(recognizer, held_out, quiet=True)
    drawn = float((predictions["prediction"] == predictions["text"]).mean())
    return Round(number, learned, float(np.mean([each is not None for each in read])), drawn, kept)


def _worse(share: float, before: float, lines: int, allowed: float) -> bool:
    """Whether a share of so many lines fell by more than is allowed, and than chance makes of the same share."""
    chance = math.sqrt(2 * before * (1 - before) / lines)
    return share < before - max(allowed, chance)


def _say(found: Round, watched: int) -> None:
    what = f"round {found.number}, {found.learned:,} lines learned" if found.number else "start"
    undone = "" if found.kept else ": this does harm, and is undone"
    print(
        f"{what}: the heads agree on {found.agreement:.1%} of {watched:,} lines that are not learned from; "
        f"drawn lines {found.drawn:.1%}{undone}"
    )


def _apart(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Lines to learn from, and those that are only watched, by their names alone."""
    parts: tuple[list[Path], list[Path]] = [], []
    for path in paths:
        digest = hashlib.sha256(f"unlabelled/{path.name}".encode(errors="surrogateescape")).digest()
        parts[int.from_bytes(digest[:8]) < WATCHED * 2**64].append(path)
    return parts


def _folder(directory: Path, lines: list[Line], charset: str) -> LineFolder:
    """Lines that are labelled here and not in a file."""
    folder = LineFolder.__new__(LineFolder)
    folder.directory, folder.lines, folder.charset = directory, lines, charset
    return folder


def _multiple(size: int, of: int, most: int) -> int:
    """A batch size near `size` that can be mixed, and is not larger than what there is to learn from."""
    return max(of, min(size, most) // of * of)
