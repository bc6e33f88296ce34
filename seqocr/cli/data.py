"""seqocr data"""

from pathlib import Path
from typing import Annotated

import typer

from seqocr.cli.options import DataRoot, DataSet, Level
from seqocr.errors import InputError


def data(
    dataset: DataSet = "mnist",
    root: DataRoot = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw sample training strings to this PNG.")] = None,
    level: Level = "grid",
    fonts: Annotated[
        Path | None, typer.Option(help="Also fetch some 450 font families (470 MB of packages) to this directory.")
    ] = None,
) -> None:
    """Fetch and verify digits and fonts, and list them."""
    from seqocr.data.augment import Augmentation
    from seqocr.data.images import suffixes
    from seqocr.data.sequences import SequenceMNIST
    from seqocr.data.sources.datasets import SPLITS, load_digits
    from seqocr.data.sources.font_packages import fetch_fonts
    from seqocr.data.synthetic import layouts as levels
    from seqocr.files import replacing, shown, writable

    layout = levels.level(level)
    if picture is not None:
        if picture.suffix.lower() not in suffixes():
            raise InputError(f"--picture {shown(picture)}: give a name that ends in .png")
        writable(picture.parent)
    if fonts is not None:
        writable(fonts)
    for split in SPLITS:
        digits = load_digits(split, dataset, root)
        print(f"{split}: {len(digits):,} digits, {digits.source}")
        if split == "train" and picture is not None:
            strings = SequenceMNIST(digits, augmentation=Augmentation(), layout=layout)
            with replacing(picture) as temporary:
                levels.contact_sheet(list(strings.batch(range(30))[0])).save(temporary)
            print(f"sample training strings: {shown(picture)}")
    if fonts is not None:
        print(f"fonts: {fetch_fonts(fonts):,} families in {shown(fonts)}")
