"""seqocr read"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from seqocr.cli.options import Device, Engine, Weights, load_reader
from seqocr.errors import InputError

if TYPE_CHECKING:
    from seqocr.reading import Reading


def read(
    images: Annotated[list[str], typer.Argument(help="Line images, folders of them, or patterns.")],
    weights: Weights = None,
    head: Annotated[str, typer.Option(help="Which head reads.")] = "parallel",
    form: Annotated[
        str | None, typer.Option("--format", help="table, json or csv.", show_default="table on a terminal, else tabs")
    ] = None,
    min_confidence: Annotated[float, typer.Option(help="Leave the text empty where confidence is below.")] = 0.0,
    batch: Annotated[int, typer.Option(help="Images read at once.")] = 64,
    device: Device = "auto",
    engine: Engine = "onnxruntime",
) -> None:
    """Read line images, dark on light or light on dark, and print file, text and confidence.

    Images that cannot be read are named with the reason, the others read all the same; the exit code is then 2.
    """
    from seqocr.reading import image_files, read_files

    if form not in (None, "table", "json", "csv"):
        raise InputError(f"--format {form}: choose table, json or csv")
    if batch < 1:
        raise InputError(f"--batch {batch}: give a number of images from 1 up")
    paths = image_files(images)
    unread = 0

    def readings() -> Iterator[Reading]:
        nonlocal unread
        for reading in read_files(load_reader(weights, device, engine), paths, head, batch):
            if reading.problem:
                unread += 1
                print(f"error: {reading.problem}", file=sys.stderr)
            else:
                yield reading if reading.confidence >= min_confidence else replace(reading, text="")

    _PRINTERS[form or ("table" if sys.stdout.isatty() else "tabs")](readings())
    if unread:
        if len(paths) > 1:
            print(f"{unread:,} of {len(paths):,} images could not be read", file=sys.stderr)
        raise typer.Exit(2)


def _print_table(readings: Iterator[Reading]) -> None:
    shown = Table("file", "text", "confidence")
    for reading in readings:
        shown.add_row(reading.file_name, reading.text, f"{reading.confidence:.4f}")
    Console().print(shown)


def _print_tabs(readings: Iterator[Reading]) -> None:
    for reading in readings:
        print(f"{reading.file_name}\t{reading.text}\t{reading.confidence:.4f}")


def _print_csv(readings: Iterator[Reading]) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file_name", "text", "confidence"])
    rows.writerows([r.file_name, r.text, f"{r.confidence:.4f}"] for r in readings)


def _print_json(readings: Iterator[Reading]) -> None:
    separator = "["
    for r in readings:  # as they come: a folder may be large
        row = {"file_name": r.file_name, "text": r.text, "confidence": round(r.confidence, 4)}
        print(separator + json.dumps(row, ensure_ascii=False), end="")
        separator = ",\n "
    print("]" if separator != "[" else "[]")


_PRINTERS = {"table": _print_table, "tabs": _print_tabs, "csv": _print_csv, "json": _print_json}
