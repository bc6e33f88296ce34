"""Damaged tar files: what can be read is, what is lost is said, and reading ends."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="the extra 'scale' is not installed")
import fsspec
from PIL import Image

from seqocr.batch.sources import Source
from seqocr.batch.tar_files import read_tar
from tests.batch.test_batch import EXAMPLES, tar_of

PNG = EXAMPLES[1].read_bytes()
NAMES = [f"{i}.png" for i in range(10)]


def read(path: Path) -> tuple[list[str], list[str]]:
    """The names of lines, and what is wrong."""
    lines = list(read_tar(fsspec.filesystem("file"), str(path), path.name))
    good = [name.partition("/")[2] for name, line in lines if isinstance(line, Image.Image)]
    return good, [line for _, line in lines if isinstance(line, str)]


def header_of(path: Path, name: str) -> int:
    with tarfile.open(path) as tar:
        return tar.getmember(name).offset


def overwrite(path: Path, start: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[start : start + len(content)] = content
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize("damage", [bytes(512), bytes(1024), b"7" * 512, b"\xff" * 1500])
def test_members_behind_a_damaged_header_are_read(tmp_path: Path, damage: bytes) -> None:
    path = tar_of(tmp_path / "x.tar", dict.fromkeys(NAMES, PNG))
    overwrite(path, header_of(path, "4.png"), damage)
    good, problems = read(path)
    assert good == [name for name in NAMES if name != "4.png"]
    assert problems == ["x.tar is damaged between 3.png and 5.png: write it again"]


def test_the_header_behind_a_long_name_is_damaged(tmp_path: Path) -> None:
    """One that describes the next, which is none."""
    long = f"{'é' * 120}.png"
    path = tar_of(tmp_path / "x.tar", {"0.png": PNG, long: PNG, "2.png": PNG})
    overwrite(path, header_of(path, long) + 1024, b"7" * 512)
    good, problems = read(path)
    assert (good, problems) == (["0.png", "2.png"], ["x.tar is damaged between 0.png and 2.png: write it again"])


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_several_archives_in_one_file_are_all_read(tmp_path: Path, name: str) -> None:
    first, second = (tar_of(tmp_path / f"{i}{name}", {f"{i}.png": PNG}).read_bytes() for i in (1, 2))
    (tmp_path / name).write_bytes(first + second)
    assert read(tmp_path / name) == (["1.png", "2.png"], [])


@pytest.mark.parametrize(
    ("more", "said"), [(b"no archive" * 100, "what follows is no archive"), (bytes(20_480), "more zeros follow")]
)
def test_what_follows_an_archive_is_said(tmp_path: Path, more: bytes, said: str) -> None:
    path = tar_of(tmp_path / "x.tar", {"1.png": PNG})
    path.write_bytes(path.read_bytes() + more)
    good, (problem,) = read(path)
    assert good == ["1.png"]
    assert said in problem


def test_a_checksum_of_gzip_that_is_wrong_is_said(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tgz", {"1.png": PNG})
    overwrite(path, path.stat().st_size - 8, b"0000")
    good, (problem,) = read(path)
    assert (good, "CRC" in problem) == (["1.png"], True)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [2**60, 2**40, -(2**20)])
@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_impossible_sizes_end(tmp_path: Path, kind: bytes, size: int, name: str) -> None:
    path = tmp_path / name
    odd = tarfile.TarInfo("1.png")
    odd.type, odd.size = kind, size
    with tarfile.open(path, "w:gz" if name == "x.tgz" else "w") as tar:
        data = tarfile.TarInfo("0.png")
        data.size = len(PNG)
        tar.addfile(data, io.BytesIO(PNG))
        assert tar.fileobj
        tar.fileobj.write(odd.tobuf(tarfile.GNU_FORMAT))
    good, problems = read(path)
    assert good == ["0.png"]
    assert problems[-1].startswith(f"{name} cannot be read beyond ")


def test_a_sparse_map_without_an_end_ends(tmp_path: Path) -> None:
    member = tarfile.TarInfo("1.png")
    member.size = 512
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(b"99999999\n0\n" + b"0" * 501))
    good, problems = read(tmp_path / "x.tar")
    assert (good, len(problems)) == ([], 1)


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.parquet"])
def test_a_pipe_or_an_archive_that_vanishes_is_a_row(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    source = Source(str(tmp_path))
    (shard,) = source.shards(10)
    assert list(source.lines(shard)) == [
        (name, f"{name} is a pipe or device, not a file: give tar files or Parquet"),
    ]
    (tmp_path / name).unlink()
    ((found, problem),) = source.lines(shard)
    assert (found, "does not exist any more" in str(problem)) == (name, True)
