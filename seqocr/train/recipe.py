"""Trainings, put together by whoever trains: the command line, and the bench.

    digits at levels, lines of one's own   -> material    \
    an encoder or trained weights, heads   -> recognizer  -> fit -> the best checkpoint
    steps, learning rate and all the rest  -> config      /
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from seqocr.checkpoints import load_recognizer, weights_path
from seqocr.data import sources
from seqocr.data.augment import Augmentation, LineAugmentation
from seqocr.data.folder import LineFolder, ShuffledLines
from seqocr.data.levels import level
from seqocr.data.material import OWN, Lines, Material, Stream, mixture
from seqocr.data.sources import Digits, symbols_of
from seqocr.errors import InputError
from seqocr.models.heads import HEADS
from seqocr.models.presets import PRESETS
from seqocr.models.recognizer import Recognizer
from seqocr.train.config import FINE_TUNING, VALIDATION_SHARE, Source, Start, TrainConfig
from seqocr.train.loop import fit
from seqocr.train.state import is_finished


def train(
    config: TrainConfig,
    start: Start,
    source: Source,
    out: Path,
    *,
    max_length: int | None = None,
    device: torch.device | str = "cpu",
    command: str | None = None,
) -> Iterator[tuple[Path, Recognizer]]:
    """Train as the command line does: one run, or with protocol "separate" one a head, each in a folder of its own.

    Args:
        max_length: of strings that can be read in the end, at least; default: as many as are learned from, and as what
            training starts from can read.

    Yields:
        the directory and the recognizer of each run, when it ends.

    Raises:
        InputError: whatever cannot be used; before digits are fetched, which can take long.
    """
    if config.protocol == "frozen" and start.init is None and start.encoder in PRESETS:
        raise InputError(
            f"--protocol frozen on preset {start.encoder!r} would freeze random weights: give --init or a checkpoint"
        )
    before = None if start.init is None else load_recognizer(weights_path(start.init))
    if OWN in config.level.split(",") and source.data is None:
        raise InputError(f"level {OWN!r} is lines of your own: give a folder of them with --data")
    levels = [name for name in config.level.split(",") if name != OWN]
    for name in levels:
        level(name)
    charset = source.charset or (before.charset if before else "")
    if levels:
        charset = symbols_of(source.dataset, source.charset)
    longest = max(max_length or 0, config.longest if levels else 0)
    if before and max_length is None:
        longest = max(longest, before.max_length)  # what can read long lines stays able to
    own = None
    if source.data is not None:
        folder = LineFolder(source.data, charset=charset or None, skip=source.skip)
        charset, longest = folder.charset, max(longest, folder.longest)
        own = own_lines(folder, config, source.validation_share)
    names = list(start.heads or HEADS)
    runs = {out / name: [name] for name in names} if config.protocol == "separate" else {out: names}
    recognizers = {
        directory: started(start, before, heads, charset, longest, config.seed) for directory, heads in runs.items()
    }
    digits = None
    if levels:
        learned, held_out = (
            sources.load_digits(split, source.dataset, source.root) for split in ("train", "validation")
        )
        digits = replace(learned, symbols=charset), replace(held_out, symbols=charset)
    material = material_of(config, digits, own)
    for directory, recognizer in recognizers.items():
        yield directory, fit(recognizer, material, config, directory, device, command, start_counts=before is not None)


def fine_tune(
    recognizer: Recognizer,
    learned: LineFolder,
    out: Path,
    *,
    heads: tuple[str, ...] | None = None,
    config: TrainConfig | None = None,
    validation_share: float = VALIDATION_SHARE,
    command: str | None = None,
) -> Recognizer:
    """Adapt trained weights to lines of one's own, on the device they are on, as `train` does with --init and --data.

    Goes on where it was cut short; where it was finished before, only loads what came of it.

    Args:
        recognizer: stays as it is.
        learned: lines of its charset.
        heads: to adapt; default: all it has.
        config: default: `FINE_TUNING`.
    """
    if is_finished(out):
        return load_recognizer(out)
    config = config or TrainConfig(**FINE_TUNING)
    torch.manual_seed(config.seed)
    adapted = recognizer.adapted(
        list(heads or recognizer.heads), max_length=max(recognizer.max_length, learned.longest)
    )
    material = material_of(config, own=own_lines(learned, config, validation_share))
    return fit(adapted, material, config, out, recognizer.device, command, start_counts=True)


def train_on_digits(
    recognizer: Recognizer, digits: tuple[Digits, Digits], config: TrainConfig, out: Path, command: str | None = None
) -> Recognizer:
    """Train a recognizer as it is on strings of digits, on the device it is on.

    Goes on where it was cut short; where it was finished before, only loads what came of it.

    Args:
        digits: to learn from, and to choose the best checkpoint by.
    """
    if is_finished(out):
        return load_recognizer(out)
    return fit(recognizer, material_of(config, digits), config, out, recognizer.device, command)


def started(
    start: Start, before: Recognizer | None, heads: list[str], charset: str, max_length: int, seed: int
) -> Recognizer:
    """The recognizer that training starts from: `before` fitted to the task, or a new one.

    Args:
        before: what `start.init` names.
        seed: of the initial weights.
    """
    torch.manual_seed(seed)
    if before is None:
        return Recognizer.build(
            start.encoder, heads, image_size=start.image_size, charset=charset, max_length=max_length
        )
    return before.adapted(
        heads,
        image_size=start.image_size,
        patch=start.patch,
        layers=start.layers,
        charset=charset,
        max_length=max_length,
        settings={} if start.ctc_frames is None else {"ctc": {"frames_a_column": start.ctc_frames}},
    )


def own_lines(folder: LineFolder, config: TrainConfig, validation_share: float) -> tuple[Stream, Lines]:
    """Lines of one's own: to learn from, and to choose the best checkpoint by."""
    learned, held_out = folder.split(validation_share, "validation")
    return ShuffledLines(learned, LineAugmentation().scaled(config.augment), config.seed), held_out


def material_of(
    config: TrainConfig, digits: tuple[Digits, Digits] | None = None, own: tuple[Stream, Lines] | None = None
) -> Material:
    """What the configuration's levels name."""
    augmentation = Augmentation().scaled(config.augment)
    return mixture(config.level, config.length, config.seed, augmentation, digits, own, config.repeats)
