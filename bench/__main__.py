"""The bench's command line: python -m bench run | report | baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqocr.cli import choose_device, run

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
Out = Annotated[Path, typer.Option(help="Folder for report.md, plots, tables and raw measurements.")]


@app.command("run")
def run_bench(
    preset: Annotated[str, typer.Option(help="smoke (a minute), default (under ten minutes) or full.")] = "default",
    out: Out = Path("results"),
    again: Annotated[bool, typer.Option(help="Measure finished cells again.")] = False,
    weights: Annotated[Path | None, typer.Option(help="Recognizer to evaluate [the shipped ones].")] = None,
    real: Annotated[
        Path | None, typer.Option(help="Also read real lines: a folder with metadata.csv, labels.json or gt.txt.")
    ] = None,
    skip: Annotated[bool, typer.Option(help="Leave out lines of --real that cannot be used.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Measure what is missing, then write the report. Killed, the same command goes on where it was."""
    import shutil

    import torch

    from bench import lines
    from bench.measure import run as measure
    from bench.plan import plan
    from bench.report import write_report
    from bench.store import Store
    from seqocr.data.folder import LineFolder
    from seqocr.models.recognizer import READER, Recognizer

    chosen, target = plan(preset), choose_device(device)
    reader = Recognizer.load(weights or READER)
    folder = LineFolder(real, charset=reader.charset, max_length=reader.max_length, skip=skip) if real else None

    def stores() -> tuple[Store, Store]:
        return (
            Store.for_plan(out, chosen, target, weights),
            Store.for_lines(out, chosen.each, folder, target, weights),
        )

    if again:
        for store in stores():
            shutil.rmtree(store.folder)
    store, of_lines = stores()
    lines.measure(chosen.each, folder, of_lines, torch.device(target), weights)
    measure(chosen, store, torch.device(target), weights)
    print(f"report: {write_report(store, out, of_lines)}")


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
