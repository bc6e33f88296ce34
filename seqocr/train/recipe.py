"""Trainings, put together by whoever trains: the command line, and the bench.

    digits at levels, lines of one's own,
    lines by one writer each               -> material    \
    an encoder or trained weights, heads   -> recognizer  -> fit -> the best checkpoint
    steps, learning rate and all the rest  -> config      /
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seqocr.data.augment import Augmentation, LineAugmentation
from seqocr.data.folder import LineFolder, ShuffledLines
from seqocr.data.mixture import OWN, DataMixture, Lines, Part, Stream, mixture
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.soft_labels import SoftLabelLines, SoftLabels
from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import Digits, symbols_of
from seqocr.data.sources.glyphs import load_glyphs
from seqocr.data.synthetic.layouts import level
from seqocr.data.synthetic.lines import SyntheticLines, Texts
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.decoding.calibration import KEY, MIN_LINES
from seqocr.errors import InputError
from seqocr.inference.load import load_recognizer, save
from seqocr.inference.predictions import calibrations
from seqocr.inference.shipped import weights_path
from seqocr.models.heads.registry import HEADS
from seqocr.models.presets import PRESETS
from seqocr.models.recognizer import Recognizer
from seqocr.train.config import FINE_TUNING, VALIDATION_SHARE, Source, Start, TrainConfig
from seqocr.train.distill import beliefs, learning_beliefs
from seqocr.train.loop import fit
from seqocr.train.state import is_finished

_APART = 104_729  # between the seeds of written parts


def train(
    config: TrainConfig,
    start: Start,
    source: Source,
    out: Path,
    *,
    max_length: int | None = None,
    fit_batch: bool = False,
    device: torch.device | str = "cpu",
    command: str | None = None,
) -> Iterator[tuple[Path, Recognizer]]:
    """Train as the command line does: one run, or with protocol "separate" one a head, each in a folder of its own.

    Args:
        max_length: of strings that can be read in the end, at least; default: as many as are learned from, and as what
            training starts from can read.
        fit_batch: make the configuration's batch fit its parts, and the lines there are, where it does not.

    Yields:
        the directory and the recognizer of each run, when it ends.

    Raises:
        InputError: whatever cannot be used; most of it before digits are fetched, which can take long.
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
    if source.teachers and not levels:
        raise InputError("--teachers look at digits of --level: name one")
    alone = source.data is None  # else what is drawn is as long as lines of one's own
    charset = source.charset or (before.charset if before else "")
    if levels:
        charset = symbols_of(source.dataset, source.charset)
    if source.digits and (charset := charset or sources.DIGITS) != sources.DIGITS:
        raise InputError(f"--digits are 0 to 9, and --init reads {charset!r}: give weights that read digits")
    longest = max(max_length or 0, config.longest if alone else 0)
    if before and max_length is None:
        longest = max(longest, before.max_length)  # what can read long lines stays able to
    own = None
    if source.data is not None:
        folder = LineFolder(source.data, charset=charset or None, skip=source.skip)
        charset, longest = folder.charset, max(longest, folder.longest)
        own = own_lines(folder, config, source.validation_share)
        if max_length is None:
            config = replace(config, length=(1, folder.longest))
    names = list(start.heads or HEADS)
    runs = {out / name: [name] for name in names} if config.protocol == "separate" else {out: names}
    for directory in runs:
        if is_finished(directory):
            raise InputError(f"{directory} holds a finished recognizer: give another --out, or delete it first")
    recognizers = {
        directory: started(start, before, heads, charset, longest, config.seed) for directory, heads in runs.items()
    }
    if fit_batch:
        config = _fitting(config, len(own[0]) if own else 0, len(source.digits or ()))
    written = written_parts(config, source.digits or (), source.root)
    digits = digits_of(source.dataset, source.root, charset) if levels else None
    believed = beliefs(digits[0], source.teachers, device=device) if digits and source.teachers else None
    material = material_of(config, digits, own, written, believed)
    for directory, recognizer in recognizers.items():
        with learning_beliefs(recognizer) if believed else nullcontext():
            trained = fit(recognizer, material, config, directory, device, command, start_counts=before is not None)
        yield directory, trained if own is None else calibrated(trained, own[1], directory)


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
        config: default: `fine_tuning`; its batch is made smaller where there are fewer lines.
    """
    if is_finished(out):
        return load_recognizer(out)
    config = config or TrainConfig(**fine_tuning(recognizer.charset))
    torch.manual_seed(config.seed)
    adapted = recognizer.adapted(
        list(heads or recognizer.heads), max_length=max(recognizer.max_length, learned.longest)
    )
    own = own_lines(learned, config, validation_share)
    config = replace(_fitting(config, len(own[0])), length=(1, learned.longest))  # of lines drawn beside
    material = material_of(config, None if config.level == OWN else digits_of(), own)
    tuned = fit(adapted, material, config, out, recognizer.device, command, start_counts=True)
    return calibrated(tuned, own[1], out)


def fine_tuning(charset: str | None) -> dict[str, Any]:
    """Settings by which weights are adapted to lines of one's own, of a charset. Where those are digits, a third of
    what is learned is drawn: it keeps weights from learning a small folder by heart."""
    return FINE_TUNING if charset == sources.DIGITS else {**FINE_TUNING, "level": OWN}


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


def digits_of(dataset: str = "mnist", root: Path | None = None, charset: str = sources.DIGITS) -> tuple[Digits, Digits]:
    """Those to learn from, and those to choose the best checkpoint by.

    Raises:
        InputError: they cannot be had.
    """
    learned, held_out = (sources.load_digits(split, dataset, root) for split in ("train", "validation"))
    return replace(learned, symbols=charset), replace(held_out, symbols=charset)


def material_of(
    config: TrainConfig,
    digits: tuple[Digits, Digits] | None = None,
    own: tuple[Stream, Lines] | None = None,
    written: Sequence[Part] = (),
    believed: SoftLabels | None = None,
) -> DataMixture:
    """What the configuration's levels name, and written lines beside.

    Args:
        believed: learned from in place of the first of `digits`.
    """
    # Copies that teachers have looked at are distorted already.
    augmentation = Augmentation().scaled(0 if believed else config.augment)
    if believed and digits:
        digits = believed.copies, digits[1]
    levels = mixture(config.level, config.length, config.seed, augmentation, digits, own, config.repeats)
    parts = levels.parts
    if believed:
        parts = [
            replace(part, train=SoftLabelLines(believed, part.train)) if isinstance(part.train, SequenceMNIST) else part
            for part in parts
        ]
    return DataMixture([*parts, *written])


def written_parts(config: TrainConfig, names: Sequence[str], root: Path | None = None) -> list[Part]:
    """Lines by one writer each, from sources of glyphs (`seqocr.data.sources.glyphs`).

    A source that is named twice counts twice. Held-out lines are by other writers.

    Raises:
        InputError: a source cannot be had.
    """
    parts = []
    for i, (name, weight) in enumerate(Counter(names).items()):
        learned, held_out = (
            SyntheticLines(
                load_glyphs(name, split, root),
                Texts(config.length, repeats=config.repeats),
                WriterStyle(),
                seed=config.seed + (2 * i + k + 1) * _APART,
            )
            for k, split in enumerate(("train", "validation"))
        )
        parts.append(Part(learned, None if OWN in config.level.split(",") else held_out, weight))
    return parts


def calibrated(recognizer: Recognizer, lines: Lines, out: Path) -> Recognizer:
    """Weights in `out` with honest confidences (`seqocr.decoding.calibration`), by lines that were not learned from.

    Unchanged where those are too few to say.
    """
    if len(lines) >= MIN_LINES:
        found = {head: each.as_json() for head, each in calibrations(recognizer, [lines]).items()}
        recognizer.provenance = {**recognizer.provenance, KEY: found}
        save(recognizer, out)
    return recognizer


def _fitting(config: TrainConfig, own: int, sources: int = 0) -> TrainConfig:
    """With a batch that can be mixed: a multiple of its parts, and no more lines of one's own than there are."""
    levels = config.level.split(",")
    parts, of_own = len(levels) + sources, levels.count(OWN)
    most = min(config.batch_size, own * parts // of_own) if of_own else config.batch_size
    return replace(config, batch_size=max(1, most // parts) * parts)
