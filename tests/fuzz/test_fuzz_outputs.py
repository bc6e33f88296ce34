"""Places that cannot be written, and disks that are full."""

from __future__ import annotations

import csv
import errno
import os
import resource
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seqocr.data.images import suffixes
from seqocr.data.sources import datasets as sources
from seqocr.inference.load import load
from tests.conftest import barred
from tests.fuzz.conftest import Command, examples

Commands = dict[str, tuple[object, ...]]


@pytest.fixture
def commands(weights: Path, lines: Path) -> Commands:
    """All that write, but for where."""
    return {
        "train": ("train", "--init", weights, "--data", lines, "--steps", 1),
        "eval": ("eval", "--weights", weights, "--data", lines, "--heads", "ctc"),
        "average": ("average", weights, weights),
        "export": ("export", "--weights", weights),
        "export transformers": ("export", "--weights", weights, "--runtime", "transformers"),
        "data": ("data",),
    }


NAMES = ["train", "eval", "average", "export", "export transformers", "data"]
every_command = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def digits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digits that cost nothing; which splits were asked for."""
    asked: list[str] = []

    def load_digits(split: str, *_: object) -> sources.Digits:
        asked.append(split)
        return barred(200, split)

    monkeypatch.setattr(sources, "load_digits", load_digits)
    return asked


def out(name: str, place: object) -> tuple[object, ...]:
    return ("--picture", f"{place}/picture.png" if place else "") if name == "data" else ("--out", place)


@pytest.mark.kind("places that cannot be written, by every command")
@every_command
def test_bad_places(command: Command, commands: Commands, tmp_path: Path, name: str, digits: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "nowhere").symlink_to("none/below")
    os.mkfifo(tmp_path / "pipe")
    odd = ["file", "file/below", "itself", "nowhere", "pipe", "pipe/below", "x" * 300, "x" * 300 + "/below"]
    odd += ["file/a\nb\x1b[31m", "file/[red]", "file/\udcff", "\udcff", "\udcff/below"]
    places: list[object] = [tmp_path / one for one in odd]
    places += [
        tmp_path / "/".join(["x" * 200] * 30),
        "",
        "/dev/null",
        "/dev/null/below",
        "/proc",
        "/proc/self/below",
        "/proc/none",
        "/sys/none",
    ]
    if os.geteuid():
        (tmp_path / "read-only").mkdir(mode=0o500)
        places += [tmp_path / "read-only", tmp_path / "read-only" / "below"]
    for place in places:
        command.refused(*commands[name], *out(name, place))
    assert digits == []  # said before anything that takes long


@pytest.mark.kind("places that cannot be written, by every command")
@every_command
def test_folders_where_files_would_be(
    command: Command, commands: Commands, tmp_path: Path, name: str, weights: Path
) -> None:
    """Known when the file is renamed: what was there stays."""
    if name in ("export", "train"):
        return  # take seconds, and write with what the others write with
    taken = {"eval": "summary.csv", "data": "picture.png"}.get(name, "config.json")
    (tmp_path / "out" / taken).mkdir(parents=True)
    (tmp_path / "out" / taken / "inside").write_text("x")
    ended = command(*commands[name], *out(name, tmp_path / "out"), writes_on_error=True)
    assert ended.code == 2
    assert "Is a directory" in ended.err


NO_SUFFIXES = st.one_of(
    st.sampled_from(["", ".txt", ".pdf", ".eps", ".svg", ".p", ".PNG ", ".png.", ".pngx", ".", "..", ".png/", ".exe"]),
    st.text("abcdefghijklmnopqrstuvwxyzPNG.é ", max_size=6).map(lambda text: f".{text}"),
).filter(lambda text: Path(f"x{text}").suffix.lower() not in suffixes())


@pytest.mark.kind("pictures of unknown endings")
@examples(60)
@given(suffix=NO_SUFFIXES)
def test_pictures_of_other_endings(command: Command, tmp_path: Path, suffix: str, digits: list[str]) -> None:
    command.refused("data", "--picture", tmp_path / f"picture{suffix}")
    assert digits == []


@pytest.mark.kind("pictures of known endings")
@pytest.mark.parametrize("suffix", sorted(suffixes()))
def test_pictures_of_known_endings(command: Command, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"picture{suffix}"
    ended = command("data", "--picture", path)
    assert path.exists() == (ended.code == 0)


@pytest.mark.kind("places that can be written")
@every_command
def test_good_places(command: Command, commands: Commands, tmp_path: Path, name: str) -> None:
    if name in ("export", "train"):
        return  # see test_exported.py and test_training.py
    for place in (tmp_path / "new" / "folder", tmp_path / "[red]é\n", tmp_path / "-x"):
        for _ in range(2):  # the second time over what is there
            assert command(*commands[name], *out(name, place)).code == 0
        if name == "eval":
            for path in place.glob("*.csv"):
                with path.open(newline="", encoding="utf-8") as file:
                    header, *rows = csv.reader(file)
                assert all(len(row) == len(header) for row in rows)
        elif name != "data":
            assert load(place).charset == "0123456789"


@pytest.mark.kind("disks that are full")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("name", ["eval", "average", "export transformers", "data"])
def test_full_disks(
    command: Command, commands: Commands, tmp_path: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a file; of the several files of an export, when the first is renamed."""

    def half(path: Path) -> None:
        with path.open("w") as file:
            file.write("half")
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", lambda _, path, **options: half(path))
        patch.setattr(Image.Image, "save", lambda _, path: half(path))
        patch.setattr(Path, "write_bytes", lambda path, _: half(path))
        if name == "export transformers":
            patch.setattr(Path, "replace", lambda path, _: half(path))
        ended = command(*commands[name], *out(name, tmp_path / "new"))
    assert ended.code == 2
    assert f" cannot be written ({os.strerror(number)})" in ended.err
    assert not (tmp_path / "new").exists()


@pytest.mark.kind("disks that are full")
def test_a_limit_of_the_system(command: Command, weights: Path, tmp_path: Path) -> None:
    """Files of at most 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        said = command.refused("average", weights, weights, "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said.startswith(f"error: {tmp_path / 'out'}")
    assert "(File too large)" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
