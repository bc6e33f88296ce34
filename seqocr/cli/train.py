"""seqocr train"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from seqocr.cli.config_file import Config, command_line
from seqocr.cli.options import Device, Out, options_from, output_folder
from seqocr.errors import InputError
from seqocr.files import shown, writable
from seqocr.train.config import SELF_TRAINING, DistributedConfig, Source, Start, TrainConfig

if TYPE_CHECKING:
    from seqocr.models.recognizer import Recognizer


@options_from(start=Start, source=Source, config=TrainConfig, sharding=DistributedConfig)
def train(
    context: typer.Context,
    out: Out,
    start: dict[str, Any],
    source: dict[str, Any],
    config: dict[str, Any],
    sharding: dict[str, Any],
    config_file: Config = None,
    device: Device = "auto",
    pseudo_label: Annotated[
        Path | None, typer.Option(help="Adapt --init to unlabelled line images: a folder of them (self-training).")
    ] = None,
) -> None:
    """Train heads on an encoder. After an interruption, the same command goes on where it was.

    With --data and --init, trained weights are adapted to your data in minutes. If they read digits, a third of the
    training data is synthetic, so that a small folder is not memorised (--level data: none is).
    With --pseudo-label in place of --data, they are adapted to unlabelled lines: texts on which all heads agree with
    confidence become labels. If that does harm, --init is kept.
    `torchrun --nproc-per-node 2 -m seqocr train ...` trains with two processes (docs/train.md).
    """
    let_idle_threads_sleep()
    directory, command = output_folder(out), command_line(context)
    if pseudo_label is not None:
        _self_train(pseudo_label, directory, start, source, config, sharding, device, command)
        return
    settings, begin, data = TrainConfig(**config), Start(**start), Source(**source)
    divided = DistributedConfig(**sharding)

    from seqocr.inference.load import choose_device
    from seqocr.inference.shipped import weights_path
    from seqocr.models.checkpoint import load_recognizer  # after the settings, because it takes seconds to load
    from seqocr.train import distributed, recipe

    with distributed.process_group(choose_device(device)) as own_device:
        if distributed.is_main():
            writable(directory)
        if data.data is not None:
            charset = data.charset
            if charset is None and begin.init is not None:
                charset = load_recognizer(weights_path(begin.init)).charset
            settings = TrainConfig(**{**recipe.fine_tuning(charset), **config})
        trainings = recipe.train(
            settings,
            begin,
            data,
            directory,
            sharding=divided,
            max_length=settings.longest if "length" in config else None,
            fit_batch="batch_size" not in config or "shards" not in sharding,
            device=own_device,
            command=command,
        )
        for folder, trained in trainings:
            if begin.init is not None:
                _print_before_and_after(trained)
            print(f"trained: {shown(folder)}")


def let_idle_threads_sleep() -> None:
    """Have OpenMP's threads sleep while they wait for each other, if torch is not loaded yet.

    By default they spin: where another program takes a core, one thread then burns the time that the other needs, and
    two take several times as long as one. What they compute is the same to the bit.
    """
    if "torch" not in sys.modules:  # OpenMP reads it when it is loaded
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _self_train(
    images: Path,
    directory: Path,
    start: dict[str, Any],
    source: dict[str, Any],
    config: dict[str, Any],
    sharding: dict[str, Any],
    device: str,
    command: str,
) -> None:
    from seqocr.train import distributed

    if sharding or distributed.launched() > 1:
        raise InputError("--pseudo-label takes one process: leave out torchrun, --shards and --workers")
    if "init" not in start or len(start) > 1 or set(source) - {"root"}:
        raise InputError("--pseudo-label adapts trained weights: give --init, and none of --data, --dataset ...")
    settings = TrainConfig(**{**SELF_TRAINING, **config})
    writable(directory)

    from seqocr.inference.load import choose_device
    from seqocr.inference.shipped import weights_path
    from seqocr.models.checkpoint import load_recognizer
    from seqocr.train.recipe import load_splits
    from seqocr.train.self_training import rehearsal_lines, self_train

    recognizer = load_recognizer(weights_path(start["init"])).to(choose_device(device))
    rehearsal = rehearsal_lines(recognizer, load_splits(root=source.get("root")), settings.seed)
    _, rounds = self_train(recognizer, images, rehearsal, directory, config=settings, command=command)
    if not any(each.kept for each in rounds[1:]):
        print("no round was better than the initial weights: those are kept")
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
