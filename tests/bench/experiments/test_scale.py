"""Measurements at scale: a lost, doubled or different row is counted, costs are found again, sections need no more than
there is."""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.core import experiment
from bench.core.store import Store
from bench.experiments.scale import EXPERIMENT, archives, data_loading
from bench.experiments.scale.batch_inference import compare_rows, compare_with_store
from bench.experiments.scale.model import Cost, Run, fit_cost, simulate
from seqocr.train.config import Start, TrainConfig
from tests.batch.test_batch import EXAMPLES
from tests.conftest import barred, small_recognizer

COST = Cost(start=2.0, overhead=0.05, line=0.006)
STORE = Store(Path(experiment.__file__).parents[2] / "results" / "raw" / "full-bda5b154")


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
    found = compare_rows(written(tmp_path / "a", ROWS), written(tmp_path / "b", change(ROWS)))
    assert list(found.values()) == [10, len(change(ROWS)), lost, doubled, different]


# The model.


def test_costs_are_found_again() -> None:
    sizes = [(100, 10, 1), (500, 1, 1), (500, 50, 2), (1000, 4, 2)]
    runs = pd.DataFrame(vars(Run(*size, COST.seconds(*size))) for size in sizes)
    found = fit_cost(pd.concat([runs.assign(fitted=True), runs.assign(fitted=False, seconds=1e3)]))
    assert found.start == pytest.approx(COST.start)
    assert found.overhead == pytest.approx(COST.overhead)
    assert found.line == pytest.approx(COST.line)


def run(lives: float) -> dict[str, float]:
    """100,000 lines in 500 shards, on two machines of two cores."""
    pytest.importorskip("simpy", reason="the extra 'scale' is not installed")
    return simulate(COST, 100_000, 500, machines=2, cores=2, lives=lives, seed=0)


def test_a_cluster_that_never_dies_takes_what_the_formula_says() -> None:
    found = run(lives=1e12)
    assert found["hours"] * 3600 == pytest.approx(COST.seconds(100_000, 500, 4), rel=0.02)
    assert (found["deaths"], found["again"]) == (0, 0)


def test_machines_that_die_cost_time_and_shards_and_end_nothing() -> None:
    found = run(lives=50.0)
    assert found["deaths"] > 0
    assert 0 < found["again"] <= 2 * found["deaths"]
    assert found["hours"] > run(lives=1e12)["hours"]


# Lines.


def test_lines_are_drawn_once_and_then_repeated_under_other_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "load_digits_or_validation", lambda split: barred(40, split))
    for name, value in {"TAR_LINES": 20, "DISTINCT": 2, "TRUNCATED_EVERY": 7}.items():
        monkeypatch.setattr(archives, name, value)
    tars = sorted(archives.make_archives(tmp_path, 60).iterdir())
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
    archives.make_archives(tmp_path, 60)
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
    images = {"images": sorted(kept.iterdir())}
    (found,) = compare_with_store(images, tmp_path)
    assert [found[name] for name in ("lines", "lost", "doubled", "different")] == [8, 0, 0, 0]
    assert dict(os.environ) == before


# Drawing beside learning.


def test_every_turn_is_measured_and_a_device_waits_for_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(length=(1, 3), batch_size=8, precision="float32")
    monkeypatch.setattr(data_loading, "TRAININGS", {"small": (Start(), config)})
    monkeypatch.setattr(data_loading, "initial_recognizer", lambda *_: small_recognizer())
    monkeypatch.setattr(data_loading, "load_splits", lambda: (barred(60), barred(60, "validation")))
    steps = []
    learn = data_loading.Trainer.train_step
    monkeypatch.setattr(data_loading.Trainer, "train_step", lambda run, shards: steps.append(learn(run, shards)))
    monkeypatch.setattr(data_loading, "_SECONDS", 0.05)
    trainers = data_loading.trainers(tmp_path)
    drawing, *others = found = list(data_loading.measure_turns(trainers, "small", random.Random(0)))
    assert [(each["what"], each["workers"]) for each in found] == data_loading.TURNS
    # Learned: what is counted and what comes before it, and nowhere else.
    learned = [each for each in found if each["what"] in (data_loading.LEARNING, data_loading.BOTH)]
    assert len(steps) == sum(each["strings"] // 8 + 2 + 2 * each["workers"] for each in learned)
    for each in others:
        if each["what"] == data_loading.DEVICE:
            assert each["seconds"] / each["strings"] >= drawing["seconds"] / drawing["strings"]
    assert list(tmp_path.iterdir()) == []


# The sections.


def test_the_committed_measurements_lost_nothing_and_say_so() -> None:
    found = EXPERIMENT.results(STORE)
    assert found is not None
    (killed,) = found.tables["killed"].to_dict("records")
    assert killed["kills"] >= 20
    assert (killed["lost"], killed["doubled"], killed["different"]) == (0, 0, 0)
    inference, many, loading = EXPERIMENT.sections(found, {})
    assert inference.table is not None
    assert "`tiny` on Ray, 20 nodes killed" in inference.table["what"].tolist()
    assert found.environment["commit"] in inference.text
    assert "2.8 s; predicted were 2.9 s" in many.text
    assert loading.table is not None
    assert loading.table["workers"].tolist() == [0, 1, 2]


def test_measuring_that_was_cut_short_has_sections_of_what_there_is(tmp_path: Path) -> None:
    some = Store(tmp_path)
    for name in ("run", "scale-memory"):
        some.write_facts(name, STORE.facts(name))
    some.write("scale-memory", STORE.read("scale-memory"))
    found = EXPERIMENT.results(some)
    assert found is not None
    (section,) = EXPERIMENT.sections(found, {})
    assert section.table is not None
    assert len(section.table) == 2
    assert "Ray" not in section.text
