"""The command line of the benchmark: python -m bench run, report, compare, repeat, study, curves, family ..."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seqocr.cli import run as run_command
from seqocr.cli.options import Skip

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
Preset = Annotated[str, typer.Option(help="smoke (a minute), default (five minutes) or full (over an hour).")]
Weights = Annotated[Path | None, typer.Option(help="Recognizer to evaluate [the shipped ones].")]
Real = Annotated[
    Path | None,
    typer.Option("--real", "--data", help="Also read real lines: a folder with metadata.csv, labels.json or gt.txt."),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Out = Annotated[Path, typer.Option(help="Folder for report.md, plots, tables and raw measurements.")]
OnEngine = Annotated[str, typer.Option(help="Runs what is not timed: local (processes of this machine) or ray.")]
_CLUSTER = "Of a Ray cluster, HOST:PORT or ray://HOST:PORT [$RAY_ADDRESS, or else a Ray of its own on this machine]."
Address = Annotated[str | None, typer.Option(help=_CLUSTER)]
_NAMES = "Experiments, separated by commas; serving, scale and distributed are measured only on request."
Runs = Annotated[Path | None, typer.Option(help="For recognizers.", show_default="runs/COMMAND-PRESET")]
Only = Annotated[str | None, typer.Option(help=_NAMES)]


@app.command("run")
def run_bench(
    preset: Preset = "default",
    out: Out = Path("results"),
    again: Annotated[bool, typer.Option(help="Measure what is finished again.")] = False,
    weights: Weights = None,
    real: Real = None,
    skip: Skip = False,
    device: Device = "cpu",
    engine: OnEngine = "local",
    address: Address = None,
    only: Only = None,
    into: Annotated[
        Path | None, typer.Option(help="Add to this run's folder, also of another machine: its sections say so.")
    ] = None,
) -> None:
    """Measure what is missing, then write the report. A killed run resumes. On Ray, only what is not timed is
    measured."""
    from bench.core.engines import Engine
    from bench.report.build import write_report
    from bench.runner import prepared, run
    from seqocr.inference.load import choose_device

    chosen = Engine(engine, address)
    bench = prepared(preset, out, choose_device(device), weights, real, skip, into)
    if left := run(preset, bench, again, chosen, only.split(",") if only else ()):
        print(
            f"left to time: {', '.join(left)}\nA clock wants a machine with nothing else on it: when no Ray runs here "
            "any more, the same command without --engine ray times them and writes the report"
        )
        return
    if not bench.store.facts("run")["finished"]:
        print(f"measured: {bench.store.folder}; the report also needs `make bench`")
        return
    print(f"report: {write_report(bench.store, out)}")


@app.command()
def report(
    out: Out = Path("results"),
    readme: Annotated[
        Path | None, typer.Option(help="Also write the first screen into this README, and model cards.")
    ] = None,
) -> None:
    """Write the report again from the measurements of the run finished last. Measures nothing."""
    from bench.core.store import Store
    from bench.report.build import everything, measured, with_numbers, write_report
    from bench.report.cards import cards
    from bench.study.shipped import write_study
    from seqocr.files import write_text

    store = Store.latest(out)
    print(f"report: {write_report(store, out)}")
    if readme is not None:
        found = everything(store)
        line = measured(store)
        write_text(readme, with_numbers(readme.read_text(encoding="utf-8"), found, line, readme))
        print(f"numbers: {readme}")
        for path, text in cards(store, found).items():
            write_text(path, text)
            print(f"card: {path}")
        if "dependence" in found:
            print(f"study: {write_study(found)}")


@app.command()
def verify(
    out: Out = Path("results"),
    record: Annotated[bool, typer.Option(help="Note in the results what was found, with this commit.")] = False,
    seal: Annotated[bool, typer.Option(help="First add checksums to results of earlier versions.")] = False,
) -> None:
    """Compare results with the code as it is: what differs is printed; damaged rows and lost commits are errors."""
    from bench.verify import seal as add_checksums
    from bench.verify import verify as compare_with_code

    if seal:
        add_checksums(out)
    found = compare_with_code(out, record)
    for line in found.lines():
        print(line)
    print(f"{len(found.same)} parts as measured, {len(found.changed)} changed since")
    if found.failures:
        raise typer.Exit(2)


@app.command()
def task(out: Annotated[Path, typer.Argument(help="Folder for line images and their texts.")]) -> None:
    """Write the task as files, for readers that are not ours (docs/task-card.md)."""
    from bench.community import write_task

    write_task(out)
    print(f"task: {out}")


@app.command()
def submit(
    name: Annotated[str, typer.Argument(help="Of the result, and of its folder.")],
    weights: Annotated[
        str, typer.Option(help="Of seqocr's format: a folder, or the name of shipped ones.")
    ] = "strings",
    strategy: Annotated[str, typer.Option(help="Of any head that is installed; or crnn, of the family.")] = "parallel",
    url: Annotated[str, typer.Option(help="Where the code is.")] = "../../README.md",
    license_: Annotated[str, typer.Option("--license", help="Of the code.")] = "MIT",
    learned_from: Annotated[str, typer.Option(help="What the weights learned from.")] = "MNIST's training half",
    out: Annotated[Path, typer.Option(help="Folder of results.")] = Path("results/community"),
) -> None:
    """Read the task with weights of seqocr's format, and write a result: NAME/COMMIT in the folder of results."""
    from bench.community import submit as write
    from bench.study import crnn
    from seqocr import environment
    from seqocr.inference.shipped import weights_path
    from seqocr.models.checkpoint import load_recognizer

    reader = crnn.Reader(Path(weights)) if strategy == crnn.NAME else load_recognizer(weights_path(weights))
    machine = environment.describe()
    commit = str(machine["commit"]).removesuffix("+")
    about: dict[str, Any] = {
        "name": name,
        "url": url,
        "commit": commit,
        "license": license_,
        "learned_from": learned_from,
    }
    about |= {"machine": machine["cpu"], "environment": machine, "strategy": strategy}
    folder = out / name / commit
    write(lambda images: reader.decode(images, strategy).texts, about, folder)
    print(f"result: {folder}")


