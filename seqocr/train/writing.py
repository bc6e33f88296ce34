"""Training on lines as people write them, from sources of glyphs whose writers are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from seqocr.checkpoints import load_recognizer, weights_path
from seqocr.data import sources
from seqocr.data.ahead import Ahead
from seqocr.data.believed import Beliefs, BelievedLines
from seqocr.data.folder import LineFolder
from seqocr.data.hand import Hand
from seqocr.data.material import Material, Part
from seqocr.data.pools import load_glyphs
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import Digits
from seqocr.data.written import Texts, WrittenLines
from seqocr.errors import InputError
from seqocr.models.heads import HEADS
from seqocr.models.recognizer import Recognizer
from seqocr.train.config import VALIDATION_SHARE, Start, TrainConfig
from seqocr.train.loop import fit
from seqocr.train.recipe import material_of, own_lines, started
from seqocr.train.state import is_finished
from seqocr.train.teaching import beliefs, learning_beliefs

_APART = 104_729  # between the seeds of parts


def written_parts(config: TrainConfig, names: Sequence[str], root: Path | None = None) -> list[Part]:
    """Lines by one writer each, from sources of glyphs (`seqocr.data.pools`). A source that is named twice counts
    twice. Held-out lines are by other writers.

    Raises:
        InputError: a source cannot be had.
    """
    parts = []
    for i, (name, weight) in enumerate(Counter(names).items()):
        learned, held_out = (
            WrittenLines(
                load_glyphs(name, split, root),
                Texts(config.length, repeats=config.repeats),
                Hand(),
                seed=config.seed + (2 * i + k + 1) * _APART,
            )
            for k, split in enumerate(("train", "validation"))
        )
        parts.append(Part(learned, held_out, weight))
    return parts


def train_on_writing(
    config: TrainConfig,
    start: Start,
    names: Sequence[str],
    out: Path,
    *,
    root: Path | None = None,
    own: Path | None = None,
    skip: bool = False,
    validation_share: float = VALIDATION_SHARE,
    teachers: Path | None = None,
    device: torch.device | str = "cpu",
    command: str | None = None,
) -> Recognizer:
    """Train on written lines, a part of each batch a source, and on digits at the configuration's levels.

    Killed or interrupted, the same call goes on where it was. Batches are drawn by a second process where nothing else
    is learned from.

    Args:
        own: lines of one's own, in place of levels, two for each written one: they alone choose the checkpoint. Written
            lines beside keep weights from learning a small folder by heart.
        teachers: folder of those whose beliefs heads learn of digits at levels, instead of labels (see
            `seqocr.train.teaching`).

    Raises:
        InputError: whatever cannot be used.
    """
    if is_finished(out):  # as `fit` says, but before teachers are trained
        raise InputError(f"{out} holds a finished recognizer: give another --out, or delete it first")
    if teachers and own:
        raise InputError("--teachers look at digits of --level: leave out --data")
    if not names:
        raise InputError("--digits '': name sources, separated by commas, such as qmnist or a folder of pen strokes")
    before = None if start.init is None else load_recognizer(weights_path(start.init))
    charset = before.charset if before else sources.DIGITS
    if charset != sources.DIGITS:
        raise InputError(f"--digits are 0 to 9, and --init reads {charset!r}: give weights that read digits")
    longest = max(config.longest if own is None else 0, before.max_length if before else 0)
    material: Material
    if own is None:
        written = written_parts(config, names, root)
        digits = [sources.load_digits(split, root=root) for split in ("train", "validation")]
        believed = beliefs(digits[0], teachers, device=device) if teachers else None
        parts = [*written, *_at_levels(config, digits[0], digits[1], believed)]
        material = Material(parts) if believed else Ahead(parts)  # so many copies are not sent to another process
    else:
        folder = LineFolder(own, charset=charset, skip=skip)
        longest = max(longest, folder.longest)
        written = written_parts(replace(config, length=(1, folder.longest)), names, root)
        learned, held_out = own_lines(folder, config, validation_share)
        parts = [Part(each.train, None, each.weight) for each in written]
        material = Material([Part(learned, held_out, 2 * len(names)), *parts])
    learning = learning_beliefs if teachers else nullcontext
    recognizer = started(start, before, list(start.heads or HEADS), charset, longest, config.seed)
    with learning(recognizer):
        return fit(recognizer, material, config, out, device, command, start_counts=before is not None)


def _at_levels(config: TrainConfig, learned: Digits, held_out: Digits, believed: Beliefs | None) -> list[Part]:
    """Digits at the configuration's levels, or copies of them, distorted already, that teachers have looked at."""
    if believed is None:
        return material_of(config, (learned, held_out)).parts
    drawn = material_of(replace(config, augment=0), (believed.copies, held_out)).parts
    streams = [(part, part.train) for part in drawn]
    return [replace(p, train=BelievedLines(believed, x)) for p, x in streams if isinstance(x, SequenceMNIST)]
