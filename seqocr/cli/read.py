"""seqocr read"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqocr.cli.options import Device, Engine, Weights, load_reader
from seqocr.errors import InputError, check_bounds
from seqocr.files import shown

if TYPE_CHECKING:
    from seqocr.reading import Reading

MOST_AT_ONCE = 4096  # images: more are not read faster


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
    r"""Read line images, dark on light or light on dark, and print file, text and confidence.

    Images that cannot be read are named with the reason, the others read all the same; the exit code is then 2.
    In names, bytes that are no UTF-8 are written as \xff, and control characters as \n (in JSON, as JSON has them).
    """
    from seqocr.reading import image_files, read_files

    if form not in (None, "table", "json", "csv"):
        raise InputError(f"--format {form}: choose table, json or csv")
    check_bounds("--batch", batch, 1, MOST_AT_ONCE)
    check_bounds("--min-confidence", min_confidence, 0, 1)
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
    table = Table("file", "text", "confidence")
    for row in map(_row, readings):
        table.add_row(*map(Text, row))  # as plain text: rich takes [red] for a colour
    Console().print(table)


def _print_tabs(readings: Iterator[Reading]) -> None:
    for row in map(_row, readings):
        print("\t".join(row))


def _print_csv(readings: Iterator[Reading]) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file_name", "text", "confidence"])
    rows.writerows(map(_row, readings))


def _row(reading: Reading) -> list[str]:
    return [shown(reading.file_name), shown(reading.text), f"{reading.confidence:.4f}"]


def _print_json(readings: Iterator[Reading]) -> None:
    separator = "["
    ascii_only = "utf" not in sys.stdout.encoding.lower()
    for r in readings:  # as they come: a folder may be large
        # JSON has escapes of its own for control characters, but none for bytes that are no UTF-8.
        name = os.fsencode(r.file_name).decode(errors="backslashreplace")
        row = {"file_name": name, "text": r.text, "confidence": round(r.confidence, 4)}
        print(separator + json.dumps(row, ensure_ascii=ascii_only), end="")
        separator = ",\n "
    print("]" if separator != "[" else "[]")


_PRINTERS = {"table": _print_table, "tabs": _print_tabs, "csv": _print_csv, "json": _print_json}
