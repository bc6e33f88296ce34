"""seqocr calibrate"""

from typing import Annotated

import typer

from seqocr.cli.options import (
    DataRoot,
    Device,
    Engine,
    Skip,
    YourData,
    parse_length,
    parse_sources,
    warn_of_learned_lines,
)
from seqocr.errors import InputError


def calibrate(
    weights: Annotated[str, typer.Option(help="Directory written by `seqocr train` or `seqocr export`.")],
    data: YourData = None,
    level: Annotated[
        str, typer.Option(help="Without --data: layouts of validation digits, separated by commas.")
    ] = "jitter",
    glyphs: Annotated[
        str | None, typer.Option(help="Without --data: also as many held-out lines of these sources (see `train`).")
    ] = None,
    photographs: Annotated[
        float, typer.Option(help="Share of the lines by pen of --glyphs that are photographed.")
    ] = 0.0,
    length: Annotated[str, typer.Option(help="Digits in a string: N, or SHORTEST-LONGEST.")] = "1-10",
    count: Annotated[int, typer.Option(help="Strings per level.")] = 800,
    root: DataRoot = None,
    device: Device = "auto",
    engine: Engine = "onnxruntime",
    skip: Skip = False,
) -> None:
    """Calibrate confidences on labelled lines that were not trained on; the result is stored in config.json."""
    from pathlib import Path

    from seqocr.data.folder import LineFolder
    from seqocr.data.mixture import Lines
    from seqocr.data.sequences import SequenceMNIST
    from seqocr.data.sources.datasets import load_digits
    from seqocr.data.synthetic.layouts import level as layout_of
    from seqocr.decoding.calibration import KEY, MIN_LINES, SYNTHETIC
    from seqocr.files import read_json, shown, write_json
    from seqocr.inference.load import load
    from seqocr.inference.predictions import fit_calibrations
    from seqocr.models.config_sum import with_sum
    from seqocr.train.recipe import held_out_lines

    path = Path(weights) / "config.json"
    if not path.is_file():
        raise InputError(f"{shown(weights)} holds no config.json: give a directory of your own weights")
    reader = load(weights, None, device=device, engine=engine)
    parts: list[Lines]
    if data is not None:
        folder = LineFolder(data, charset=reader.charset, max_length=reader.max_length, skip=skip)
        warn_of_learned_lines(folder, reader.provenance)
        parts, source = [folder], f"lines of {shown(data.name)}"
    else:
        digits = load_digits("validation", root=root)
        parts = [
            SequenceMNIST(digits, parse_length(length), count=count, replacement=True, layout=layout_of(name))
            for name in level.split(",")
        ]
        if glyphs is not None:
            sources = parse_sources(glyphs)
            parts.append(held_out_lines(sources, count * len(parts), parse_length(length), photographs, root))
        source = SYNTHETIC
    if (lines := sum(map(len, parts))) < MIN_LINES:
        raise InputError(f"{lines:,} lines are too few to calibrate by: give at least {MIN_LINES}")
    written, found = read_json(path), fit_calibrations(reader, parts)
    for head, each in found.items():
        print(f"{head}: temperature {each.temperature:.3f}, from {each.lines:,} lines")
    written["provenance"][KEY] = {head: each.as_json() | {"source": source} for head, each in found.items()}
    write_json(path, with_sum(written))
    print(f"written: {shown(path)}")
