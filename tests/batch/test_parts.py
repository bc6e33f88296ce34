"""Results on disk: what is finished is known to be whole, and of which files it was read."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec", reason="the extra 'scale' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
import pandas as pd
from pyarrow import parquet
from typer.testing import CliRunner

from seqocr.batch.parts import part_name, record_name
from seqocr.batch.runner import PLAN
from seqocr.batch.storage import absolute
from seqocr.cli.app import app
from tests.batch.test_batch import BROKEN, EXAMPLES, many_lines, rows, run


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return many_lines(tmp_path / "lines", 6)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace(path: Path) -> None:
    """By another part, which is whole, with its record."""
    other = path.with_name(part_name(1))
    path.write_bytes(other.read_bytes())
    path.with_name(record_name(0)).write_bytes(other.with_name(record_name(1)).read_bytes())


def alter(path: Path) -> None:
    """Another text, in Parquet that is whole."""
    table = parquet.read_table(path)
    text = table.column("text").to_pylist()[::-1]
    parquet.write_table(table.set_column(1, "text", [text]), path)


def forget(path: Path) -> None:
    path.with_name(record_name(0)).unlink()


def garble(path: Path) -> None:
    path.with_name(record_name(0)).write_text('{"sha256": 1')


@pytest.mark.parametrize("damage", [cut, empty, replace, alter, forget, garble])
def test_a_part_that_is_not_as_it_was_written_is_read_again(
    lines: Path, tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(lines, out)
    wanted = rows(out)
    damage(out / part_name(0))
    capsys.readouterr()
    summary = run(lines, out)
    assert (summary.before, summary.lines) == (1, 4)
    assert rows(out) == wanted
    assert ("read again" in capsys.readouterr().err) == (damage is not forget)
    assert run(lines, out).before == 2


def test_images_that_changed_under_the_same_name_are_read_again(lines: Path, tmp_path: Path) -> None:
    run(lines, tmp_path / "out")
    (lines / "0005.png").write_bytes(BROKEN)
    summary = run(lines, tmp_path / "out")
    assert (summary.before, summary.lines, summary.problems) == (1, 2, 1)
    assert [bool(row["problem"]) for row in rows(tmp_path / "out")] == [False] * 5 + [True]


def test_problems_of_earlier_runs_count(lines: Path, tmp_path: Path) -> None:
    (lines / "0000.png").write_bytes(BROKEN)
    for _ in range(2):
        assert run(lines, tmp_path / "out").problems == 1


@pytest.mark.parametrize("change", ["vanishes", "is written to", "is a folder"])
def test_an_image_that_changes_while_it_is_read_is_a_row(
    lines: Path, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqocr.batch import formats

    opened, changed = formats.open_line, lines / "0003.png"

    def meanwhile(source: Any, name: str) -> Any:
        if source != changed:
            return opened(source, name)
        if change == "is written to":
            line = opened(source, name)
            changed.write_bytes(EXAMPLES[0].read_bytes() + b" ")
            return line
        changed.unlink()
        if change == "is a folder":
            changed.mkdir()
        return opened(source, name)

    monkeypatch.setattr(formats, "open_line", meanwhile)
    run(lines, tmp_path / "out")
    assert [row["file_name"] for row in rows(tmp_path / "out") if row["problem"]] == ["0003.png"]


def test_an_image_that_vanishes_while_the_folder_is_listed_is_a_row(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat, gone = os.stat, str(lines / "0003.png")

    def meanwhile(path: Any, **options: Any) -> Any:
        if str(path) == gone:
            Path(gone).unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", meanwhile)
    run(lines, tmp_path / "out")
    assert [row["file_name"] for row in rows(tmp_path / "out") if row["problem"]] == ["0003.png"]


def test_results_are_read_as_a_folder(lines: Path, tmp_path: Path) -> None:
    run(lines, tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out")
    assert found["text"].tolist() == [row["text"] for row in rows(tmp_path / "out")]


def test_results_of_an_earlier_version_are_gone_on_with(lines: Path, tmp_path: Path) -> None:
    """It wrote `plan.json`, and no records."""
    out = tmp_path / "out"
    run(lines, out)
    wanted = rows(out)
    (out / PLAN).rename(out / "plan.json")
    for record in out.glob("_part-*"):
        record.unlink()
    cut(out / part_name(1))
    assert run(lines, out).before == 1
    assert rows(out) == wanted
    assert not (out / "plan.json").exists()
    assert run(lines, out).before == 2


def test_other_spellings_of_a_source_are_the_same(lines: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(lines)
    run(lines, tmp_path / "out")
    with contextlib.chdir(tmp_path):
        for source in ("lines", f"{lines}/", "link", "./link/", "out/../lines", f"file://{lines}"):
            assert run(source, "link/../out/").before == 2
    assert absolute("memory://lines/") == absolute("memory://lines") == "memory://lines"


def test_parts_are_on_disk_before_their_names(lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))
    run(lines, tmp_path / "out", size=100)
    names = [path.name for path in synced]
    part = names.index(next(name for name in names if name.endswith(".parquet")))
    assert synced[part + 1] == tmp_path / "out"


def test_the_exit_code_says_that_rows_have_problems(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqocr.batch import engines

    monkeypatch.setattr(engines, "local", lambda job, shards, workers: map(job, shards))
    arguments = ["predict-batch", str(lines), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (lines / "0001.png").write_bytes(BROKEN)
    for _ in range(2):
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, "rows with a problem instead of a text: 1" in result.output) == (2, True)
    assert json.loads((tmp_path / "out" / record_name(0)).read_text())["problems"] == 1
