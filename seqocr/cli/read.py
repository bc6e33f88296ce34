"""seqocr read"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqocr.cli.options import BeamWidth, Check, Device, Engine, Lexicon, Pattern, Weights, load_quickly
from seqocr.decoding.calibration import load_calibration
from seqocr.errors import InputError, check_bounds
from seqocr.files import shown

if TYPE_CHECKING:
    from seqocr.inference.image_files import Reading
    from seqocr.inference.onnx import OnnxRecognizer
    from seqocr.inference.predict import Answer, ReadOptions
    from seqocr.inference.reader import Reader

MOST_AT_ONCE = 4096  # images: more are not read faster
MOST_TEXTS = 100  # of a line


def read(
    images: Annotated[list[str], typer.Argument(help="Line images, folders of them, or patterns.")],
    weights: Weights = None,
    head: Annotated[str, typer.Option(help="Head or decoding strategy.")] = "parallel",
    output: Annotated[
        str | None, typer.Option("--format", help="table, json or csv.", show_default="table on a terminal, else tabs")
    ] = None,
    min_confidence: Annotated[float, typer.Option(help="Leave the text empty below this confidence.")] = 0.0,
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
    confidence is its probability among those that do; if none does, the text is empty. --top adds alternatives.

    An image that cannot be read is reported with the reason and the others are still read; the exit code is then 2.
    In file names, bytes that are not UTF-8 are written as \xff, and control characters as \n, but as usual in JSON.
    """
    from seqocr.inference.image_files import image_files, read_files

    if output not in (None, "table", "json", "csv"):
        raise InputError(f"--format {output}: choose table, json or csv")
    check_bounds("--batch", batch, 1, MOST_AT_ONCE)
    check_bounds("--min-confidence", min_confidence, 0, 1)
    check_bounds("--top", top, 1, MOST_TEXTS)
    check_bounds("--beam-width", beam_width, 1, MOST_AT_ONCE)
    paths = image_files(images)
    reader = load_quickly(weights, head, device, engine)
    asked: ReadOptions | None = None
    if symbols or top > 1 or not (pattern is None and check is None and lexicon is None):
        from seqocr.decoding.constraints import build_constraint
        from seqocr.inference.predict import ReadOptions

        form = build_constraint(reader.charset, pattern=pattern, check=check, lexicon=lexicon)
        asked = ReadOptions(head, form, top, beam_width, places=symbols or output == "json")
    least = min_confidence
    if target_precision is not None:
        least = max(least, _operating_point(reader, head, target_precision, asked))
    more = [] if asked is None else [*(["others"] if top > 1 else []), *(["symbols"] if symbols else [])]
    unread = 0

    def readings() -> Iterator[Reading]:
        nonlocal unread
        for reading in read_files(reader, paths, head, batch, asked):
            if reading.problem:
                unread += 1
                print(f"error: {reading.problem}", file=sys.stderr)
            else:
                yield reading if reading.confidence >= least else replace(reading, text="")

    _PRINTERS[output or ("table" if sys.stdout.isatty() else "tabs")](readings(), more)
    if unread:
        if len(paths) > 1:
            print(f"{unread:,} of {len(paths):,} images could not be read", file=sys.stderr)
        raise typer.Exit(2)


def _operating_point(reader: Reader | OnnxRecognizer, head: str, target: float, asked: ReadOptions | None) -> float:
    """The lowest confidence to accept for a target precision.

    Raises:
        InputError: it is not known.
    """
    if asked is not None and asked.form is not None:
        raise InputError("--target-precision excludes --pattern, --check and --lexicon: calibration is unconstrained")
    if (found := load_calibration(getattr(reader, "provenance", {}), head)) is None:
        raise InputError(
            f"--target-precision {target:g}: these weights are not calibrated for {head}: run `seqocr calibrate` first"
        )
    return found.threshold(target)


def _print_table(readings: Iterator[Reading], more: list[str]) -> None:
    table = Table("file", "text", "confidence", *more)
    for row in _rows(readings, more):
        table.add_row(*map(Text, row))  # as plain text: rich takes [red] for a colour
    Console().print(table)


def _print_tabs(readings: Iterator[Reading], more: list[str]) -> None:
    for row in _rows(readings, more):
        print("\t".join(row))


def _print_csv(readings: Iterator[Reading], more: list[str]) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file_name", "text", "confidence", *more])
    rows.writerows(_rows(readings, more))


def _rows(readings: Iterator[Reading], more: list[str]) -> Iterator[list[str]]:
    for reading in readings:
        first = [shown(reading.file_name), shown(reading.text), f"{reading.confidence:.4f}"]
        yield [*first, *(_MORE[name](reading.answer) for name in more if reading.answer)]


def _others(answer: Answer) -> str:
    return " ".join(f"{shown(text)}:{p:.4f}" for text, p in answer.others)


def _symbols(answer: Answer) -> str:
    """Each symbol, how sure it is, and the pixels between which it stands."""
    placed = [
        "" if symbol.left is None or symbol.right is None else f"@{symbol.left:.0f}-{symbol.right:.0f}"
        for symbol in answer.symbols
    ]
    return " ".join(f"{s.text}:{s.confidence:.4f}{place}" for s, place in zip(answer.symbols, placed, strict=True))


_MORE = {"others": _others, "symbols": _symbols}


def _print_json(readings: Iterator[Reading], more: list[str]) -> None:
    separator = "["
    ascii_only = "utf" not in sys.stdout.encoding.lower()
    for r in readings:  # as they come: a folder may be large
        # JSON has escapes of its own for control characters, but none for bytes that are no UTF-8.
        name = os.fsencode(r.file_name).decode(errors="backslashreplace")
        row: dict[str, Any] = {"file_name": name, "text": r.text, "confidence": round(r.confidence, 4)}
        if r.answer:
            row |= _details(r.answer)
        print(separator + json.dumps(row, ensure_ascii=ascii_only), end="")
        separator = ",\n "
    print("]" if separator != "[" else "[]")


def _details(answer: Answer) -> dict[str, Any]:
    margin = round(answer.margin, 4) if math.isfinite(answer.margin) else None  # JSON has no infinity
    return {
        "fits": answer.fits,
        "fitting": round(answer.fitting, 4),
        "margin": margin,
        "passes": answer.passes,
        "others": [{"text": text, "confidence": round(p, 4)} for text, p in answer.others],
        "symbols": [
            {
                "text": s.text,
                "confidence": round(s.confidence, 4),
                "left": None if s.left is None else round(s.left, 1),
                "right": None if s.right is None else round(s.right, 1),
            }
            for s in answer.symbols
        ],
    }


_PRINTERS = {"table": _print_table, "tabs": _print_tabs, "csv": _print_csv, "json": _print_json}
