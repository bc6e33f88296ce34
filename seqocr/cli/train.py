"""seqocr train"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from seqocr.cli.options import Device, Out, choose_device, options_of, output_folder
from seqocr.errors import InputError
from seqocr.files import shown, writable
from seqocr.train.config import FINE_TUNING, Source, Start, TrainConfig
from seqocr.train.sharing import Spread

STEPS = 250  # of a round without labels

if TYPE_CHECKING:
    from seqocr.models.recognizer import Recognizer


@options_of(start=Start, source=Source, config=TrainConfig, spread=Spread)
def train(
    out: Out,
    start: dict[str, Any],
    source: dict[str, Any],
    config: dict[str, Any],
    spread: dict[str, Any],
    device: Device = "auto",
    unlabelled: Annotated[
        Path | None, typer.Option(help="Lines that nobody has labelled: a folder of images, to adapt --init to.")
    ] = None,
) -> None:
    """Train heads on an encoder. Killed or interrupted, the same command goes on where it was.

    With --data and --init, trained weights are adapted to your own lines in minutes. If they read digits, a third of
    what they learn from is drawn, so that a small folder is not learned by heart (--level data: nothing is drawn).
    With --unlabelled in place of --data, to lines without texts: what all heads read alike and with confidence is
    learned from. If that does harm, --init is kept.
    `torchrun --nproc-per-node 2 -m seqocr train ...` trains with two processes (docs/training.md).
    """
    if unlabelled is not None:
        _without_labels(unlabelled, output_folder(out), start, source, config, spread, device)
        return
    settings, begin, learned_from, over = TrainConfig(**config), Start(**start), Source(**source), Spread(**spread)
    directory = output_folder(out)

    from seqocr.inference.load import load_recognizer  # after the settings, because it takes seconds to load
    from seqocr.inference.shipped import weights_path
    from seqocr.train import distributed, recipe
    from seqocr.train.spread import shared_out

    with distributed.joined(choose_device(device)) as own_device, shared_out(over):
        if distributed.is_first():
            writable(directory)
        if learned_from.data is not None:
            charset = learned_from.charset
            if charset is None and begin.init is not None:
                charset = load_recognizer(weights_path(begin.init)).charset
            settings = TrainConfig(**{**recipe.fine_tuning(charset), **config})
        trainings = recipe.train(
            settings,
            begin,
            learned_from,
            directory,
            max_length=settings.longest if "length" in config else None,
            fit_batch="batch_size" not in config,
            device=own_device,
            command=shlex.join(["seqocr", *sys.argv[1:]]),
        )
        for folder, trained in trainings:
            if begin.init is not None:
                _print_before_and_after(trained)
            print(f"trained: {shown(folder)}")


def _without_labels(
    folder: Path,
    directory: Path,
    start: dict[str, Any],
    source: dict[str, Any],
    config: dict[str, Any],
    spread: dict[str, Any],
    device: str,
) -> None:
    from seqocr.train import distributed

    if spread or distributed.started() > 1:
        raise InputError("--unlabelled is learned by one process: leave out torchrun, --shards and --workers")
    if "init" not in start or len(start) > 1 or set(source) - {"root"}:
        raise InputError(
            "--unlabelled adapts trained weights as they are: give --init, and none of --data, --dataset ..."
        )
    settings = TrainConfig(**{**FINE_TUNING, "level": "data", "steps": STEPS} | config)
    writable(directory)

    from seqocr.data.sources.datasets import load_digits
    from seqocr.inference.load import load_recognizer
    from seqocr.inference.shipped import weights_path
    from seqocr.train.self_training import drawn_lines, self_train

    recognizer = load_recognizer(weights_path(start["init"])).to(choose_device(device))
    digits = load_digits("train", root=source.get("root")), load_digits("validation", root=source.get("root"))
    drawn = drawn_lines(recognizer, digits, settings.seed)
    command = shlex.join(["seqocr", *sys.argv[1:]])
    _, rounds = self_train(recognizer, folder, drawn, directory, config=settings, steps=settings.steps, command=command)
    if not any(each.kept for each in rounds[1:]):
        print("nothing was better than the weights to start from: those are kept")
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
