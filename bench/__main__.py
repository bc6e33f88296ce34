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
    weights: Annotated[Path | None, typer.Option(help="Recognizer to evaluate [the shipped one].")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Measure what is missing, then write the report. Killed, the same command goes on where it was."""
    import shutil

    import torch

    from bench.measure import run as measure
    from bench.plan import plan
    from bench.report import write_report
    from bench.store import Store

    chosen, target = plan(preset), choose_device(device)
    store = Store.for_plan(out, chosen, target, weights)
    if again:
        shutil.rmtree(store.folder)
        store = Store.for_plan(out, chosen, target, weights)
    measure(chosen, store, torch.device(target), weights)
    print(f"report: {write_report(store, out)}")


@app.command()
def report(out: Out = Path("results")) -> None:
    """Write the report again from the measurements of the run finished last. Measures nothing."""
    from bench.report import write_report
    from bench.store import Store

    print(f"report: {write_report(Store.latest(out), out)}")


@app.command()
def baseline() -> None:
    """Write the baseline of the regression checks anew, after an intended change of passes, FLOPs or speed."""
    from bench.gates import BASELINE, write_baseline

    write_baseline()
    print(f"baseline: {BASELINE}")


if __name__ == "__main__":
    run(app)
