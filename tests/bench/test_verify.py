"""`bench verify`: what cannot stand is a failure that names what, and what cannot be checked is a note."""

from __future__ import annotations

import functools
import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench import verify as verification
from bench.__main__ import app
from bench.core.sealed import REMEDY
from bench.core.store import Store
from bench.report.build import write_report
from bench.verify import seal, verify
from seqocr.errors import InputError
from tests.synthetic import finished_run


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up results, of parts that no experiment has any more, in a folder outside git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(verification, "experiments", list)
    return finished_run(tmp_path / "results").folder.parents[1]


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Of two commits."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    for text in ("one", "two"):
        (root / "code.py").write_text(text)
        git(root, "add", "code.py")
        git(root, "commit", "--quiet", "--message", text)
    return root


def cite(results: Path, commit: str) -> None:
    """All parts cite a commit."""
    store = Store.latest(results)
    for name in store.parts():
        store.add_facts(name, commit=commit)


def test_a_commit_of_the_history_stands_and_one_that_was_rewritten_does_not(results: Path, repository: Path) -> None:
    first, second = git(repository, "rev-parse", "HEAD~1"), git(repository, "rev-parse", "--short=12", "HEAD")
    for commit in (first, second, f"{second}+"):
        cite(results, commit)
        assert verify(results, root=repository).failures == []
    git(repository, "commit", "--quiet", "--amend", "--message", "other words")
    (failure,) = verify(results, root=repository).failures
    assert failure.startswith(f"commit {second}+ of accuracy and 3 others is not in the history: verify them at one")
    cite(results, "0123456789ab")  # which no clone has
    assert len(verify(results, root=repository).failures) == 1


def test_a_part_that_was_verified_at_a_later_commit_may_cite_one_that_is_lost(results: Path, repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    cite(results, head)
    Store.latest(results).add_facts("accuracy", commit="0123456789ab", verified={"commit": head})
    assert verify(results, root=repository).failures == []


def test_commits_are_not_checked_where_the_history_is_not(results: Path, repository: Path, tmp_path: Path) -> None:
    cite(results, "0123456789ab")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), str(shallow))
    for root in (shallow, tmp_path):
        found = verify(results, root=root)
        assert found.failures == []
        assert found.notes == ["commits: not checked, since the history is not here"]


def test_commits_are_not_checked_without_git(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = verify(results, root=tmp_path)
    assert (found.failures, found.notes) == ([], ["commits: not checked, since git is not installed"])


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _flip_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40:60] = bytes(each ^ 255 for each in data[40:60])
    path.write_bytes(data)


def _set(column: str, value: float | str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        rows = pd.read_csv(path).astype({column: object})
        rows.loc[7, column] = value
        rows.to_csv(path, index=False)

    return damage


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_truncate, "cannot be read"),
        (_flip_bytes, "cannot be read"),
        (_set("seconds", float("nan")), "has a seconds that is no number"),
        (_set("seconds", "fast"), "has a seconds that is no number"),
        (_set("seconds", -0.001), "has a seconds below 0"),
        (_set("cpu", -0.001), "has a cpu below 0"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_damaged_file_is_named(results: Path, damage: Callable[[Path], None], problem: str) -> None:
    assert verify(results, root=results).failures == []
    path = Store.latest(results).file("latency-tiny-28x140", ".csv.gz")
    damage(path)
    (failure,) = verify(results, root=results).failures
    assert failure.startswith(f"{path} {problem}")
    assert failure.endswith("measure again")


def _edit(value: object, *keys: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        facts = json.loads(path.read_text())
        functools.reduce(dict.__getitem__, keys[:-1], facts)[keys[-1]] = value
        path.write_text(json.dumps(facts, indent=2) + "\n")

    return damage


def _half(path: Path) -> None:
    rows = pd.read_csv(path, dtype=str)
    rows.head(len(rows) // 2).to_csv(path, index=False)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _unseal(path: Path) -> None:
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in facts.items() if key not in ("sha256", "sums")}))


