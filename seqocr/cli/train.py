"""seqocr train"""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from seqocr.cli.options import Device, Out, choose_device, options_of, output_folder
from seqocr.errors import InputError
from seqocr.files import shown, writable
from seqocr.train.config import FINE_TUNING, Source, Start, TrainConfig

STEPS = 250  # of a round without labels
# Own lines with drawn ones beside take more steps than alone, and are not learned by heart as soon.
_MIXED = {**FINE_TUNING, "steps": 1200, "patience": 0}

if TYPE_CHECKING:
    from seqocr.models.recognizer import Recognizer


@options_of(start=Start, source=Source, config=TrainConfig)
def train(
    out: Out,
    start: dict[str, Any],
    source: dict[str, Any],
    config: dict[str, Any],
    device: Device = "auto",
    unlabelled: Annotated[
        Path | None, typer.Option(help="Lines that nobody has labelled: a folder of images, to adapt --init to.")
    ] = None,
    digits: Annotated[
        str | None,
        typer.Option(
            help="Also lines by one writer each, with glyphs of these sources, separated by commas; one that is named "
            "twice counts twice: qmnist, mnist, or folders of pen strokes or images."
        ),
    ] = None,
    teachers: Annotated[
        Path | None,
        typer.Option(
            help="With --digits: folder of convolutional teachers, made where there are none. Of digits at levels, "
            "heads learn what those believe of distorted copies (--augment is not used then)."
        ),
    ] = None,
) -> None:
    """Train heads on an encoder. Killed or interrupted, the same command goes on where it was.

    With --data and --init, trained weights are adapted to your own lines in minutes. With --unlabelled in place of
    --data, to lines without texts: what all heads read alike and with confidence is learned from. If that does harm,
    --init is kept.
    """
    if unlabelled is not None:
        _without_labels(unlabelled, output_folder(out), start, source, config, device)
        return
    if digits is not None:
        _on_writing(digits.split(",") if digits else [], output_folder(out), start, source, config, device, teachers)
        return
    if teachers is not None:
        raise InputError("--teachers goes with --digits: give both")
    settings = TrainConfig(**(FINE_TUNING if "data" in source else {}) | config)
    begin, learned_from, directory = Start(**start), Source(**source), output_folder(out)
    writable(directory)

    from seqocr.train import recipe  # after the settings, because it takes seconds to load

    trainings = recipe.train(
        settings,
        begin,
        learned_from,
        directory,
        max_length=settings.longest if "length" in config else None,
        device=choose_device(device),
        command=shlex.join(["seqocr", *sys.argv[1:]]),
    )
    for folder, trained in trainings:
        if learned_from.data is not None:
            _calibrate(trained, folder, learned_from, settings)
        if begin.init is not None:
            _print_before_and_after(trained)
        print(f"trained: {shown(folder)}")


def _calibrate(trained: Recognizer, folder: Path, source: Source, settings: TrainConfig) -> None:
    """Honest confidences, by the lines that the checkpoint was chosen by."""
    from seqocr.calibration import KEY
    from seqocr.checkpoints import save
    from seqocr.data.folder import LineFolder
    from seqocr.predicting import calibrations
    from seqocr.train.recipe import own_lines

    lines = LineFolder(Path(str(source.data)), charset=trained.charset, skip=source.skip)
    found = calibrations(trained, [own_lines(lines, settings, source.validation_share)[1]])
    trained.provenance = {**trained.provenance, KEY: {head: each.as_json() for head, each in found.items()}}
    save(trained, folder)


def _without_labels(
    folder: Path, directory: Path, start: dict[str, Any], source: dict[str, Any], config: dict[str, Any], device: str
) -> None:
    if "init" not in start or len(start) > 1 or set(source) - {"root"}:
        raise InputError(
            "--unlabelled adapts trained weights as they are: give --init, and none of --data, --dataset ..."
        )
    settings = TrainConfig(**{**FINE_TUNING, "level": "data", "steps": STEPS, "patience": 0} | config)
    writable(directory)

    from seqocr.checkpoints import load_recognizer, weights_path
    from seqocr.data.sources import load_digits
    from seqocr.train.unlabelled import drawn_lines, self_train

    recognizer = load_recognizer(weights_path(start["init"])).to(choose_device(device))
    digits = load_digits("train", root=source.get("root")), load_digits("validation", root=source.get("root"))
    drawn = drawn_lines(recognizer, digits, settings.seed)
    command = shlex.join(["seqocr", *sys.argv[1:]])
    _, rounds = self_train(recognizer, folder, drawn, directory, config=settings, steps=settings.steps, command=command)
    if not any(each.kept for each in rounds[1:]):
        print("nothing was better than the weights to start from: those are kept")
    print(f"trained: {shown(directory)}")


def _on_writing(
    names: list[str],
    directory: Path,
    start: dict[str, Any],
    source: dict[str, Any],
    config: dict[str, Any],
    device: str,
    teachers: Path | None,
) -> None:
    if set(source) - {"root", "data", "skip", "validation_share"}:
        raise InputError("--digits goes with --level or --data, and with none of --dataset, --charset ...")
    learned_from = Source(**source)
    settings, begin = TrainConfig(**(_MIXED if "data" in source else {}) | config), Start(**start)
    if learned_from.data is not None and names and "batch_size" not in config:
        of = 3 * len(names)  # two own lines for each written one
        settings = replace(settings, batch_size=max(1, settings.batch_size // of) * of)
    writable(directory)

    from seqocr.train.writing import train_on_writing

    command = shlex.join(["seqocr", *sys.argv[1:]])
    trained = train_on_writing(
        settings,
        begin,
        names,
        directory,
        root=learned_from.root,
        own=learned_from.data,
        skip=learned_from.skip,
        validation_share=learned_from.validation_share,
        teachers=teachers,
        device=choose_device(device),
        command=command,
    )
    if learned_from.data is not None:
        _calibrate(trained, directory, learned_from, settings)
    if begin.init is not None:
        _print_before_and_after(trained)
    print(f"trained: {shown(directory)}")


def _print_before_and_after(trained: Recognizer) -> None:
    from seqocr.statistics import proportion

    history, lines = trained.provenance["validation"], trained.provenance["held_out"]
    table = Table(title=f"exact match on {lines:,} validation lines, by which the checkpoint was chosen")
    for column in ("head", "before", "after", "95 % CI"):
        table.add_column(column, justify="left" if column == "head" else "right")
    for head, after in history[-1]["exact"].items():
        share = proportion(round(after * lines), lines)
        table.add_row(head, f"{history[0]['exact'][head]:.2%}", f"{after:.2%}", f"{share.low:.2%} to {share.high:.2%}")
    Console().print(table)
