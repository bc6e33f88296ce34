"""The command line: seqocr data | train | average | eval | read | export."""

from __future__ import annotations

import csv
import json
import logging
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import seqocr
from seqocr.cli.options import (
    DataRoot,
    DataSet,
    Device,
    Engine,
    Heads,
    Level,
    OwnLines,
    Skip,
    Weights,
    choose_device,
    parsed_length,
    parsed_size,
)
from seqocr.errors import InputError

if TYPE_CHECKING:
    from seqocr.models.recognizer import Recognizer
    from seqocr.reader import Reader
    from seqocr.reading import Reading

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=seqocr.__doc__)


@app.command()
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


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Directory for the recognizer.")],
    encoder: Annotated[str, typer.Option(help="Preset (tiny, small), hub id, or Hugging Face directory.")] = "tiny",
    init: Annotated[
        str | None, typer.Option(help="Start from trained weights instead: tiny, strings (shipped), or a directory.")
    ] = None,
    heads: Heads = "ar,parallel,ctc",
    protocol: Annotated[str, typer.Option(help="joint, frozen (encoder) or separate (a run a head).")] = "joint",
    image_size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH other than the encoder's own.")] = None,
    patch: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH of patches other than --init's own.")] = None,
    layers: Annotated[int | None, typer.Option(help="Layers of the encoder, more than --init's own.")] = None,
    ctc_frames: Annotated[
        int | None, typer.Option(help="CTC frames a column of patches, other than --init's own.")
    ] = None,
    data: OwnLines = None,
    skip: Skip = False,
    validation_share: Annotated[
        float | None, typer.Option(help="Share of --data that checkpoints are chosen by [0.1].")
    ] = None,
    charset: Annotated[
        str | None,
        typer.Option(help="Symbols to read, of a data set in order [those of --init, --dataset or --data]."),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(help="What to learn from, in equal shares: grid, jitter, wild, data [grid; data with --data]."),
    ] = None,
    length: Annotated[str | None, typer.Option(help="Digits in a string: N, or SHORTEST-LONGEST [5].")] = None,
    repeats: Annotated[float, typer.Option(help="Chance that a digit of a string is the one before it again.")] = 0.0,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps [20000; --data: 600].")] = None,
    batch_size: Annotated[int, typer.Option(help="Lines a step.")] = 64,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate [1e-3; --data: 5e-4].")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps of warm-up [500; --data: 50].")] = None,
    optimizer: Annotated[str, typer.Option(help="adamw, or muon for the matrices of layers.")] = "adamw",
    ema: Annotated[float, typer.Option(help="Decay of the average of the weights.")] = 0.999,
    augment: Annotated[float, typer.Option(help="How far what is learned from is changed: 0 not, 1 as usual.")] = 1.0,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    validate_every: Annotated[int | None, typer.Option(help="Steps between validations [1000; --data: 100].")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Validations without a better one before stopping, 0: never [0; --data: 5].")
    ] = None,
    save_every: Annotated[int, typer.Option(help="Steps between saves of the state to resume from.")] = 250,
    seed: Annotated[int, typer.Option(help="Seeds everything random.")] = 0,
    dataset: DataSet = "mnist",
    root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Train heads on an encoder. Killed or interrupted, the same command goes on where it was.

    With --data and --init, trained weights are adapted to your own lines in minutes.
    """
    import torch

    from seqocr.checkpoints import load_recognizer, weights_path
    from seqocr.data.augment import Augmentation, LineAugmentation
    from seqocr.data.folder import LineFolder, ShuffledLines
    from seqocr.data.levels import level as layout_of
    from seqocr.data.material import OWN, mixture
    from seqocr.data.sources import load_digits, symbols_of
    from seqocr.models.recognizer import Recognizer
    from seqocr.train import loop
    from seqocr.train.config import FINE_TUNING, FROM_SCRATCH, VALIDATION_SHARE, TrainConfig

    levels = level or ("grid" if data is None else OWN)
    lengths = parsed_length(length or "5")
    given: dict[str, Any] = {
        "steps": steps,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "validate_every": validate_every,
        "patience": patience,
    }
    usual = FROM_SCRATCH if data is None else FINE_TUNING
    config = TrainConfig(
        length=lengths,
        batch_size=batch_size,
        optimizer=optimizer,
        ema=ema,
        precision=precision,
        save_every=save_every,
        protocol=protocol,
        level=levels,
        repeats=repeats,
        seed=seed,
        augmentation=Augmentation().scaled(augment),
        **{name: usual[name] if value is None else value for name, value in given.items()},
    )
    if protocol == "frozen" and init is None and encoder in ("tiny", "small"):
        raise InputError(
            f"--protocol frozen on preset {encoder!r} would freeze random weights: give --init or a checkpoint"
        )
    for option, value in (("--patch", patch), ("--layers", layers), ("--ctc-frames", ctc_frames)):
        if value is not None and init is None:
            raise InputError(f"{option} changes what --init has: give both")
    size, patches = parsed_size(image_size, "--image-size"), parsed_size(patch, "--patch")
    target, typed = choose_device(device), shlex.join(["seqocr", *sys.argv[1:]])
    start = None if init is None else load_recognizer(weights_path(init))
    from_digits = [name for name in levels.split(",") if name != OWN]
    # Whatever is wrong is said before digits are fetched, which can take long.
    for name in from_digits:
        layout_of(name)
    symbols: Any = symbols_of(dataset, charset) if from_digits else charset or (start.charset if start else None)
    longest = (lengths if isinstance(lengths, int) else lengths[1]) if from_digits or length else 0
    if start and not length:
        longest = max(longest, start.max_length)  # what can read long lines stays able to
    own = None
    if data is not None:
        folder = LineFolder(data, charset=symbols, skip=skip)
        symbols = folder.charset
        longest = max(longest, folder.longest)
        learned, held_out = folder.split(
            VALIDATION_SHARE if validation_share is None else validation_share, "validation"
        )
        own = ShuffledLines(learned, LineAugmentation().scaled(augment), seed), held_out
    names = heads.split(",")
    runs = [(out / name, [name]) for name in names] if protocol == "separate" else [(out, names)]
    task: Any = {"image_size": size, "charset": symbols or "", "max_length": longest}
    frames = {} if ctc_frames is None else {"ctc": {"frames_a_column": ctc_frames}}
    recognizers = []
    for _, chosen in runs:
        torch.manual_seed(seed)  # the initial weights
        recognizers.append(
            start.adapted(chosen, patch=patches, layers=layers, settings=frames, **task)
            if start
            else Recognizer.build(encoder, chosen, **task)
        )
    digits = None
    if from_digits:
        learned_from, chosen_by = (load_digits(split, dataset, root) for split in ("train", "validation"))
        digits = replace(learned_from, symbols=symbols), replace(chosen_by, symbols=symbols)
    material = mixture(levels, lengths, seed, config.augmentation, digits, own, repeats)
    for (directory, _), recognizer in zip(runs, recognizers, strict=True):
        trained = loop.fit(recognizer, material, config, directory, target, typed, start_counts=start is not None)
        if start is not None:
            _print_before_and_after(trained)
        print(f"trained: {directory}")


def _print_before_and_after(trained: Recognizer) -> None:
    from seqocr.evaluation import wilson

    history, lines = trained.provenance["validation"], trained.provenance["held_out"]
    shown = Table(title=f"exact match on {lines:,} validation lines, by which the checkpoint was chosen")
    for column in ("head", "before", "after", "95 % CI"):
        shown.add_column(column, justify="left" if column == "head" else "right")
    for head, after in history[-1]["exact"].items():
        low, high = wilson(round(after * lines), lines)
        shown.add_row(head, f"{history[0]['exact'][head]:.2%}", f"{after:.2%}", f"{low:.2%} to {high:.2%}")
    Console().print(shown)


@app.command()
def average(
    recognizers: Annotated[list[str], typer.Argument(help="Directories of runs that went on from one another.")],
    out: Annotated[Path, typer.Option(help="Directory for the recognizer.")],
) -> None:
    """Write the mean of trained weights, which often reads better than each of them, at no cost."""
    from seqocr.checkpoints import load_recognizer, save, weights_path
    from seqocr.train.average import averaged

    save(averaged([load_recognizer(weights_path(name)) for name in recognizers]), out)
    print(f"averaged: {out}")


@app.command("eval")
def evaluate(
    weights: Weights = None,
    out: Annotated[Path, typer.Option(help="Directory for the tables.")] = Path("runs/eval"),
    heads: Annotated[str | None, typer.Option(help="Heads or variants, separated by commas [all heads].")] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    length: Annotated[str, typer.Option(help="Digits in a string: N, or SHORTEST-LONGEST.")] = "5",
    level: Level = "grid",
    count: Annotated[int | None, typer.Option(help="Strings [as many as the digits make].")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the draw of strings.")] = 0,
    dataset: DataSet = "mnist",
    root: DataRoot = None,
    device: Device = "auto",
    engine: Engine = "onnxruntime",
    data: OwnLines = None,
    skip: Skip = False,
) -> None:
    """Read held-out strings with every head, and write predictions and metrics as CSV."""
    from seqocr import evaluation
    from seqocr.data import levels
    from seqocr.data.folder import LineFolder
    from seqocr.data.sequences import SequenceMNIST
    from seqocr.data.sources import load_digits_or_validation
    from seqocr.files import write_csv

    recognizer = _reader(weights, device, engine)
    lines: LineFolder | SequenceMNIST
    if data is not None:
        lines = LineFolder(data, charset=recognizer.charset, max_length=recognizer.max_length, skip=skip)
        what = f"lines of {data}"
    else:
        digits = load_digits_or_validation(split, dataset, root)
        lines = SequenceMNIST(digits, parsed_length(length), count=count, seed=seed, layout=levels.level(level))
        what = f"strings of {digits.split} digits ({level}), {digits.source}"
    predictions = evaluation.predict(recognizer, lines, heads.split(",") if heads else None)
    if isinstance(lines, LineFolder):
        predictions.insert(1, "file_name", [lines.lines[index].name for index in predictions["index"]])
    tables = {
        "predictions": predictions,
        "summary": evaluation.summary(predictions),
        "positions": evaluation.positions(predictions),
        "confusion": evaluation.confusion(predictions, recognizer.charset),
        "comparisons": evaluation.comparisons(predictions),
    }
    for name, table in tables.items():
        write_csv(out / f"{name}.csv", table)
    shown = Table(title=f"{len(lines):,} {what}")
    for column in ("head", "exact match", "95 % CI", "digit accuracy", "CER", "ECE"):
        shown.add_column(column, justify="left" if column == "head" else "right")
    for row in tables["summary"].itertuples():
        interval = f"{row.exact_low:.2%} to {row.exact_high:.2%}"
        shown.add_row(
            row.head, f"{row.exact:.2%}", interval, f"{row.digit_accuracy:.2%}", f"{row.cer:.2%}", f"{row.ece:.4f}"
        )
    Console().print(shown)
    print(f"tables: {out}")


@app.command()
def read(
    images: Annotated[list[str], typer.Argument(help="Line images, folders of them, or patterns.")],
    weights: Weights = None,
    head: Annotated[str, typer.Option(help="Which head reads.")] = "parallel",
    form: Annotated[
        str | None, typer.Option("--format", help="table, json or csv [table on a terminal, else tab-separated].")
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
        for reading in read_files(_reader(weights, device, engine), paths, head, batch):
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


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Directory for the graphs.")],
    weights: Annotated[
        str | None, typer.Option(help="Directory written by `seqocr train`, or tiny [strings, both shipped].")
    ] = None,
    heads: Annotated[str | None, typer.Option(help="Heads, separated by commas [all].")] = None,
    runtime: Annotated[
        str, typer.Option(help="onnx, for ONNX Runtime and OpenVINO, or transformers, for Hugging Face (the ar head).")
    ] = "onnx",
    precision: Annotated[str, typer.Option(help="float32, or int8: dynamic quantisation.")] = "float32",
) -> None:
    """Write what a deployment without PyTorch's eager mode runs; `read` and `eval` take it as --weights."""
    from seqocr.checkpoints import load_recognizer, weights_path
    from seqocr.models.hugging_face import export_hugging_face
    from seqocr.runtimes.export import export as write

    if runtime not in ("onnx", "transformers"):
        raise InputError(f"--runtime {runtime}: choose onnx or transformers")
    if runtime == "transformers":
        if heads not in (None, "ar") or precision != "float32":
            raise InputError("--runtime transformers is for the ar head in float32: leave --heads and --precision out")
        export_hugging_face(load_recognizer(weights_path(weights)), out)
        print(f"{out}: VisionEncoderDecoderModel with a TrOCRProcessor")
        return
    for path in write(load_recognizer(weights_path(weights)), out, heads.split(",") if heads else None, precision):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _reader(weights: str | None, device: str, engine: str) -> Reader:
    """Trained weights on the device, or exported graphs, which "auto" leaves on the CPU."""
    from seqocr.checkpoints import load, weights_path
    from seqocr.models.recognizer import Recognizer

    reader = load(weights_path(weights), engine)
    return reader.to(choose_device(device)) if isinstance(reader, Recognizer) or device != "auto" else reader


def run(command: typer.Typer) -> None:
    """Run a command line; bad input ends in one clear line and exit code 2, an interrupt in 130."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("httpx", "httpx2", "matplotlib", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        command()  # ends in SystemExit: 2 after wrong usage, which it explains itself, and 130 after an interrupt
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:
            print("interrupted", file=sys.stderr)
        raise


def main() -> None:
    run(app)

