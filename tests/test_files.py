from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from seqocr import environment
from seqocr.files import replacing, write_csv, write_json


def test_replacing_puts_new_content_in_place_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_old_content_and_no_temporary(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the ne")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "plot.svg") as temporary:
        assert temporary.suffix == ".svg"
        temporary.write_text("")


def test_json_and_csv_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"∅": [1, 2]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"∅": [1, 2]}
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1, 2]}))
    assert (tmp_path / "a.csv").read_text() == "x\n1\n2\n"


def test_environment_is_json_and_names_the_versions() -> None:
    facts = json.loads(json.dumps(environment.describe()))
    assert facts["torch"]
    assert facts["threads"] >= 1


def test_commit_comes_from_the_environment_where_there_is_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SEQOCR_COMMIT", "abc123")
    assert environment.commit() == "abc123"
