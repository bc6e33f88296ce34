"""seqocr read"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    images: Annotated[list[str], typer.Argument(help="Line images, folders of them, or patterns.")],
    weights: Weights = None,
    head: Head = "",
    output: Annotated[
        str | None, typer.Option("--format", help="table, json or csv.", show_default="table on a terminal, else tabs")
    ] = None,
    min_confidence: Annotated[float, typer.Option(help="Leave the text empty below this confidence.")] = 0.0,
    min_fit: MinFit = MIN_FIT,
    target_precision: Annotated[
        float | None,
        typer.Option(
            help="Leave the text empty below the confidence from which this share of accepted lines, such as 0.99, was "
            "right when the weights were calibrated."
        ),
    ] = None,
    pattern: Pattern = None,
    check: Check = None,
    lexicon: Lexicon = None,
    charset: Annotated[
        str | None,
        typer.Option(
            help="Read these symbols alone: some of the weights' own, or also marks, such as 0123456789.,- if the "
            "weights know them."
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Number of texts per line, the most likely first.")] = 1,
    symbols: Annotated[
        bool, typer.Option("--symbols", help="Also print the confidence and position of each symbol.")
    ] = False,
    beam_width: BeamWidth = 8,
    batch: Annotated[int, typer.Option(help="Images per batch.")] = 64,
    device: Device = "auto",
    engine: Engine = "onnxruntime",
) -> None:
    r"""Read line images, dark on light or light on dark, and print file, text and confidence.

    With --pattern, --check or --lexicon the text is the most likely one that satisfies these constraints, and its
    confidence is its probability among those that do. How likely these are among all texts is printed as "fitting";
    below --min-fit, the text is empty. --top adds alternatives.

    An image that cannot be read is reported with the reason, has a row without text, and the others are still read; the
    exit code is then 2. A file that is named twice is read once.
    Notes say what may be wrong: a mark that is no digit, no ink, more symbols than the head writes. A line with one
    passes no threshold (--min-confidence, --target-precision).

    In file names, bytes that are not UTF-8 are written as \xff, and control characters as \n, but as usual in JSON.
    """
    from seqocr.decoding.constraints import build_constraint
    from seqocr.decoding.reach import unreachable_texts
    from seqocr.inference.charset import CharsetReader
    from seqocr.inference.image_files import image_files, predict_files
    from seqocr.inference.load import load_reader
    from seqocr.inference.predict import chosen_head, longest_text
    from seqocr.inference.prediction import ReadOptions

    if output not in (None, "table", "json", "csv"):
        raise InputError(f"--format {output}: choose table, json or csv")
    check_bounds("--batch", batch, 1, MOST_AT_ONCE)
    check_bounds("--min-confidence", min_confidence, 0, 1)
    check_bounds("--min-fit", min_fit, 0, 1)
    check_bounds("--top", top, 1, MOST_TEXTS)
    if target_precision is not None:
        check_bounds("--target-precision", target_precision, 0, 1)
    check_bounds("--beam-width", beam_width, 1, MOST_AT_ONCE)
    paths = image_files(images)
    if charset is not None and head:
        raise InputError("--charset reads by CTC: leave out --head")
    reader: Reader = load_reader(weights, head, device, engine)
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
            yield str(path), prediction.accepted(least)

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