LATENCY, TABLE = "latency-tiny-28x140", "latency-tiny-28x140.csv.gz"


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        *((TABLE, each, "is not as it was written") for each in (_half, _empty, _truncate, _flip_bytes)),
        (TABLE, _set("seconds", float("inf")), "is not as it was written"),
        ("accuracy.csv.gz", _set("prediction", "1"), "is not as it was written"),
        ("accuracy.samples.png", _flip_bytes, "is not as it was written"),
        ("accuracy.samples.png", Path.unlink, "is missing"),
        (TABLE, Path.unlink, "is missing"),
        (f"{LATENCY}.json", Path.unlink, "is missing"),
        (f"{LATENCY}.json", _empty, "cannot be read"),
        (TABLE, lambda path: shutil.copy(path.parent / "run.json", path.parent / f"{LATENCY}.json"), "has no checksum"),
        (f"{LATENCY}.json", _edit(None, "finished"), "is not as it was written"),
        (f"{LATENCY}.json", _unseal, "has no checksum"),
        ("run.json", _edit("2027-01-01", "finished"), "is not as it was written"),
        ("run.json", _edit("another cpu", "environment", "cpu"), "is not as it was written"),
    ],
)
@pytest.mark.parametrize("command", ["report", "verify", "compare"])
def test_what_is_not_as_it_was_written_is_not_published(
    results: Path, name: str, damage: Callable[[Path], None], problem: str, command: str
) -> None:
    seal(results)
    run = Store.latest(results).folder
    damage(run / name)
    arguments = ["compare", str(run), str(run)] if command == "compare" else [command, "--out", str(results)]
    done = CliRunner().invoke(app, arguments)
    said = str(done.exception) if isinstance(done.exception, InputError) else done.output
    assert f"{run / name} {problem}" in said
    assert isinstance(done.exception, InputError) or done.exit_code == 2
    assert not (results / "report.md").exists()


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        (TABLE, _set("seconds", float("inf")), "has a seconds that is no number"),
        ("accuracy.csv.gz", lambda path: path.write_bytes(gzip.compress(b"a,b\n1,2\n")), "gives no report"),
        ("costs-rates.csv.gz", lambda path: path.write_bytes(gzip.compress(b"a,b\n1,2\n")), "gives no report"),
        (TABLE, lambda path: path.write_bytes(gzip.compress(b"seconds\n")), "has no rows"),
        ("run.json", _edit(7, "finished"), "says that it was finished at 7"),
    ],
)
def test_results_without_checksums_are_an_error_and_no_traceback(
    results: Path, name: str, damage: Callable[[Path], None], problem: str
) -> None:
    run = Store.latest(results).folder
    for path in run.glob("*.json"):
        _unseal(path)
    damage(run / name)
    with pytest.raises(InputError, match=problem):
        write_report(Store.latest(results), results)


def test_checksums_are_added_once_and_change_nothing_else(results: Path) -> None:
    store = Store.latest(results)
    before = {part: store.facts(part) for part in store.parts()}
    for path in store.folder.glob("*.json"):
        _unseal(path)
    for _ in range(2):
        seal(results)
        assert verify(results, root=results).failures == []
        assert all(store.is_sealed(part) for part in store.parts())
        assert {part: {**store.facts(part), "sums": None} for part in before} == {
            part: {**facts, "sums": None} for part, facts in before.items()
        }
    path = store.file(LATENCY, ".csv.gz")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is not as it was written"):
        seal(results)  # what is damaged keeps its checksum
    assert verify(results, root=results).failures == [f"{path} is not as it was written: {REMEDY}"]


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_damaged_facts_are_named(results: Path, text: str) -> None:
    path = Store.latest(results).file("costs-rates", ".json")
    path.write_text(text)
    (failure,) = verify(results, root=results).failures
    assert failure.startswith(f"{path} cannot be read")


def test_a_stale_first_screen_fails_under_a_version_s_tag_and_only_there(
    results: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {results / "report.md": "numbers of the rows", repository / "README.md": "a screen"}
    monkeypatch.setattr(verification, "everything", lambda store: {})
    monkeypatch.setattr(verification, "measured", lambda *_: "a line")
    monkeypatch.setattr(verification, "pages", lambda *_: {"report": "numbers of the rows"})
    monkeypatch.setattr(verification, "with_numbers", lambda text, *_: text.replace("old", "a"))
    cite(results, git(repository, "rev-parse", "HEAD"))
    for path, text in texts.items():
        path.write_text(text)
    git(repository, "tag", "v1.0")
    assert verify(results, root=repository).failures == []
    for path, text in texts.items():
        path.write_text("old screen")
        (failure,) = verify(results, root=repository).failures
        assert failure == f"{path} is older than the results, and v1.0 is tagged: run `make report`"
        path.write_text(text)
    (results / "report.md").unlink()
    assert len(verify(results, root=repository).failures) == 1
    git(repository, "tag", "--delete", "v1.0")
    git(repository, "tag", "not-a-version")
    assert verify(results, root=repository).failures == []


@pytest.mark.parametrize("commit", ["0123456789ab+", None])
def test_nothing_is_recorded_of_code_that_is_not_committed(
    results: Path, monkeypatch: pytest.MonkeyPatch, commit: str | None
) -> None:
    before = {path: path.read_bytes() for path in results.rglob("*.json")}
    monkeypatch.setattr("seqocr.environment.commit", lambda: commit)
    assert verify(results, root=results).failures == []
    with pytest.raises(InputError, match="commit the code first"):
        verify(results, record=True, root=results)
    assert {path: path.read_bytes() for path in results.rglob("*.json")} == before


def test_results_that_hold_no_run_say_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make bench"):
        verify(tmp_path)


def test_the_command_ends_with_2_where_something_cannot_stand(results: Path) -> None:
    path = Store.latest(results).file("accuracy", ".csv.gz")
    _truncate(path)
    done = CliRunner().invoke(app, ["verify", "--out", str(results)])
    assert done.exit_code == 2
    assert f"failed: {path} cannot be read" in done.output
