"""`bench verify`: what cannot stand is a failure that names what, and what cannot be checked is a note."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from bench import verify as verification
from bench.__main__ import app
from bench.core.store import Store
from bench.verify import verify
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
