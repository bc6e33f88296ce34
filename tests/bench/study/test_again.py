"""What `bench verify` reads again of the study's trainings: as committed nothing differs, and changes are found."""

import shutil
from pathlib import Path

import pytest

from bench.core.store import Store
from bench.study.again import again

_STUDY = Path(__file__).parents[3] / "results" / "study"


@pytest.fixture
def study(tmp_path: Path) -> Store:
    shutil.copytree(_STUDY, tmp_path / "study")
    return Store(tmp_path / "study")


def test_settings_and_readings_that_differ_are_found(study: Store) -> None:
    untouched = again(study)
    assert set(untouched) == {"curves", "family", "crnn", "folds"}
    for table, found in untouched.items():
        assert not found.settings, table
        assert found.differ <= 3, table  # sums in another order on another processor

    rows = study.read("family")
    sampled = (rows["encoder"] == "numbers") & (rows["set"] == "repeats") & (rows["index"] < 40)
    rows.loc[sampled, "prediction"] = "0 0 0 0 0 0 0"
    study.write("family", rows)
    rows = study.read("curves")
    oracle = (rows["training"] == "oracles") & (rows["damage"] == "erased last 40%")
    rows.loc[oracle, "right"] = "00" * 125
    study.write("curves", rows)
    study.add_facts("folds", depends={**study.facts("folds")["depends"], "weights": "other"})
    study.add_facts("crnn", strings_seen=1)
    found = again(study)
    assert found["family"].differ == 3 * 40
    assert found["family"].of == 2 * 3 * 40
    assert found["curves"].differ > 500
    assert found["folds"].settings == ["weights"]
    assert found["crnn"].settings == ["strings seen"]