@app.command("check-submission")
def check_submission(folder: Annotated[Path, typer.Argument(help="With predictions.csv and about.json.")]) -> None:
    """Score the predictions of a result again."""
    from bench.community import score
    from bench.core.formatting import share

    for name, exact in score(folder).items():
        print(f"{name}: {share(exact, 2)}, {exact.n:,} lines")


@app.command()
def community(
    folder: Annotated[Path, typer.Argument(help="Folder with results in NAME/COMMIT.")] = Path("results/community"),
) -> None:
    """Score the predictions of all results again, and write their table."""
    from bench.community import community_table
    from seqocr.files import write_text

    write_text(folder / "README.md", community_table(folder))
    print(f"table: {folder / 'README.md'}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A run's folder, such as results/raw/full-bda5b154, or a results folder.")],
    b: Annotated[Path, typer.Argument(help="Another run, as A is given.")],
    everything: Annotated[bool, typer.Option("--all", help="Also show what does not differ.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write all rows to this CSV file.")] = None,
) -> None:
    """Compare two runs (of other machines, commits or libraries): times, exact match and counts that both have.

    Of a results folder, the run finished last is taken. Ratios are B over A, with 95 % intervals."""
    from rich.console import Console

    from bench.compare import compare as compare_runs
    from bench.compare import run_in
    from bench.report.comparison import summary, table_of
    from seqocr.files import write_csv

    runs = run_in(a), run_in(b)
    rows, machines, notes = compare_runs(*runs)
    if out is not None:
        write_csv(out, rows)
    Console().print(machines)
    for line in notes:
        print(line)
    if len(shown := rows[rows["differs"] | everything]):
        Console().print(table_of(shown))
    for line in summary(rows, *runs):
        print(line)


@app.command()
def repeat(
    times: Annotated[int, typer.Option(help="Runs.", min=2, max=1000)] = 10,
    disturb: Annotated[bool, typer.Option(help="With a load that comes and goes meanwhile.")] = False,
    preset: Preset = "default",
    out: Out = Path("results"),
    only: Annotated[
        str | None, typer.Option(help="One experiment, such as baselines; or family: the first screen's times.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Weights of the family.")] = Path("runs/family-full"),
) -> None:
    """Run a preset again and again, and say for every claim of the first screen how often its verdict flipped and how
    far its number moved. What is not timed is measured once."""
    from bench.repeat import repeat as run_again
    from bench.repeat import repeat_family

    again = repeat_family(times, out, runs) if only == "family" else run_again(preset, times, disturb, out, only)
    print(f"repeated: {again}")


@app.command()
def study(
    preset: Annotated[str, typer.Option(help="smoke (a minute) or full (an hour and a half).")] = "full",
    out: Out = Path("results"),
    runs: Runs = None,
    engine: OnEngine = "local",
    address: Address = None,
) -> None:
    """When does autoregression pay? Train and read every label distribution under every damage. Killed, the same
    command goes on where it was."""
    from bench.core.engines import Engine
    from bench.study.pipeline import run

    folder = runs or Path("runs") / f"study-{preset}"
    print(f"study: {run(preset, out, folder, Engine(engine, address))}")


