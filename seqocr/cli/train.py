"""seqocr train"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from seqocr.cli.options import Device, Out, choose_device, options_of, output_folder
from seqocr.files import shown, writable
from seqocr.train.config import FINE_TUNING, Source, Start, TrainConfig

if TYPE_CHECKING:
    from seqocr.models.recognizer import Recognizer


@options_of(start=Start, source=Source, config=TrainConfig)
def train(
    out: Out,
    start: dict[str, Any],
    source: dict[str, Any],
    config: dict[str, Any],
    device: Device = "auto",
) -> None:
    """Train heads on an encoder. Killed or interrupted, the same command goes on where it was.

    With --data and --init, trained weights are adapted to your own lines in minutes.
    """
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
        if begin.init is not None:
            _print_before_and_after(trained)
        print(f"trained: {shown(folder)}")


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
