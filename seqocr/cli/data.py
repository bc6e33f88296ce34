"""seqocr data"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqocr.cli.options import DataRoot, DataSet, Level


def data(
    dataset: DataSet = "mnist",
    root: DataRoot = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw sample training strings to this PNG.")] = None,
    level: Level = "grid",
) -> None:
    """Fetch and verify digits, and say what there is."""
    from seqocr.data import levels
    from seqocr.data.augment import Augmentation
    from seqocr.data.sequences import SequenceMNIST
    from seqocr.data.sources import SPLITS, load_digits

    for split in SPLITS:
        digits = load_digits(split, dataset, root)
        print(f"{split}: {len(digits):,} digits, {digits.source}")
        if split == "train" and picture is not None:
            strings = SequenceMNIST(digits, augmentation=Augmentation(), layout=levels.level(level))
            levels.contact_sheet(list(strings.batch(range(30))[0])).save(picture)
            print(f"sample training strings: {picture}")
