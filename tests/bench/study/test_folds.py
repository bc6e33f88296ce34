"""Cross-validation of real lines: how lines are dealt out, what is read by what, and statistics of planted folds."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.store import Store
from bench.experiments.folds import EXPERIMENT, FoldResults, corrected_error
from bench.study import folds
from bench.study.folds import ADAPTED, SHIPPED, parts_of
from seqocr.data.folder import LineFolder
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer
from seqocr.statistics import BETTER, SAME
from seqocr.train.config import VALIDATION_SHARE
from tests.conftest import own_lines


@given(texts=st.lists(st.text("0123", min_size=1, max_size=2), min_size=5, max_size=60), seed=st.integers(0, 9))
def test_identical_texts_are_in_one_part_and_parts_are_even(texts: list[str], seed: int) -> None:
    places = parts_of(texts, seed)
    of_text = defaultdict(set)
    for text, place in zip(texts, places, strict=True):
        of_text[text].add(place)
    assert all(len(there) == 1 for there in of_text.values())
    sizes = [places.count(part) for part in range(folds.PARTS)]
    assert max(sizes) - min(sizes) <= max(Counter(texts).values())


def test_seeds_deal_lines_out_otherwise() -> None:
    texts = [str(i) for i in range(50)]
    assert parts_of(texts, 0) == parts_of(texts, 0) != parts_of(texts, 1)


class OneThread:
    """Where a real engine has processes."""

    @contextlib.contextmanager
    def workers(self, folder: Path) -> Iterator[Executor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool


def test_every_line_is_read_once_a_seed_by_weights_that_never_saw_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[set[str]] = []

    def adapt(recognizer: Recognizer, lines: LineFolder, out: Path, **_: Any) -> Recognizer:
        learned.append({line.text for line in lines.lines})
        return recognizer

    monkeypatch.setattr(folds, "fine_tune", adapt)
    folder = own_lines(tmp_path / "lines", 12)
    engine: Any = OneThread()

    def run() -> Store:
        return Store(folds.run([folder], tmp_path / "results", tmp_path / "runs", engine, seeds=1))

    rows = run().read("folds")
    adapted = rows[rows["phase"] == ADAPTED]
    assert adapted.groupby("head")["name"].nunique().unique().tolist() == [12]
    assert adapted.groupby(["head", "name"]).size().unique().tolist() == [1]
    assert rows[rows["phase"] == SHIPPED].groupby("head").size().unique().tolist() == [12]
    for part, seen in enumerate(learned):
        assert not seen & set(adapted.loc[adapted["part"] == part, "text"])
    assert len(learned) == folds.PARTS
    pd.testing.assert_frame_equal(run().read("folds"), rows)
    assert len(learned) == folds.PARTS
    other = own_lines(tmp_path / "others", 10)
    both = Store(folds.run([other], tmp_path / "results", tmp_path / "runs", engine, seeds=1)).read("folds")
    assert both["set"].value_counts().to_dict() == {"lines": len(rows), "others": 2 * 10 * rows["head"].nunique()}
    (folder / "metadata.csv").write_text((folder / "metadata.csv").read_text().rsplit("\n", 2)[0] + "\n")
    with pytest.raises(InputError, match="other lines called lines"):
        run()
    with pytest.raises(InputError, match="two folders have one name"):
        folds.run([folder, folder], tmp_path / "results", tmp_path / "runs", engine)


def planted() -> FoldResults:
    """Of 100 lines a part, `ar` reads 90, `ctc` the same ones, `parallel` 70, with some scatter over folds."""
    scatter, rows = np.random.default_rng(0), list[dict[str, Any]]()
    for seed in range(3):
        for part in range(5):
            more = int(scatter.integers(-2, 3))
            for head, right in {
                "ar": 90 + more,
                "ctc": 90 + more,
                "parallel": 70 + int(scatter.integers(-2, 3)),
            }.items():
                of = {"set": "cheques", "phase": ADAPTED, "seed": seed, "part": part, "head": head, "text": "1"}
                rows += [{**of, "name": str(i), "prediction": "1" if i < right else "2"} for i in range(100)]
    for head in ("ar", "ctc", "parallel"):
        of = {"set": "cheques", "phase": SHIPPED, "seed": -1, "part": -1, "head": head, "text": "1"}
        rows += [{**of, "name": str(i), "prediction": "1" if i < 60 else "2"} for i in range(100)]
    return FoldResults(pd.DataFrame(rows), {"sets": {"cheques": {"readings": 16, "of": 16}}})


def test_a_mean_over_folds_is_less_certain_than_one_over_trainings_of_their_own() -> None:
    values = pd.Series([0.1, 0.2, 0.3, 0.2])
    read_over_learned = 0.2 / (0.8 * (1 - VALIDATION_SHARE))
    assert corrected_error(values) == pytest.approx(np.sqrt((1 / 4 + read_over_learned) * values.var()))
    assert corrected_error(values) > values.std() / 2


def test_heads_are_compared_over_folds() -> None:
    results = planted()
    assert results.shipped("cheques", "ar").estimate == 0.6
    adapted = results.adapted("cheques", "ar")
    assert adapted is not None
    assert adapted.n == 15
    assert adapted.estimate == pytest.approx(0.9, abs=0.01)
    words = {(phase, other): verdict.word for _, phase, other, _, verdict in results.comparisons}
    assert words[ADAPTED, "parallel"] == BETTER
    assert words[ADAPTED, "ctc"] == SAME
    assert {phase for phase, _ in words} == {SHIPPED, ADAPTED}
    (section,) = EXPERIMENT.sections(results, {})
    assert "Not all parts" not in section.text
    assert section.table is not None
    assert section.table["head"].tolist() == ["`ar`", "`ctc`", "`parallel`"]
    assert {claim.verdict for claim in EXPERIMENT.claims(results)} >= {BETTER, SAME}
    assert list(EXPERIMENT.tables(results)["folds"]["head"]) == ["ar", "ctc", "parallel"]
    assert (results.whole, results.seeds) == (["cheques"], 3)
    ((least, most),) = results.adapted_range.values()
    assert (least, most) == (pytest.approx(0.7, abs=0.01), pytest.approx(0.9, abs=0.01))
    ((name, other, points),) = results.shown
    assert (name, other) == ("cheques", "parallel")
    assert points.startswith(("+19", "+20"))
    only: Any = FoldResults(
        results.rows[results.rows["phase"] == SHIPPED], {"sets": {"cheques": {"readings": 1, "of": 16}}}
    )
    (section,) = EXPERIMENT.sections(only, {})
    assert "**Not all parts of `cheques` have been read.**" in section.text
    assert {phase for _, phase, *_ in only.comparisons} == {SHIPPED}
    assert (only.whole, only.adapted_range, only.shown) == ([], {}, [])
