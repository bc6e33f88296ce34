"""The preset again and again: verdicts that flip are counted, and what is not timed is measured once."""

from __future__ import annotations

import sys
import time

import pandas as pd
import psutil
import pytest

from bench import repeat
from bench.core.experiment import PRESETS
from bench.core.store import Store
from bench.core.templating import prose
from bench.experiments import experiments
from bench.report import repeats
from bench.report.build import everything
from seqocr.errors import InputError
from tests.bench.study import test_family_estimates as planted_family
from tests.synthetic import finished_run

ROWS = [
    *((run, "a", "flat", True, value) for run, value in enumerate((1.0, 1.1, 0.95))),
    *((run, "b", verdict, True, 2.0) for run, verdict in enumerate(("faster", "slower", "faster"))),
    *((run, "c", "grows", False, value) for run, value in enumerate((1.0, 9.0, 1.0))),
]


def summary() -> repeats.Summary:
    rows = pd.DataFrame(ROWS, columns=["run", "claim", "verdict", "ratio", "estimate"])
    return repeats.Summary(rows, {"preset": "default", "times": 3, "disturb": True, "commit": "abc"})


def test_flips_and_movements_are_counted_against_what_is_usual():
    table = summary().claims().set_index("claim")
    assert table["flipped"].to_dict() == {"a": 0, "b": 1, "c": 0}
    assert table["verdict"].to_dict() == {"a": "flat", "b": "faster", "c": "grows"}
    assert table.loc["a", "moved"] == pytest.approx(0.1)
    assert pd.isna(table.loc["c", "moved"])  # no ratio
    assert summary().flipped == 1
    assert summary().moved == pytest.approx(0.1)
    said = prose(
        "steadiness", repeated=summary(), effort={"samples": 9, "again": 0, "disturbed": 0}, first_screen=summary()
    )
    assert "The times of the family of encoders" in said
    assert "measured 3 times: 1 of 9 verdicts flipped, and ratios moved by 10.0 % at most." in said
    assert "1 of 9 verdicts on times flipped. Ratios moved by 10 % at most." in said
    assert summary().table()["claim"].tolist() == ["b", "a"]


def test_every_claim_of_the_first_screen_has_a_name_of_its_own(tmp_path):
    results = everything(finished_run(tmp_path))
    found = [claim for each in experiments() if each.name in results for claim in each.claims(results[each.name])]
    assert len({claim.name for claim in found}) == len(found) > 5
    assert {claim.verdict for claim in found} >= {"flat", "faster", "grows", "undecided"}


def test_runs_go_on_and_share_what_is_not_timed(tmp_path, monkeypatch):
    measured, asked = [], []

    def run(preset, bench, only):
        asked.append(only)
        if not bench.store.facts("run").get("finished"):
            had = {path.name for path in bench.store.folder.iterdir()}
            measured.append("accuracy.csv.gz" in had)
            assert not any(name.startswith("latency") for name in had)
            made = finished_run(tmp_path / f"made-{len(measured)}")
            for path in made.folder.iterdir():
                (bench.store.folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(repeat, "run", run)
    out = tmp_path / "results"
    path = repeat.repeat("smoke", 3, False, out)
    assert measured == [False, True, True]
    rows = pd.read_csv(path)
    assert not rows["claim"].str.contains("accuracy").any()  # which is copied, and cannot flip
    assert rows.groupby("claim").size().unique().tolist() == [3]
    again = repeats.summary(out)
    assert again.flipped == 0
    assert again.about["times"] == 3
    repeat.repeat("smoke", 4, False, out)
    assert len(measured) == 4  # the first three stand
    repeat.repeat("smoke", 2, True, out)
    assert len(measured) == 6  # runs under a load are others
    with pytest.raises(InputError, match="unknown bench preset 'huge'"):
        repeat.repeat("huge", 2, False, out)
    with pytest.raises(InputError, match="preset 'smoke' times nothing of 'baselines'"):
        repeat.repeat("smoke", 2, False, out, only="baselines")
    assert "smoke" in PRESETS
    assert repeats.summary(tmp_path / "nothing") is None
    assert set(asked) == {()}
    path = repeat.repeat("smoke", 2, False, out, only="latency")
    assert (path.parent, asked[-1]) == (out / "repeat-latency", ("latency",))
    assert {*pd.read_csv(path)["claim"]} <= {*rows["claim"]}
    assert Store.latest(out / "repeat" / "quiet" / "00").facts("run")["finished"]


def test_the_load_comes_goes_and_ends_with_the_runs():
    before = psutil.Process().children()  # other tests may have left some
    with repeat._load():
        after = [p for p in psutil.Process().children() if p not in before]
        (child,) = [p for p in after if "resource_tracker" not in " ".join(p.cmdline())]
        assert child.is_running()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_the_load_ends_with_the_process_that_started_it_even_if_that_is_killed():
    script = "import time\nfrom bench import repeat\nrepeat._SECONDS = (0.0, 0.1)\nwith repeat._load(): time.sleep(60)"
    parent = psutil.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not (load := [p for p in parent.children() if "resource_tracker" not in " ".join(p.cmdline())]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(load, timeout=30)
    assert alive == []


def test_the_family_is_timed_again_and_goes_on_where_it_was(tmp_path, monkeypatch):
    calls = []

    def time_encoders(size, kept, study):
        calls.append(study.folder.name)
        if not study.has("family-times"):
            study.write("family-times", planted_family.times())
            study.write_facts("family-times", {"96x2": {"commit": "abc"}})

    monkeypatch.setattr("bench.repeat.time_encoders", time_encoders)
    with pytest.raises(InputError, match="python -m bench family"):
        repeat.repeat_family(2, tmp_path, tmp_path / "runs")
    study = Store(tmp_path / "study")
    study.write("family", planted_family.rows())
    study.write_facts("family", {"trainings": {}, "of": 10})
    repeat.repeat_family(2, tmp_path, tmp_path / "runs")
    assert calls == ["00", "01"]
    found = repeats.summary(tmp_path / repeats.FIRST_SCREEN)
    assert (found.flipped, found.moved, found.about["commit"]) == (0, 0, "abc")
    assert set(found.rows["run"]) == {0, 1}
