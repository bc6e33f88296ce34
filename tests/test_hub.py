"""Recognizers on a hub: published, loaded by name, and loaded again without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqocr.hub import is_hub_name
from seqocr.inference.shipped import SHIPPED
from tests.hub import TOKEN, hub, with_hub

LINE = SHIPPED.parent.parent / "demo" / "examples" / "grid-77253.png"
NAME = "some/digits"
READ = ["-m", "seqocr", "read", str(LINE), "--format", "tabs", "--weights"]
WITHOUT_TORCH = f"""
import sys
import seqocr
print(seqocr.predict(seqocr.load(sys.argv[1]), {str(LINE)!r}).text, "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def endpoint(root: Path) -> Iterator[str]:
    with hub(root) as address:
        yield address


@pytest.fixture(scope="module")
def published(root: Path, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of weights with graphs and a file that is none of theirs."""
    here = tmp_path_factory.mktemp("weights")
    folder = shutil.copytree(SHIPPED, here / "mine", ignore=shutil.ignore_patterns("README.md"))
    (folder / "training-state.safetensors").write_bytes(b"of no use to others")
    done = with_hub(["-m", "seqocr", "push", str(folder), NAME, "--license", "mit"], endpoint, here, HF_TOKEN=TOKEN)
    assert (done.returncode, done.stdout) == (0, f"{folder}: {endpoint}/{NAME}/commit/{'0' * 40}\n"), done.stderr
    return root / NAME


def test_what_is_published_is_what_reads_and_a_card(published: Path) -> None:
    files = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    graphs = {f"onnx/{name}" for name in ("config.json", "ctc.onnx", "parallel.onnx")}
    assert files == {"README.md", "config.json", "model.safetensors"} | graphs
    for file in files - {"README.md"}:
        assert (published / file).read_bytes() == (SHIPPED / file).read_bytes()
    card = (published / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: seqocr\n")
    assert "license: mit\n" in card
    assert f'seqocr.load("{NAME}")' in card


def test_it_reads_by_name_and_later_without_the_hub(published: Path, endpoint: str, tmp_path: Path) -> None:
    for address in (endpoint, "http://127.0.0.1:9"):
        graphs = with_hub(["-c", WITHOUT_TORCH, NAME], address, tmp_path)
        assert (graphs.stdout, graphs.returncode) == ("77253 False\n", 0), graphs.stderr
        weights = with_hub([*READ, f"{NAME}@main", "--head", "ar"], address, tmp_path)
        assert (weights.stdout.split("\t")[1], weights.returncode) == ("77253", 0), weights.stderr
    offline = with_hub([*READ, NAME], endpoint, tmp_path, HF_HUB_OFFLINE="1")
    assert (offline.stdout.split("\t")[1], offline.returncode) == ("77253", 0), offline.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*READ, "no/such"], "no/such is no folder here, and the hub has no such name or hides it"),
        ([*READ, f"{NAME}@v9"], f"{NAME}@v9 is no folder here, and the hub has no such revision of it"),
        (["-m", "seqocr", "push", str(SHIPPED), NAME], f"{NAME} cannot be written: the hub answers 401: log in"),
        (["-m", "seqocr", "push", str(SHIPPED), "digits"], "digits is no name for the hub: give USER/NAME"),
        (["-m", "seqocr", "push", "no-such-folder", NAME], "the folder no-such-folder is missing"),
    ],
)
def test_what_does_not_work_is_said_in_a_line(
    arguments: list[str], said: str, published: Path, endpoint: str, tmp_path: Path
) -> None:
    done = with_hub(arguments, endpoint, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_a_name_that_was_not_downloaded_takes_a_hub(tmp_path: Path, variables: dict[str, str]) -> None:
    done = with_hub([*READ, NAME], "http://127.0.0.1:9", tmp_path, **variables)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {NAME} is no folder here, was not downloaded before, and the hub does not")


def test_names_of_the_hub_are_no_folders_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("some/digits")
    assert is_hub_name("some/digits@v1.0")
    (tmp_path / "some" / "digits").mkdir(parents=True)
    for name in ("some/digits", "tiny", "/some/digits", "./digits", "../digits", "a/b/c", "some\\digits", "C:/digits"):
        assert not is_hub_name(name)
