"""seqocr read"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqocr.cli.options import BeamWidth, Check, Device, Engine, Head, Lexicon, MinFit, Pattern, Weights
from seqocr.decoding.calibration import is_synthetic, load_calibration
from seqocr.decoding.reach import MIN_FIT
from seqocr.errors import InputError, check_bounds
from seqocr.files import shown

if TYPE_CHECKING:
    from seqocr.inference.predict import Reader
    from seqocr.inference.prediction import Prediction, ReadOptions

MOST_AT_ONCE = 4096  # images: more are not read faster
MOST_TEXTS = 100  # of a line


def read(
    images: Annotated[list[str], typer.Argument(help="Line images, folders, patterns.")],
    weights: Weights = None,
    head: Head = "",
    output: Annotated[
        str | None, typer.Option("--format", help="table, tabs, json or csv.", show_default="table, or tabs")
    ] = None,
    min_confidence: Annotated[float, typer.Option(help="No text below this confidence.")] = 0.0,
    min_fit: MinFit = MIN_FIT,
    target_precision: Annotated[float | None, typer.Option(help="Only texts of which this share is right.")] = None,
    pattern: Pattern = None,
    check: Check = None,
    lexicon: Lexicon = None,
    charset: Annotated[str | None, typer.Option(help="Read these symbols alone.")] = None,
    top: Annotated[int, typer.Option(help="Texts a line, the most likely first.")] = 1,
    symbols: Annotated[bool, typer.Option("--symbols", help="Add confidence and position of symbols.")] = False,
    beam_width: BeamWidth = 8,
    batch: Annotated[int, typer.Option(help="Images read at once.")] = 64,
    device: Device = "auto",
    engine: Engine = "onnxruntime",
) -> None:
    """Read images of a line of digits each, and print file, text and confidence.

    Heads: parallel reads all symbols in one pass; ctc too, by places along the line; ar writes one after the other;
    ar-speculative gives the texts of ar in fewer passes.

    Checks: luhn (cards), mod97 (bank accounts), ean (barcodes), isbn, damm, iso7064.mod_11_10 and others.

    Exit code 2: an image could not be read; the others are. All about notes, constraints and output: docs/read.md
    """
    from seqocr.decoding.constraints import build_constraint
    from seqocr.decoding.reach import unreachable_texts
    from seqocr.inference.charset import CharsetReader
    from seqocr.inference.image_files import image_files, predict_files
    from seqocr.inference.load import load
    from seqocr.inference.predict import chosen_head, longest_text
    from seqocr.inference.prediction import ReadOptions

    if output not in (None, "table", "tabs", "json", "csv"):
        raise InputError(f"--format {output}: choose table, tabs, json or csv")
    check_bounds("--batch", batch, 1, MOST_AT_ONCE)
    check_bounds("--min-confidence", min_confidence, 0, 1)
    check_bounds("--min-fit", min_fit, 0, 1)
    check_bounds("--top", top, 1, MOST_TEXTS)
    if target_precision is not None:
        check_bounds("--target-precision", target_precision, 0, 1)
    check_bounds("--beam-width", beam_width, 1, MOST_AT_ONCE)
    paths = image_files(images)
    # Below a folder that is read alone, names are those of metadata.csv and of predict-batch.
    alone = len(images) == 1 and os.path.isdir(images[0])  # noqa: PTH112 (Path's raises an error for a long name)
    if charset is not None and head:
        raise InputError("--charset reads by CTC: leave out --head")
    reader: Reader = load(weights, head, device, engine)
    if charset is not None:
        reader = CharsetReader(reader, charset)
    constraint = build_constraint(reader.charset, pattern=pattern, check=check, lexicon=lexicon)
    detailed = symbols or (output == "json" and (top > 1 or constraint is not None))
    chosen = chosen_head(reader, head)
    options = ReadOptions(chosen, constraint, top, beam_width, symbols=detailed, positions=detailed, min_fit=min_fit)
    least = min_confidence
    if target_precision is not None:
        least = max(least, _operating_point(reader, options, target_precision))
    if constraint is not None and chosen in reader.heads:
        output_of_head = reader.heads[chosen].output
        cut = unreachable_texts(constraint, reader.charset, longest_text(reader, chosen), chosen, output_of_head)
        print(f"warning: {cut}\n" if cut else "", end="", file=sys.stderr)
    more: dict[str, Callable[[Prediction], str]] = {}
    if constraint is not None:
        more["fitting"] = lambda prediction: "" if prediction.problem else f"{prediction.constraint_probability:.4g}"
    if top > 1:
        more["others"] = _alternatives
    if symbols:
        more["symbols"] = _symbols
    notes: dict[str, Callable[[Prediction], str]] = {"notes": lambda prediction: "; ".join(prediction.notes)}
    unread = 0

    def predictions() -> Iterator[tuple[str, Prediction]]:
        nonlocal unread
        for path, prediction in zip(paths, predict_files(reader, paths, options, batch), strict=True):
            if prediction.problem:
                unread += 1
                print(f"error: {prediction.problem}", file=sys.stderr)
            name = path.relative_to(images[0]) if alone and path != Path(images[0]) else path
            yield str(name), prediction.accepted(least)

    match output or ("table" if sys.stdout.isatty() else "tabs"):
        case "json":
            _print_json(predictions(), detailed)
        case "table":
            table = Table("file", "text", "confidence", *more, *notes)
            for row in _rows(predictions(), more | notes):
                table.add_row(*map(Text, row))  # as plain text: rich takes [red] for a colour
            Console().print(table)
        case "tabs":
            for row in _rows(predictions(), more | notes):
                print("\t".join(row).removesuffix("\t"))  # no empty column of notes
        case "csv":
            rows = csv.writer(sys.stdout, lineterminator="\n")
            more |= notes | {"problem": lambda prediction: shown(prediction.problem)}
            rows.writerow(["file_name", "text", "confidence", *more])
            rows.writerows(_rows(predictions(), more))
    if unread:
        if len(paths) > 1:
            print(f"{unread:,} of {len(paths):,} images could not be read", file=sys.stderr)
        raise typer.Exit(2)


def _operating_point(reader: Reader, options: ReadOptions, target: float) -> float:
    """The lowest confidence to accept for a target precision."""
    if options.constraint is not None:
        raise InputError("--target-precision excludes --pattern, --check and --lexicon: calibration is unconstrained")
    if (found := load_calibration(reader.provenance, options.head)) is None:
        raise InputError(
            f"--target-precision {target:g}: these weights are not calibrated for {options.head}: "
            "run `seqocr calibrate` first"
        )
    if is_synthetic(reader.provenance):
        print(
            f"warning: calibrated on synthetic lines: of real ones accepted, fewer than {target:.1%} may be right. "
            "To calibrate on yours: seqocr calibrate --data",
            file=sys.stderr,
        )
    return found.threshold(target)


def _rows(
    predictions: Iterable[tuple[str, Prediction]], more: Mapping[str, Callable[[Prediction], str]]
) -> Iterator[list[str]]:
    for name, prediction in predictions:
        first = [shown(name), shown(prediction.text), f"{prediction.confidence:.4f}"]
        yield [*first, *(column(prediction) for column in more.values())]


def _alternatives(prediction: Prediction) -> str:
    return " ".join(f"{shown(text)}:{p:.4f}" for text, p in prediction.alternatives)


def _symbols(prediction: Prediction) -> str:
    """Each symbol, its confidence, and the pixels between which it stands."""
    return " ".join(
        f"{each.text}:{each.confidence:.4f}" + ("" if each.left is None else f"@{each.left:.0f}-{each.right:.0f}")
        for each in prediction.symbols
    )


def _print_json(predictions: Iterable[tuple[str, Prediction]], detailed: bool) -> None:
    separator = "["
    ascii_only = "utf" not in sys.stdout.encoding.lower()
    for path, prediction in predictions:  # as they come: a folder may be large
        # JSON has escapes of its own for control characters, but none for bytes that are no UTF-8.
        name = os.fsencode(path).decode(errors="backslashreplace")
        row = prediction.as_json()
        if not detailed:
            row = {key: row[key] for key in ("text", "confidence", "notes", "problem")}
        print(separator + json.dumps({"file_name": name, **row}, ensure_ascii=ascii_only), end="")
        separator = ",\n "
    print("]" if separator != "[" else "[]")
