"""How exact match rises with lines learned from: what is learned from and read, and known results."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from bench.core.experiment import Bench
from bench.core.store import Store
from bench.experiments import adaptation
from bench.workloads.held_out import HELD_OUT
from seqocr.data.folder import LineFolder
from seqocr.data.sources import datasets as sources
from seqocr.models.checkpoint import save
from seqocr.statistics import proportion
from seqocr.train import recipe
from tests.conftest import barred, lively, own_lines, small_recognizer
from tests.measured import measured

EXPERIMENT = adaptation.EXPERIMENT
SCHEDULE = {"steps": 2, "learning_rate": 1e-3, "warmup": 1, "validate_every": 1, "batch_size": 6}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(sources, "load_digits", lambda split, *_: barred(400 if split == "train" else 200, split))
    monkeypatch.setattr(recipe, "FINE_TUNING", {**recipe.FINE_TUNING, **SCHEDULE})
    monkeypatch.setattr(adaptation, "_SIZES", (20, 28, 500))
    save(lively(small_recognizer(max_length=3), scale=0.4), tmp_path / "weights")  # type: ignore[arg-type]
    lines = LineFolder(own_lines(tmp_path / "cheques", 40))
    return Bench(Store(tmp_path / "raw" / "run"), default=tmp_path / "weights", real=lines)


def test_more_and_more_lines_are_learned_from_and_the_same_others_are_read(bench: Bench, monkeypatch) -> None:
    (part,) = EXPERIMENT.parts("full", bench)
    assert part.settings.sizes == (20, 28)  # of 40 lines, too few to do without their texts
    tune, seen = adaptation.fine_tune, []
    monkeypatch.setattr(
        adaptation, "fine_tune", lambda r, lines, *a, **more: (seen.append(lines), tune(r, lines, *a, **more))[1]
    )
    measured(EXPERIMENT, part, bench)
    first, second = ({line.name for line in lines.lines} for lines in seen)
    assert (len(first), len(second)) == (20, 28)
    assert first < second
    held_out = bench.real.split(HELD_OUT, "test")[1]
    assert not second & {line.name for line in held_out.lines}
    found = EXPERIMENT.results(bench.store)
    for _, read in found.read.groupby(["learned", "head"]):
        assert read["text"].tolist() == [line.text for line in held_out.lines]
    assert found.heads == ["ar", "parallel", "ctc"]
    EXPERIMENT.measure(part, bench, None)  # all there: nothing is done again


def test_the_section_has_a_row_for_each_number_of_lines() -> None:
    rows = [
        {"learned": learned, "head": head, "index": i, "text": "12", "prediction": "12" if i < right else "1"}
        for learned, right in ((30, 60), (300, 80), (0, 70))
        for head in ("ar", "ctc")
        for i in range(100)
    ]
    found = adaptation.Results({"lines": 857}, pd.DataFrame(rows))
    (section,) = EXPERIMENT.sections(found, {})
    assert section.table["labelled lines"].tolist() == ["30", "300", "857, texts unused"]
    assert section.table["`ctc`"].tolist()[1].startswith("80.0 %")
    assert EXPERIMENT.plots(found, {})["adapting"]().axes
    assert EXPERIMENT.tables(found)["adapting"]["exact"].tolist()[:2] == [0.6, 0.6]


def test_rows_of_other_real_lines_are_not_put_beside_these() -> None:
    rows = [{"learned": 30, "head": "ar", "index": i, "text": "12", "prediction": "12"} for i in range(100)]
    found = adaptation.Results({"lines": 857}, pd.DataFrame(rows))

    def shown(learned: int, held_out: int) -> list[str]:
        about = {"learned": learned, "held_out": held_out}
        real = SimpleNamespace(about=about, exact=lambda head, phase: proportion(1, 2))
        return list(EXPERIMENT.sections(found, {"real": real})[0].table["labelled lines"])

    assert shown(857, 100) == ["none, as shipped", "30", "857"]
    assert shown(1000, 100) == shown(857, 90) == ["30"]
