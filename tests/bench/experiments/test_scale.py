"""What is measured at scale: that a lost, doubled or different row would be seen, that costs are found again, and that
the committed page is of the committed measurements."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core import experiment
from bench.experiments.scale import archives as lines
from bench.experiments.scale import data_loading, object_store
from bench.experiments.scale import sections as page
from bench.experiments.scale.measure import compared, missing, run
from bench.experiments.scale.model import Cluster, Cost, Run, fitted, simulated
from seqocr.errors import InputError
from seqocr.files import read_json
from seqocr.train.config import Start, TrainConfig
from tests.batch.test_batch import EXAMPLES
from tests.conftest import barred, small_recognizer

COST = Cost(start=2.0, overhead=0.05, line=0.006)
RESULTS = Path(experiment.__file__).parents[2] / "results"


# Rows of a run in which nodes died.


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder.mkdir()
    for start in range(0, len(rows), 3):
        table = pa.Table.from_pylist(rows[start : start + 3])
        parquet.write_table(table, folder / f"part-{start:05d}.parquet")
    return folder


ROWS = [{"file_name": f"{i:03d}.png", "text": str(i)} for i in range(10)]
OTHER = {"file_name": "004.png", "text": "9"}


@pytest.mark.parametrize(
    ("change", "lost", "doubled", "different"),
    [
        (lambda rows: rows, 0, 0, 0),
        (lambda rows: rows[:-1], 1, 0, 1),
        (lambda rows: [*rows, rows[0]], 0, 1, 1),
        (lambda rows: [*rows[:4], OTHER, *rows[5:]], 0, 0, 1),
        (lambda rows: [rows[1], rows[0], *rows[2:]], 0, 0, 1),
    ],
    ids=["none", "a lost row", "a doubled row", "another text", "another order"],
)
def test_what_went_wrong_is_counted(
    tmp_path: Path, change: Callable[[Any], Any], lost: int, doubled: int, different: int
) -> None:
    found = compared(written(tmp_path / "a", ROWS), written(tmp_path / "b", change(ROWS)), kills=2, seconds=1.0)
    assert (found.lost, found.doubled, found.different) == (lost, doubled, different)
    assert (found.lines, found.rows, found.kills) == (10, len(change(ROWS)), 2)


# The model.


def test_costs_are_found_again() -> None:
    sizes = [(100, 10, 1), (500, 1, 1), (500, 50, 2), (1000, 4, 2)]
    found = fitted([Run(*size, COST.seconds(*size)) for size in sizes])
    assert found.start == pytest.approx(COST.start)
    assert found.overhead == pytest.approx(COST.overhead)
    assert found.line == pytest.approx(COST.line)


def test_a_cluster_that_never_dies_takes_what_the_formula_says() -> None:
    pytest.importorskip("simpy", reason="the extra 'scale' is not installed")
    found = simulated(COST, 100_000, 500, Cluster(machines=2, cores=2, lives=1e12, away=60.0), seed=0)
    assert found.seconds == pytest.approx(COST.seconds(100_000, 500, 4), rel=0.02)
    assert (found.deaths, found.again) == (0, 0)


def test_machines_that_die_cost_time_and_shards_and_end_nothing() -> None:
    pytest.importorskip("simpy", reason="the extra 'scale' is not installed")
    without = simulated(COST, 100_000, 500, Cluster(2, 2, 1e12, 60.0), seed=0)
    found = simulated(COST, 100_000, 500, Cluster(2, 2, 50.0, 60.0), seed=0)
    assert found.deaths > 0
    assert 0 < found.again <= 2 * found.deaths
    assert found.seconds > without.seconds


# Lines.


def test_lines_are_drawn_once_and_then_repeated_under_other_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "load_digits_or_validation", lambda split: barred(40, split))
    for name, value in {"A_TAR": 20, "DRAWN": 2, "BROKEN_EVERY": 7}.items():
        monkeypatch.setattr(lines, name, value)
    tars = sorted(lines.made(tmp_path, 60).iterdir())
    before = [path.stat().st_mtime_ns for path in tars]
    found = []
    for path in tars:
        with tarfile.open(path) as tar:
            found.append({member.name: tar.extractfile(member).read() for member in tar})  # type: ignore[union-attr]
    assert [len(each) for each in found] == [20, 20, 20]
    assert len({name for each in found for name in each}) == 60
    assert list(found[2].values()) == list(found[0].values()) != list(found[1].values())
    ends = [content.endswith(b"IEND\xaeB`\x82") for content in found[0].values()]
    assert [i + 1 for i, whole in enumerate(ends) if not whole] == [7, 14]
    lines.made(tmp_path, 60)
    assert [path.stat().st_mtime_ns for path in tars] == before


# A store.


def test_a_store_is_read_as_a_folder_is(tmp_path: Path) -> None:
    for module in ("s3fs", "moto.server", "pyarrow"):
        pytest.importorskip(module, reason="`make test-scale` installs it")
    kept = tmp_path / "images"
    kept.mkdir()
    (kept / "7.png").write_bytes(b"no image")
    for i in range(7):
        (kept / f"{i}.png").write_bytes(EXAMPLES[i % len(EXAMPLES)].read_bytes())
    before = dict(os.environ)
    (found,) = object_store.measured({"images": sorted(kept.iterdir())}, tmp_path, "tiny", "parallel")
    same = compared(tmp_path / "here-images", tmp_path / "store-images", 0, 1.0, words=False)
    assert (found["lines"], same.lines, same.rows) == (8, 8, 8)
    assert (same.lost, same.doubled, same.different) == (0, 0, 0)
    assert dict(os.environ) == before


# Drawing beside learning.


def test_every_way_is_measured_in_turn_and_a_device_waits_for_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(length=(1, 3), batch_size=8, precision="float32")
    monkeypatch.setattr(data_loading, "TRAININGS", {"small": (Start(), config)})
    monkeypatch.setattr(data_loading, "initial_recognizer", lambda *_: small_recognizer())
    monkeypatch.setattr(data_loading, "load_splits", lambda: (barred(60), barred(60, "validation")))
    steps = []
    learn = data_loading.Trainer.train_step
    monkeypatch.setattr(data_loading.Trainer, "train_step", lambda run, shards: steps.append(learn(run, shards)))
    found = list(data_loading.measured(tmp_path, rounds=2, seconds=0.05))
    assert [(each.what, each.workers) for each in found] == 2 * data_loading.TURNS
    # Learned: what is counted and what comes before it, and nowhere else.
    learned = [each for each in found if each.what in (data_loading.LEARNING, data_loading.BOTH)]
    assert len(steps) == sum(each.strings // 8 + 2 + 2 * each.workers for each in learned)
    for first in (0, len(data_loading.TURNS)):
        drawing, *others = found[first : first + len(data_loading.TURNS)]
        for each in others:
            if each.what == data_loading.DEVICE:
                assert each.seconds / each.strings >= drawing.seconds / drawing.strings
    assert set(data_loading.rates([vars(each) for each in found])) == {("small", *turn) for turn in data_loading.TURNS}
    assert list(tmp_path.iterdir()) == []


# The page.


def test_the_committed_page_is_what_the_committed_measurements_say() -> None:
    found = read_json(RESULTS / "scale.json")
    assert page.page(found) == (RESULTS / "scale.md").read_text(encoding="utf-8")
    assert found["killed"]["kills"] >= 20
    assert not found["environment"]["commit"].endswith("+"), "measured with changes that are not committed"


def test_measuring_that_was_cut_short_has_a_page_of_what_there_is() -> None:
    found = read_json(RESULTS / "scale.json")
    some = page.page({name: found[name] for name in ("environment", "lines", "memory", "killed")})
    assert [line for line in some.splitlines() if line.startswith("## ")] == ["## Nodes that die", "## Memory"]


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.experiments.scale.measure.find_spec", lambda name: None if name == "simpy" else object())
    assert missing() == "simpy"
    with pytest.raises(InputError, match=r"simpy not installed: pip install 'seqocr\[scale\]'"):
        run(tmp_path, 20_000, tmp_path)
