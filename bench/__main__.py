"""The bench's command line: python -m bench run | lines | report | baseline."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqocr.checkpoints import READER, load_recognizer
from seqocr.cli import Skip, choose_device, run

if TYPE_CHECKING:
    from bench.store import Store

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
Again = Annotated[bool, typer.Option(help="Measure what is finished again.")]
Weights = Annotated[Path | None, typer.Option(help="Recognizer to evaluate [the shipped ones].")]
Real = Annotated[
    Path | None,
    typer.Option("--real", "--data", help="Also read real lines: a folder with metadata.csv, labels.json or gt.txt."),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Out = Annotated[Path, typer.Option(help="Folder for report.md, plots, tables and raw measurements.")]


@app.command("run")
def run_bench(
    preset: Annotated[str, typer.Option(help="smoke (a minute), default (under ten minutes) or full.")] = "default",
    out: Out = Path("results"),
    again: Again = False,
    weights: Weights = None,
    real: Real = None,
    skip: Skip = False,
    device: Device = "cpu",
) -> None:
    """Measure what is missing, then write the report. Killed, the same command goes on where it was."""
    import torch

    from bench.measure import run as measure
    from bench.plan import plan
    from bench.report import write_report
    from bench.store import Store

    chosen, target = plan(preset), choose_device(device)
    of_lines = _measure_lines(chosen.each, out, again, weights, real, skip, target)
    store = _begun(lambda: Store.for_plan(out, chosen, target, weights), again)
    measure(chosen, store, torch.device(target), weights)
    print(f"report: {write_report(store, out, of_lines)}")


@app.command()
def lines(
    each: Annotated[int, typer.Option(help="Strings of every length at every level.")] = 200,
    out: Out = Path("results"),
    again: Again = False,
    weights: Weights = None,
    real: Real = None,
    skip: Skip = False,
    device: Device = "cpu",
) -> None:
    """Measure only what is read at every length and level, and of real lines; the rest of the report stays."""
    from bench.report import write_report
    from bench.store import Store

    of_lines = _measure_lines(each, out, again, weights, real, skip, choose_device(device))
    print(f"report: {write_report(Store.latest(out), out, of_lines)}")


def _measure_lines(
    each: int, out: Path, again: bool, weights: Path | None, real: Path | None, skip: bool, device: str
) -> Store:
    from bench.lines import measure
    from bench.store import Store
    from seqocr.data.folder import LineFolder
    from seqocr.models.recognizer import Recognizer

    recognizer = load_recognizer(weights or READER)
    folder = None
    if real:
        folder = LineFolder(real, charset=recognizer.charset, max_length=recognizer.max_length, skip=skip)
    store = _begun(lambda: Store.for_lines(out, each, folder, device, weights), again)
    measure(recognizer.to(device), each, folder, store)
    return store


def _begun(make: Callable[[], Store], again: bool) -> Store:
    """The run as it stands, or begun anew."""
    store = make()
    if again:
        shutil.rmtree(store.folder)
        store = make()
    return store


@app.command()
def report(out: Out = Path("results")) -> None:
    """Write the report again from the measurements of the run finished last. Measures nothing."""
    from bench.report import write_report
    from bench.store import Store

    print(f"report: {write_report(Store.latest(out), out, Store.latest_lines(out))}")


@app.command()
def baseline() -> None:
    """Write the baseline of the regression checks anew, after an intended change of passes, FLOPs or speed."""
    from bench.gates import BASELINE, write_baseline

    write_baseline()
    print(f"baseline: {BASELINE}")


if __name__ == "__main__":
    run(app)
