from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save

from seqocr import environment
from seqocr.errors import InputError
from seqocr.files import (
    UNSEALED,
    is_sealed,
    read_json,
    replacing,
    replacing_all,
    seal,
    shown,
    writable,
    write_json,
    write_text,
)


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


def test_json_reads_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"∅": [1, 2]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"∅": [1, 2]}


def test_environment_is_json_and_names_the_versions() -> None:
    facts = json.loads(json.dumps(environment.describe()))
    assert (facts["torch"], facts["pandas"]) == (torch.__version__, pd.__version__)
    assert facts["threads"] == torch.get_num_threads()


def test_commit_comes_from_the_environment_where_there_is_no_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SEQOCR_COMMIT", "abc123")
    assert environment.commit() == "abc123"


BAD_PLACES = ["a file", "below a file", "/dev/null", "/dev/null/x", "/proc/x", "a long name", "a long name/x"]


def place(name: str, folder: Path) -> Path:
    (folder / "file").write_text("")
    named = {"a file": folder / "file", "below a file": folder / "file" / "x" / "y"}
    return named.get(name) or folder / name.replace("a long name", "x" * 300)


@pytest.mark.parametrize("name", BAD_PLACES)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    folder = place(name, tmp_path)
    for write in (writable, lambda folder: write_text(folder / "a.txt", "a"), write_into):
        with pytest.raises(InputError) as raised:
            write(folder)
        assert str(raised.value).startswith(str(folder))
        assert " cannot be written (" in str(raised.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def write_into(folder: Path) -> None:
    with replacing_all(folder) as temporary:
        (temporary / "a.txt").write_text("a")


def test_a_folder_or_nothing_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(InputError, match=r"a\.txt cannot be written \(Is a directory\)"):
        write_text(tmp_path / "a.txt", "")
    with pytest.raises(InputError, match="is not a file name"):
        write_text(Path(), "")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_folder_whose_name_is_no_utf_8_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\\xff cannot be written \(its name is not UTF-8\)"):
        writable(tmp_path / "\udcff")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        writable(tmp_path / "x")


def test_a_full_disk_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    (tmp_path / "old.txt").write_text("old")
    script = """
import resource, sys
from pathlib import Path
from seqocr.errors import InputError
from seqocr.files import replacing_all, write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
def write_into(folder):
    with replacing_all(folder) as temporary:
        write_text(temporary / "config.json", "{}")
        write_text(temporary / "model", "x" * 2000)
def write_one(path):
    write_text(path, "x" * 2000)
for write, name in ((write_one, "old.txt"), (write_one, "new/a.txt"), (write_into, "."), (write_into, "new")):
    try:
        write(folder / name)
    except InputError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 4
    assert all("cannot be written (File too large)" in line for line in said)
    assert list(tmp_path.iterdir()) == [tmp_path / "old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


def test_whether_a_folder_can_be_written_is_found_without_a_trace(tmp_path: Path) -> None:
    writable(tmp_path / "new" / "folder")
    writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_several_files_appear_together_and_the_config_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("old")
    moved: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: moved.append(self.name) or replace(self, to))
    with replacing_all(tmp_path / "out") as temporary:
        for name in ("config.json", "model.safetensors", "a.json"):
            (temporary / name).write_text("new")
        assert (tmp_path / "out" / "config.json").read_text() == "old"
    assert moved == ["a.json", "model.safetensors", "config.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(moved)
    assert (tmp_path / "out" / "config.json").read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_none_of_several_files(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with replacing_all(tmp_path / "new" / "out") as temporary:
            (temporary / "config.json").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON that can be read"),
        (b"\xff\xfe{}", "is not JSON that can be read"),
        (b"[" * 100_000, r"is not JSON that can be read \(nested too deep\)"),
        (b'{"a":' * 100_000, r"is not JSON that can be read \(nested too deep\)"),
        (None, "is missing"),
    ],
)
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.json {words}.*: write"):
        read_json(path)


def test_json_is_read_up_to_a_size_and_from_no_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match=r"pipe\.json is missing"):
        read_json(tmp_path / "pipe.json")
    (tmp_path / "a.json").write_text("[1, 2]")
    assert read_json(tmp_path / "a.json") == [1, 2]
    monkeypatch.setattr("seqocr.files.MOST_JSON", 5)
    with pytest.raises(InputError, match=r"a\.json is not JSON that can be read \(it has 6 bytes, at most 5 are read"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain é あ [red] 🙂 a\\b.png", "plain é あ [red] 🙂 a\\b.png"),
        ("a\nb\rc\td\x1b[31m\x7f\x85", r"a\nb\rc\td\x1b[31m\x7f\x85"),
        (os.fsdecode(b"\xff\x80.png"), r"\xff\x80.png"),
        ("\u2028\ud800", r"\u2028\ud800"),
    ],
)
def test_names_are_shown_on_one_line_whatever_they_are(name: str, expected: str) -> None:
    assert shown(name) == shown(Path(name)) == expected
    assert shown(name).encode("utf-8")


@pytest.mark.parametrize("write", [lambda x: json.dumps(x).encode(), lambda x: save({"w": torch.ones(3)}, x)])
def test_a_flipped_bit_anywhere_breaks_a_seal(write: Callable[[dict[str, str]], bytes]) -> None:
    content = write({"about": 'say "sha256": "x"', "sha256": UNSEALED})
    sealed = seal(content)
    assert is_sealed(sealed)
    assert not is_sealed(content)
    for place in range(len(sealed)):
        assert not is_sealed(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])
    assert not is_sealed(sealed[:-1])
    assert not is_sealed(sealed + b"\n")
    assert not is_sealed(b"")