@app.command()
def curves(
    preset: Annotated[str, typer.Option(help="smoke or full (hours).")] = "full",
    out: Out = Path("results"),
    runs: Runs = None,
    engine: OnEngine = "local",
    address: Address = None,
) -> None:
    """How fast does each head learn a label distribution, alone, together and guided? Killed, the same command goes on
    where it was."""
    from bench.core.engines import Engine
    from bench.study.curves import run

    print(f"curves: {run(preset, out, runs or Path('runs') / f'curves-{preset}', Engine(engine, address))}")


@app.command()
def family(
    preset: Annotated[str, typer.Option(help="smoke or full (hours).")] = "full",
    out: Out = Path("results"),
    runs: Runs = None,
    engine: OnEngine = "local",
    address: Address = None,
    encoders: Annotated[str | None, typer.Option(help="To train, separated by commas; none: only time [all].")] = None,
) -> None:
    """Encoders of several sizes, trained with the same heads on the same strings, and what they read. Killed, the same
    command goes on where it was."""
    from bench.core.engines import Engine
    from bench.study.family_pipeline import run

    kept = runs or Path("runs") / f"family-{preset}"
    names = None if encoders is None else [name for name in encoders.split(",") if name != "none"]
    print(f"family: {run(preset, out, kept, Engine(engine, address), names)}")


@app.command()
def folds(
    real: Annotated[list[Path], typer.Argument(help="Folders of real lines, each a set of its own.")],
    out: Out = Path("results"),
    runs: Runs = None,
    seeds: Annotated[int, typer.Option(min=1, help="Times that lines are dealt out to five parts.")] = 3,
    engine: OnEngine = "local",
    address: Address = None,
) -> None:
    """Cross-validation of real lines in five parts: the default weights as shipped, and adapted to the other four.
    Killed, the same command goes on where it was."""
    from bench.core.engines import Engine
    from bench.study.folds import run

    print(f"folds: {run(real, out, runs or Path('runs') / 'folds', Engine(engine, address), seeds)}")


@app.command("two-sample")
def compare_samples(
    real: Annotated[Path, typer.Option(help="Real lines: a folder with metadata.csv, labels.json or gt.txt.")],
    synthetic: Annotated[
        str,
        typer.Option(
            help="Sources of synthetic lines, separated by commas: levels, glyphs such as qmnist, or fonts:FOLDER."
        ),
    ] = "wild",
    kinds: Annotated[
        str,
        typer.Option(help="Of lines rendered with fonts: wheels, cards and others, separated by commas."),
    ] = "",
    out: Annotated[Path, typer.Option(help="For two_sample.json and a sheet of both.")] = Path("runs/two-sample"),
    seconds: Annotated[float, typer.Option(help="Of training.", min=1, max=3600)] = 120,
) -> None:
    """Two-sample classifier test: can a small network tell synthetic lines from real ones? 50 % is guessing."""
    from bench.two_sample import run

    asked = kinds.split(",") if kinds else []
    result, page = run(real, synthetic.split(","), out, seconds=seconds, kinds=asked)
    print(
        f"accuracy: {result.accuracy:.1%} ({result.low:.1%} to {result.high:.1%}) of {2 * result.lines:,} lines; real "
        f"{result.real:.1%}, synthetic {result.synthetic:.1%}; {result.steps:,} steps in {result.seconds:.0f} s\n"
        f"sheet: {page}"
    )


@app.command()
def baseline() -> None:
    """Write the baseline of the regression checks anew, after an intended change of passes, FLOPs or speed."""
    from bench.core.exclusive import refuse_beside_ray
    from bench.regression import BASELINE, write_baseline

    refuse_beside_ray()
    write_baseline()
    print(f"baseline: {BASELINE}")


# Old spellings of commands and options, and how they are spelled now.
COMMANDS = {
    "looks": ["two-sample"],
    "serving": ["run", "--only", "serving"],
    "scale": ["run", "--only", "scale"],
    "ranks": ["run", "--only", "distributed"],
}
OPTIONS = {"--drawn": ["--synthetic"]}


def spelled_now(arguments: list[str]) -> list[str]:
    """A command line without old spellings; each prints a line of advice."""
    found = []
    for i, word in enumerate(arguments):
        now = (OPTIONS if i else COMMANDS).get(word, [word])
        if now != [word]:
            print(f"`{word}` is now `{' '.join(now)}`", file=sys.stderr)
        found += now
    return found


if __name__ == "__main__":
    sys.argv[1:] = spelled_now(sys.argv[1:])
    run_command(app)
