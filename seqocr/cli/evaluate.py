"""seqocr eval"""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import seqocr.cli.options as options
from seqocr.cli.options import output_folder, parse_heads, parse_length
from seqocr.decoding.reach import MIN_FIT
from seqocr.errors import check_bounds
from seqocr.train.config import LARGEST_SEED


def evaluate(
    weights: options.Weights = None,
    out: options.Out = "runs/eval",
    heads: Annotated[
        str | None, typer.Option(help="Heads or decoding strategies, separated by commas.", show_default="all heads")
    ] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    length: Annotated[str, typer.Option(help="Digits in a string: N, or SHORTEST-LONGEST.")] = "5",
    level: options.Level = "grid",
    count: Annotated[int | None, typer.Option(help="Strings.", show_default="as many as the digits make")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the strings.")] = 0,
    dataset: options.DataSet = "mnist",
    root: options.DataRoot = None,
    device: options.Device = "auto",
    engine: options.Engine = "onnxruntime",
    data: options.YourData = None,
    skip: options.Skip = False,
    pattern: options.Pattern = None,
    check: options.Check = None,
    lexicon: options.Lexicon = None,
    beam_width: options.BeamWidth = 8,
    min_fit: options.MinFit = MIN_FIT,
) -> None:
    """Read held-out strings with every head, and write predictions and metrics as CSV.

    Also prints operating points: from which confidence on 99 % and 99.9 % of the accepted lines are right. With
    --pattern, --check or --lexicon, decoding is constrained to texts that satisfy them.
    """
    directory, names, lengths = output_folder(out), parse_heads(heads) if heads else None, parse_length(length)
    check_bounds("seed", seed, 0, LARGEST_SEED)
    check_bounds("--min-fit", min_fit, 0, 1)

    from seqocr import metrics
    from seqocr.data.folder import LineFolder
    from seqocr.data.sequences import SequenceMNIST
    from seqocr.data.sources.datasets import load_digits_or_validation
    from seqocr.data.synthetic.layouts import level as layout_of
    from seqocr.decoding.constraints import build_constraint
    from seqocr.files import replacing, shown, writable
    from seqocr.inference.load import load
    from seqocr.inference.predictions import (
        describe_lost_zeros,
        describe_operating_points,
        describe_unknown_lines,
        predict_lines,
    )

    writable(directory)
    recognizer = load(weights, None, device=device, engine=engine)
    lines: LineFolder | SequenceMNIST
    if data is not None:
        lines = LineFolder(data, charset=recognizer.charset, max_length=recognizer.max_length, skip=skip)
        what = f"lines of {shown(data)}"
        options.warn_of_learned_lines(lines, recognizer.provenance)
    else:
        layout = layout_of(level)
        digits = load_digits_or_validation(split, dataset, root)
        lines = SequenceMNIST(digits, lengths, count=count, seed=seed, layout=layout)
        what = f"strings of {digits.split} digits ({level}), {digits.source}"
    constraint = build_constraint(recognizer.charset, pattern=pattern, check=check, lexicon=lexicon)
    predictions = predict_lines(recognizer, lines, names, constraint=constraint, beam_width=beam_width, min_fit=min_fit)
    if isinstance(lines, LineFolder):
        predictions.insert(1, "file_name", [shown(lines.lines[index].name) for index in predictions["index"]])
    tables = {
        "predictions": predictions,
        "summary": metrics.summary(predictions),
        "positions": metrics.positions(predictions),
        "confusion": metrics.confusion(predictions, recognizer.charset),
        "comparisons": metrics.comparisons(predictions),
    }
    for name, rows in tables.items():
        with replacing(directory / f"{name}.csv") as temporary:
            rows.to_csv(temporary, index=False)
    table = Table(title=Text(f"{len(lines):,} {what}"))
    for column in ("head", "exact match", "95 % CI", "digit accuracy", "CER", "ECE"):
        table.add_column(column, justify="left" if column == "head" else "right")
    for row in tables["summary"].itertuples():
        interval = f"{row.exact_low:.2%} to {row.exact_high:.2%}"
        table.add_row(
            row.head, f"{row.exact:.2%}", interval, f"{row.digit_accuracy:.2%}", f"{row.cer:.2%}", f"{row.ece:.4f}"
        )
    if unknown := describe_unknown_lines(predictions):
        Console().print(Text(unknown, style="bold"))
    Console().print(table)
    zeros = describe_lost_zeros(predictions) if data is not None else []
    for line in (*zeros, *describe_operating_points(predictions)):
        print(line)
    print(f"tables: {shown(directory)}")
