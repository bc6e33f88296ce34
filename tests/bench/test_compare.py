"""Two runs side by side: what differs is shown, what does not is hidden, and what is damaged is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bench import __main__ as command
from bench.compare import compare, run_in
from bench.core.store import Store
from bench.experiments import experiments
from bench.report.comparison import EXACT
from seqocr import cli
from seqocr.errors import InputError

COMMITTED = Path(__file__).parents[2] / "results" / "raw" / "full-bda5b154"
MACHINE = {"cpu": "A processor", "cores": 2, "threads": 2, "torch": "2.0", "device": "cpu"}
WIDE = {"COLUMNS": "120"}  # of the terminal
FACTS = {"depends": {}, "commit": "abc", "finished": "2026-01-02"}  # of a part
STRATEGIES = ("ar", "ar-speculative", "ctc")


def in_rounds(slow: float, rounds: int, seed: int) -> pd.DataFrame:
    """Seconds of three strategies at two lengths, the last strategy slowed down; the first round warms up."""
    noise = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "round": number,
            "warmup": number == 0,
            "visit": length,
            "attempt": 0,
            "counts": True,
            **{"others": 0.0, "stolen": 0.0, "core_seconds": 1.0},
            "strategy": strategy,
            "length": length,
            "phase": "decode",
            "seconds": length
            * 1e-3
            * noise.lognormal(0, 0.02)
            * (slow if strategy == "ctc" else 1)
            * (1 + 9 * (number == 0)),
        }
        for number in range(rounds + 1)
        for strategy in STRATEGIES
        for length in (1, 5)
    )


def read(wrong: int, strings: int = 400) -> pd.DataFrame:
    """Predictions, of which `ctc` has the first ones wrong."""
    return pd.DataFrame(
        {"index": i, "head": head, "text": f"{i:03}", "prediction": "" if head == "ctc" and i < wrong else f"{i:03}"}
        for head in ("ar", "ctc")
        for i in range(strings)
    )


def made(folder: Path, slow: float = 1.0, wrong: int = 10, rounds: int = 12, seed: int = 0, **machine: object) -> Store:
    """A run of two parts."""
    store = Store(folder)
    environment = {**MACHINE, **machine}
    facts = {"preset": "default", "started": "2026-01-01", "finished": "2026-01-02", "environment": environment}
    store.write_facts("run", facts)
    for part, rows in {"latency-tiny": in_rounds(slow, rounds, seed), "accuracy": read(wrong)}.items():
        store.write(part, rows)
        store.write_facts(part, {**FACTS, "depends": {"settings": {"rounds": rounds}}})
    return store


def printed(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "120"}).invoke(
        command.app, ["compare", *map(str, arguments)], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.stdout


def test_a_planted_slowdown_is_shown_and_the_rest_is_hidden(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b", slow=1.5, seed=1)
    rows, _, notes = compare(a, b)
    shown = rows[rows["differs"]]
    assert [*shown["what"]] == ["ctc, decode, length 1", "ctc, decode, length 5"]
    assert shown["change"].between(1.45, 1.55).all()
    assert ((shown["change_low"] > 1.4) & (shown["change_high"] < 1.6)).all()
    assert rows["a"][rows["quantity"] == "seconds"].tolist() == pytest.approx([1e-3, 5e-3] * 3, rel=0.02)
    assert notes == []
    text = printed(tmp_path / "a", tmp_path / "b")
    assert "ctc, decode, length 5" in text
    assert "ar, decode" not in text
    assert "8 quantities: 2 differ at the 5 % level, 6 do not" in text
    assert "one session" in text


def test_all_shows_every_row_and_the_file_has_them(tmp_path):
    made(tmp_path / "a"), made(tmp_path / "b", slow=1.5, seed=1)
    text = printed(tmp_path / "a", tmp_path / "b", "--all", "--out", tmp_path / "rows.csv")
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert all(what in text for what in rows["what"])
    assert len(rows) == 8
    assert rows["differs"].sum() == 2


def test_nothing_differs_from_itself(tmp_path):
    run = made(tmp_path / "a")
    rows, _, notes = compare(run, run)
    assert not rows["differs"].any()
    assert (rows["change"] == np.where(rows["quantity"] == EXACT, 0, 1)).all()
    assert notes == []
    assert "B / A" not in printed(tmp_path / "a", tmp_path / "a")


@pytest.mark.parametrize(("wrong", "differs"), [(4, False), (12, True)])
def test_the_same_lines_are_compared_as_pairs_as_mcnemar_says(tmp_path, wrong, differs):
    """Four lines that only one run reads right are p = 0.125, though the score interval has no zero."""
    rows, *_ = compare(made(tmp_path / "a", wrong=0), made(tmp_path / "b", wrong=wrong))
    row = rows[(rows["what"] == "ctc") & (rows["quantity"] == EXACT)].iloc[0]
    assert row["change"] == pytest.approx(-wrong / 400)
    assert row["change_high"] < 0
    assert row["differs"] == differs


def test_other_lines_are_compared_unpaired(tmp_path):
    a, b = made(tmp_path / "a", wrong=100), made(tmp_path / "b", wrong=120)
    other = read(120)
    b.write("accuracy", other.assign(**{name: "9" + other[name] for name in ("text", "prediction")}))
    rows, *_ = compare(a, b)
    row = rows.set_index("what").loc["ctc"]
    assert (row["a"], row["b"], row["change"]) == pytest.approx((0.75, 0.7, -0.05))
    assert not row["differs"]
    assert compare(a, made(tmp_path / "c", wrong=120))[0].set_index("what").loc["ctc", "differs"]


def test_names_of_earlier_versions_are_those_of_today(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b", slow=1.5, seed=1)
    old = b.read("latency-tiny").replace({"ar-speculative": "ar-" + "verified"}).rename(columns={"strategy": "way"})
    b.write("latency-tiny", old)
    rows, *_ = compare(a, b)
    assert len(rows) == 8
    assert rows[rows["differs"]]["what"].str.startswith("ctc, decode").all()


def test_what_was_not_the_same_is_said(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b", rounds=3, torch="2.1", threads=1)
    b.delete("accuracy")
    for store, part in ((a, "levels-grid"), (b, "serving"), (a, "load"), (b, "load")):
        store.write(part, pd.DataFrame({"head": ["ar"], "value": [1.0], "seconds": [2]}))
        store.write_facts(part, FACTS)
    rows, _, notes = compare(a, b)
    assert notes == [
        "measured with another: threads and torch",
        "with other settings or weights: latency-tiny (rounds)",
        "only in A: accuracy and levels-grid",
        "only in B: serving",
        "not compared, measured neither in rounds nor line by line: load",
    ]
    assert not rows["differs"].any()  # three rounds tell nothing
    text = printed(tmp_path / "a", tmp_path / "b")
    assert "6 of these with fewer than six rounds" in text.replace("\n", " ")


def test_counts_are_compared_exactly(tmp_path):
    runs = [made(tmp_path / name) for name in "ab"]
    for store, passes in zip(runs, (6, 7), strict=True):
        counts = {"strategy": ["encoder", "ar", "ctc"], "length": 5, "passes": [0, passes, 1], "flops": [10, 20, 30]}
        store.write("costs-tiny", pd.DataFrame(counts))
        store.write_facts("costs-tiny", FACTS)
    rows, *_ = compare(*runs)
    rows = rows[rows["part"] == "costs-tiny"]
    assert len(rows) == 6
    shown = rows[rows["differs"]][["what", "quantity", "a", "b"]]
    assert shown.to_numpy().tolist() == [["ar, length 5", "passes", 6, 7]]


def test_of_a_results_folder_the_run_finished_last_is_taken(tmp_path):
    first, last = (made(tmp_path / "raw" / name) for name in ("smoke-1", "smoke-2"))
    first.add_facts("run", finished="2025-01-01")
    assert run_in(tmp_path).folder == last.folder
    assert run_in(first.folder).folder == first.folder


def damaged_table(folder: Path, position: int = 200) -> None:
    path = folder / "accuracy.csv.gz"
    content = bytearray(path.read_bytes())
    content[position : position + 40] = bytes(byte ^ 255 for byte in content[position : position + 40])
    path.write_bytes(content)


def damaged_flag(folder: Path) -> None:
    store = Store(folder)
    store.write("latency-tiny", store.read("latency-tiny").assign(warmup="perhaps"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "is no run"),
        (lambda folder: (folder / "run.json").unlink(), "is no run"),
        (lambda folder: (folder / "run.json").write_text("{"), "run.json cannot be read"),
        (lambda folder: (folder / "run.json").write_text("[1]"), "run.json cannot be read"),
        (lambda folder: (folder / "run.json").write_text("{}"), "names no machine"),
        (lambda folder: (folder / "accuracy.csv.gz").unlink(), "accuracy.csv.gz is missing"),
        (lambda folder: (folder / "accuracy.csv.gz").write_bytes(b""), "accuracy.csv.gz cannot be read"),
        (damaged_table, "accuracy.csv.gz cannot be read"),
        (damaged_flag, "has a warmup that is neither True nor False"),
    ],
)
def test_damaged_and_missing_runs_are_one_line_and_exit_code_2(tmp_path, capsys, damage, said):
    made(tmp_path / "a"), made(tmp_path / "b")
    damage(tmp_path / "b")
    for arguments in (["a", "b"], ["b", "a"]):
        with pytest.raises(SystemExit) as stopped:
            cli.run(lambda: command.app(["compare", *(str(tmp_path / name) for name in arguments)]))  # noqa: B023
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert said in error
        assert error.count("\n") == 1


def test_runs_with_nothing_in_common_cannot_be_compared(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b")
    a.delete("accuracy")
    b.delete("latency-tiny")
    with pytest.raises(InputError, match="have no quantity in common"):
        compare(a, b)


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    """Some parts of the committed run."""
    folder = tmp_path_factory.mktemp("committed")
    for pattern in ("run.json", "accuracy.*", "drafts.*", "real.*", "start.*", "throughput-tiny-28x140.*"):
        for path in COMMITTED.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    Store(folder).finish_run("2026-01-01")
    return folder


def test_a_copy_of_the_committed_run_with_a_strategy_scaled(parts, tmp_path):
    shutil.copytree(parts, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    rows = copy.read("drafts")
    copy.write("drafts", rows.assign(seconds=rows["seconds"].where(rows["strategy"] != "ctc", rows["seconds"] * 1.5)))
    copy.add_facts("drafts", sums=copy.sums("drafts"))
    found, *_ = compare(run_in(parts), run_in(copy.folder))
    assert set(found["quantity"]) == {"seconds", EXACT, "first", "megabytes", "alone", "rate"}
    shown = found[found["differs"]]
    assert [*shown["what"]] == ["ctc, grid", "ctc, jitter", "ctc, wild"]
    assert shown["change"].tolist() == pytest.approx([1.5] * 3, rel=1e-5)


def test_names_that_experiments_declare_tell_committed_rows_apart():
    """Were a column left out, times of different things would be mixed."""
    store, declared = Store(COMMITTED), {each.name: each for each in experiments()}
    compared = 0
    for part in filter(store.has, store.parts()):
        rows, names = store.read(part), declared[part.split("-")[0]].names
        keys = [name for name in (*names, "round", "sample", "attempt", "repeat", "index") if name in rows]
        if {"round", "index"} & set(keys):
            compared += 1
            repeats = 1 if "repeat" in rows else store.facts(part)["depends"]["settings"].get("repeats", 1)
            assert rows.groupby(keys).size().max() == repeats, part
    assert compared >= 20
