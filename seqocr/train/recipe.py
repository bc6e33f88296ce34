"""Training runs as the command line and the bench put them together.

    digits at levels, your data,
    synthetic lines in one writer's style  -> mixture     \
    an encoder or trained weights, heads   -> recognizer  -> Trainer -> the best checkpoint
    steps, learning rate and the rest      -> config      /
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from seqocr.data.augment import Augmentation, LineAugmentation
from seqocr.data.folder import LineFolder, ShuffledLines
from seqocr.data.mixture import CUSTOM_DATA, DataMixture, KnownLines, Lines, MixtureSource, TrainingLines, mix_levels
from seqocr.data.repeated import RepeatedLines
from seqocr.data.shown import MARKS, OTHER
from seqocr.data.soft_labels import SoftLabels
from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import Digits, symbols_of
from seqocr.data.sources.fonts import load_fonts
from seqocr.data.sources.glyphs import load_glyphs
from seqocr.data.synthetic.layouts import level
from seqocr.data.synthetic.lines import SyntheticLines, TextSampler
from seqocr.data.synthetic.rendered import PhotographedLines, RenderedLines
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.decoding.calibration import KEY, MIN_LINES
from seqocr.errors import InputError
from seqocr.files import shown
from seqocr.inference.predictions import fit_calibrations
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.heads.registry import available_heads, head_class
from seqocr.models.presets import PRESETS
from seqocr.models.recognizer import Recognizer
from seqocr.train import distributed
from seqocr.train.config import FINE_TUNING, VALIDATION_SHARE, DistributedConfig, Source, Start, TrainConfig
from seqocr.train.distill import load_soft_labels
from seqocr.train.features import take_over
from seqocr.train.loop import Trainer
from seqocr.train.state import is_finished

FONTS = "fonts:"  # before a folder of fonts, among sources of glyphs
log = logging.getLogger(__name__)

_HEADROOM = (-0.04, 0.9)  # of synthetic lines in one writer's style: more than at level wild
_PART_SEED = 104_729  # between the seeds of sources of synthetic lines


def train(
    config: TrainConfig,
    start: Start,
    source: Source,
    out: Path,
    *,
    sharding: DistributedConfig = DistributedConfig(),
    max_length: int | None = None,
    fit_batch: bool = False,
    device: torch.device | str = "cpu",
    command: str | None = None,
) -> Iterator[tuple[Path, Recognizer]]:
    """Train as the command line does: one run, or with protocol "separate" one per head, each in a folder of its own.

    Args:
        max_length: of strings that can be read, at least; default: the longest in the training data, or what the
            initial weights can read.
        fit_batch: reduce the batch as `reduce_batch` does, and say so.

    Yields:
        the directory and the recognizer of each run, when it ends.

    Raises:
        InputError: something given cannot be used; most of it before digits are downloaded, which can take long.
    """
    if config.protocol == "frozen" and start.init is None and start.encoder in PRESETS:
        raise InputError(
            f"--protocol frozen on preset {start.encoder!r} would freeze random weights: give --init or a checkpoint"
        )
    before = None if start.init is None else load_recognizer(weights_path(start.init))
    teacher = None if start.layers_of is None else load_recognizer(weights_path(start.layers_of))
    if config.protocol == "features" and teacher is None:
        raise InputError("--protocol features learns those of trained weights: name them with --layers-of")
    if CUSTOM_DATA in config.level.split(",") and source.data is None:
        raise InputError(f"level {CUSTOM_DATA!r} is your data: give a folder with --data")
    levels = [name for name in config.level.split(",") if name != CUSTOM_DATA]
    for name in levels:
        level(name)
    if source.teachers and not levels:
        raise InputError("--teachers label digits of --level: name one")
    charset = source.charset or (before.charset if before else "")
    if levels:
        charset = symbols_of(source.dataset, source.charset)
    if source.glyphs and (charset := charset or sources.DIGITS) != sources.DIGITS:
        raise InputError(f"--glyphs are 0 to 9, and --init reads {charset!r}: give weights that read digits")
    # With --data, synthetic strings are as long as those of the folder.
    longest = max(max_length or 0, config.longest if source.data is None else 0)
    if before and max_length is None:
        longest = max(longest, before.max_length)
    longest = max(longest, start.max_length or 0)
    own = None
    if source.data is not None:
        folder = LineFolder(source.data, charset=charset or None, skip=source.skip)
        charset, longest = folder.charset, max(longest, folder.longest)
        own = split_folder(folder, config, source.validation_share)
        if max_length is None:
            config = replace(config, length=(1, folder.longest))
    names = list(start.heads or (before.heads if before else available_heads()))
    runs = {out / name: [name] for name in names} if config.protocol == "separate" else {out: names}
    for directory in runs:
        if is_finished(directory):
            raise InputError(f"{directory} holds a finished recognizer: give another --out, or delete it first")
    of_run = (initial_recognizer(start, before, heads, charset, longest, config.seed) for heads in runs.values())
    recognizers = dict(zip(runs, of_run, strict=True))
    if teacher is not None:
        for recognizer in recognizers.values():
            take_over(recognizer, teacher)
    if fit_batch:
        shards = sharding.shards or distributed.world_size()
        asked, config = config, reduce_batch(config, len(own[0]) if own else 0, len(source.glyphs or ()), shards)
        if config.batch_size != asked.batch_size and distributed.is_main():
            log.info(
                "batches of %s lines, not %s: they are divided evenly among levels, --glyphs and shards, and have no "
                "line of --data twice",
                *(config.batch_size, asked.batch_size),
            )
    with distributed.first(distributed.is_local_main()):  # it may have to download
        synthetic = synthetic_sources(config, source.glyphs or (), source.root)
        digits = load_splits(source.dataset, source.root, charset) if levels else None
    soft_labels = None
    if digits and source.teachers:
        with distributed.first(distributed.is_main()):  # it may have to train teachers
            soft_labels = load_soft_labels(digits[0], source.teachers, device=device)
    data = build_mixture(config, digits, own, synthetic, soft_labels)
    more: dict[str, Any] = {"command": command, "start_counts": before is not None, "sharding": sharding}
    for directory, recognizer in recognizers.items():
        # Of a checkpoint in place of a preset, the encoder is what was trained before.
        init = before or teacher or (None if start.encoder in PRESETS else recognizer.encoder)
        if config.protocol == "features":
            more["teacher"] = teacher
        trainer = Trainer(recognizer, data, config, directory, device, init=init, **more)
        yield directory, trainer.fit(partial(calibrate, lines=own[1], out=directory)) if own else trainer.fit()


def fine_tune(
    recognizer: Recognizer,
    folder: LineFolder,
    out: Path,
    *,
    heads: tuple[str, ...] | None = None,
    config: TrainConfig | None = None,
    validation_share: float = VALIDATION_SHARE,
    command: str | None = None,
) -> Recognizer:
    """Adapt trained weights to a data folder, on the device they are on, as `train` does with --init and --data.

    An interrupted run goes on; a finished one is only loaded.

    Args:
        recognizer: is not changed; folder: lines of its charset.
        heads: to adapt; default: all.
        config: default: `fine_tuning`; its batch is reduced where there are fewer lines.

    Raises:
        InputError: as `Trainer.fit_or_load`.
    """
    config = config or TrainConfig(**fine_tuning(recognizer.charset))
    torch.manual_seed(config.seed)
    adapted = recognizer.adapted(list(heads or recognizer.heads), max_length=max(recognizer.max_length, folder.longest))
    own = split_folder(folder, config, validation_share)
    config = replace(reduce_batch(config, len(own[0])), length=(1, folder.longest))  # of synthetic lines
    data = build_mixture(config, None if config.level == CUSTOM_DATA else load_splits(), own)
    more: dict[str, Any] = {"command": command, "init": recognizer, "start_counts": True}
    trainer = Trainer(adapted, data, config, out, recognizer.device, **more)
    return trainer.fit_or_load(partial(calibrate, lines=own[1], out=out))


def fine_tuning(charset: str | None) -> dict[str, Any]:
    """Settings that adapt weights to your data: of digits, a third is synthetic, so that few are not memorised."""
    return FINE_TUNING if charset == sources.DIGITS else {**FINE_TUNING, "level": CUSTOM_DATA}


def train_on_digits(
    recognizer: Recognizer, digits: tuple[Digits, Digits], config: TrainConfig, out: Path, command: str | None = None
) -> Recognizer:
    """Train a recognizer on strings of digits, to learn from and to choose the best checkpoint by, on the device it is
    on. An interrupted run goes on; a finished one is only loaded."""
    trainer = Trainer(recognizer, build_mixture(config, digits), config, out, recognizer.device, command=command)
    return trainer.fit_or_load()


def initial_recognizer(
    start: Start, before: Recognizer | None, heads: list[str], charset: str, max_length: int, seed: int
) -> Recognizer:
    """What training starts from: `before`, which `start.init` names, fitted to the task, or a new recognizer."""
    torch.manual_seed(seed)
    task: dict[str, Any] = {"image_size": start.image_size, "charset": charset, "max_length": max_length}
    if start.marks:
        task["marks"] = MARKS + OTHER
    if before is None:
        return Recognizer.build(start.encoder, heads, **task)
    frames = start.ctc_frames
    # Weights of an earlier version of a preset get what heads have in it now.
    preset = PRESETS.get(str(before.provenance.get("encoder")))
    settings = {name: dict(preset.heads.get(name, {})) if preset else {} for name in heads}
    if frames is not None:
        settings = {name: own | head_class(name).settings_for_frames(frames) for name, own in settings.items()}
    return before.adapted(heads, patch=start.patch, layers=start.layers, settings=settings, **task)


def split_folder(folder: LineFolder, config: TrainConfig, validation_share: float) -> tuple[TrainingLines, KnownLines]:
    """Lines of a folder to learn from, augmented, and held-out ones to choose the best checkpoint by."""
    learned, held_out = folder.split(validation_share, "validation")
    return ShuffledLines(learned, LineAugmentation().with_strength(config.augment), config.seed), held_out


def load_splits(
    dataset: str = "mnist", root: Path | None = None, charset: str = sources.DIGITS
) -> tuple[Digits, Digits]:
    """Digits to learn from, and held-out ones to choose the best checkpoint by, with the errors of `load_digits`."""
    learned, held_out = (sources.load_digits(split, dataset, root) for split in ("train", "validation"))
    return replace(learned, symbols=charset), replace(held_out, symbols=charset)


def build_mixture(
    config: TrainConfig,
    digits: tuple[Digits, Digits] | None = None,
    own: tuple[TrainingLines, KnownLines] | None = None,
    synthetic: Sequence[MixtureSource] = (),
    soft_labels: SoftLabels | None = None,
) -> DataMixture:
    """The data of the configuration's levels, and parts of synthetic lines beside.

    Args:
        soft_labels: to learn from in place of the first of `digits`.
    """
    if soft_labels and digits:
        digits = soft_labels.copies, digits[1]
    augmentation = Augmentation().with_strength(0 if soft_labels else config.augment)  # copies are distorted already
    task = config.level, config.length, config.seed
    return DataMixture([*mix_levels(*task, augmentation, digits, own, config.repeats, soft_labels), *synthetic])


def synthetic_sources(config: TrainConfig, names: Sequence[str], root: Path | None = None) -> list[MixtureSource]:
    """Lines in one writer's style each, held-out ones by other writers. A source that is named twice counts twice.

    Raises:
        InputError: a source cannot be had (`seqocr.data.sources.glyphs`).
    """
    texts, parts = TextSampler(config.length, repeats=config.repeats), []
    splits = "train", "validation"
    by_hand = [name for name in dict.fromkeys(names) if not name.startswith(FONTS)]
    glyphs = {name: [load_glyphs(name, split, root) for split in splits] for name in by_hand}
    # Some of the hands in rendered registers write recorded digits, where there are any.
    recorded = (of_splits for of_splits in glyphs.values() if of_splits[0].strokes)
    strokes = [of_split.strokes for of_split in next(recorded, ())] or [None, None]
    for i, (name, weight) in enumerate(Counter(names).items()):
        seeds = [config.seed + (2 * i + k) * _PART_SEED for k in (1, 2)]
        learned: TrainingLines
        held_out: KnownLines
        if name.startswith(FONTS):
            fonts = load_fonts(Path(name.removeprefix(FONTS)))
            learned, held_out = (
                RenderedLines(fonts, strokes=own, seed=s) for own, s in zip(strokes, seeds, strict=True)
            )
        else:
            learned, held_out = (
                PhotographedLines(
                    SyntheticLines(g, texts, WriterStyle(headroom=_HEADROOM), seed=s), config.photographs, s
                )
                for g, s in zip(glyphs[name], seeds, strict=True)
            )
        if config.epochs_of_lines > 1:
            learned = RepeatedLines(learned, config.epochs_of_lines)
        parts.append(MixtureSource(learned, None if CUSTOM_DATA in config.level.split(",") else held_out, weight))
    return parts


def held_out_lines(
    names: Sequence[str], count: int, length: int | tuple[int, int], photographs: float, root: Path | None = None
) -> Lines:
    """About `count` held-out lines of sources, with the errors of `synthetic_sources`."""
    config = TrainConfig(length=length, photographs=photographs, level="")
    return DataMixture(synthetic_sources(config, names, root)).held_out(count)


def calibrate(recognizer: Recognizer, lines: Lines, out: Path) -> Recognizer:
    """Calibrate confidences on held-out lines and save the recognizer, if they are not too few."""
    if len(lines) < MIN_LINES:
        if distributed.is_main():
            log.warning(
                "confidences are not calibrated: %s held-out lines, at least %s are needed. To calibrate: "
                "seqocr calibrate --weights %s --data a folder of other labelled lines",
                *(len(lines), MIN_LINES, shown(out)),
            )
    else:
        fitted = fit_calibrations(recognizer, [lines])
        found = {head: each.as_json() | {"source": "held-out lines"} for head, each in fitted.items()}
        recognizer.provenance = {**recognizer.provenance, KEY: found}
        if distributed.is_main():
            save(recognizer, out)
    return recognizer


def reduce_batch(config: TrainConfig, own: int, sources: int = 0, shards: int = 1) -> TrainConfig:
    """The configuration with a batch of at most its size that can be mixed and cut.

    Args:
        own: lines of your data, of which a batch has none twice.
        sources: parts of the mixture beside the levels; shards: that divide each part.
    """
    levels = config.level.split(",")
    parts, of_own = len(levels) + sources, levels.count(CUSTOM_DATA)
    most = min(config.batch_size, own * parts // of_own) if of_own else config.batch_size
    return replace(config, batch_size=max(1, most // (parts * shards)) * parts * shards)
