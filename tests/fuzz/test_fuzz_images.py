"""Files that are no images, damaged ones, and images of odd names."""

from __future__ import annotations

import csv
import io
import os
import socket
from contextlib import chdir
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seqocr.data.images import LARGEST, SMALLEST
from tests.fuzz.conftest import Command, examples, strict_json

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
GOOD = "good.png"


def encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 84), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


WHOLE = [encoded(kind) for kind in FORMATS]
PLACE = st.floats(0, 1, exclude_max=True)
CUT = st.tuples(st.just("cut"), PLACE, st.just(b""))
OVERWRITTEN = st.tuples(st.just("overwritten"), PLACE, st.binary(min_size=1, max_size=8))
INSERTED = st.tuples(st.just("inserted"), PLACE, st.binary(min_size=1, max_size=40))
BEGUN = st.tuples(st.just("begun"), st.floats(0, 0.05), st.binary(max_size=200))  # a good header, then anything
DAMAGE = st.tuples(st.sampled_from(WHOLE), st.one_of(CUT, OVERWRITTEN, OVERWRITTEN, INSERTED, BEGUN))


def damaged(whole: bytes, how: str, place: float, other: bytes) -> bytes:
    at = int(place * len(whole))
    rest = {"cut": b"", "overwritten": whole[at + len(other) :], "inserted": whole[at:], "begun": b""}[how]
    return whole[:at] + other + rest


def read_one_by_one(command: Command, folder: Path, weights: Path, cases: int) -> dict[str, str]:
    """Read a folder with some good images in it; each file has a row, with a text or a problem that is also printed.
    Returns the texts."""
    files = sorted(path.name for path in folder.iterdir())
    ended = command("read", folder, "--weights", weights, "--format", "json", cases=cases, lines_of_error=None)
    everything = {Path(row["file_name"]).name: row for row in strict_json(ended.out)}
    rows = {name: row["text"] for name, row in everything.items() if not row["problem"]}
    assert sorted(everything) == files
    assert len(rows) + len(ended.errors) == len(files), ended
    assert ended.code == (2 if ended.errors else 0)
    for name in set(files) - set(rows):
        assert sum(f"/{name} " in error for error in ended.errors) == 1, name
    return rows


folders = count()


@pytest.fixture
def expected(command: Command, weights: Path, tmp_path: Path) -> str:
    """What is read from the good image alone."""
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / GOOD).write_bytes(WHOLE[0])
    return read_one_by_one(command, folder, weights, 0)[GOOD]


@pytest.mark.kind("damaged images")
@examples(10)
@given(damages=st.lists(DAMAGE, min_size=40, max_size=40))
def test_damaged_images(command: Command, weights: Path, tmp_path: Path, expected: str, damages: list) -> None:
    folder = tmp_path / f"damaged-{next(folders)}"
    folder.mkdir()
    (folder / GOOD).write_bytes(WHOLE[0])
    for i, (whole, how) in enumerate(damages):
        (folder / f"{i:02}.png").write_bytes(damaged(whole, *how))
    assert read_one_by_one(command, folder, weights, len(damages))[GOOD] == expected


OTHERS = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 30\n%%EndComments\nshowpage\n%%EOF\n",
    "ps": b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 100 30\n%%EndComments\n",
    "dos eps": b"\xc5\xd0\xd3\xc6" + bytes(28) + b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "html": b"<!doctype html><title>log in</title>",
    "zip": b"PK\x03\x04" + bytes(60),
    "gzip": b"\x1f\x8b\x08" + bytes(60),
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
    "ico": b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00\x20\x00" + bytes(60),
    "icns": b"icns" + bytes(60),
    "psd": b"8BPS\x00\x01" + bytes(60),
    "pcx": b"\x0a\x05\x01\x08" + bytes(124),
    "dds": b"DDS \x7c\x00\x00\x00" + bytes(120),
    "xbm": b"#define a_width 8\n#define a_height 8\nstatic char a_bits[] = {0};\n",
    "mpeg": b"\x00\x00\x01\xb3" + bytes(60),
    "fits": b"SIMPLE  =                    T" + b" " * 2850,
    "wmf": b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(60),
    "jpeg 2000": b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a" + bytes(60),
    "text": "not an image, in UTF-8: é".encode(),
    "empty": b"",
    "zeros": bytes(5000),
}


@pytest.mark.kind("other formats under an image's name")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_other_formats(
    command: Command, weights: Path, tmp_path: Path, expected: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("gs", "gswin64c", "gswin32c"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {started}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in OTHERS.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    (folder / GOOD).write_bytes(WHOLE[0])
    assert read_one_by_one(command, folder, weights, len(OTHERS)) == {GOOD: expected}
    assert not started.exists()


@pytest.mark.kind("sizes of images")
@pytest.mark.parametrize("other", [1, SMALLEST - 1, SMALLEST, 100])
@pytest.mark.parametrize("side", [1, SMALLEST - 1, SMALLEST, LARGEST - 1, LARGEST, LARGEST + 1])
def test_sizes(command: Command, weights: Path, tmp_path: Path, side: int, other: int) -> None:
    for i, size in enumerate(((side, other), (other, side))):
        Image.new("1", size, 1).save(tmp_path / f"{i}.png")
    ended = command("read", tmp_path, "--weights", weights, "--format", "json", cases=2, lines_of_error=2)
    right = all(SMALLEST <= length <= LARGEST for length in (side, other))
    assert [not row["problem"] for row in strict_json(ended.out)] == [right, right]


@pytest.mark.kind("sizes of images")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_large_images(command: Command, weights: Path, tmp_path: Path, kind: str) -> None:
    Image.new("L", (6000, 5000), 255).save(tmp_path / "page.png", kind)
    ended = command("read", tmp_path, "--weights", weights, "--format", "json")
    assert [bool(row["problem"]) for row in strict_json(ended.out)] == [kind in ("WEBP", "TIFF")]


@pytest.mark.kind("pipes, devices, links and long names")
def test_what_is_no_file(command: Command, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / GOOD).write_bytes(WHOLE[0])
    os.mkfifo(folder / "pipe.png")
    for device in ("zero", "null", "full", "random", "tty"):
        (folder / f"{device}.png").symlink_to(f"/dev/{device}")
    (folder / "nowhere.png").symlink_to("none")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "through.png").symlink_to(f"{GOOD}/below")
    with socket.socket(socket.AF_UNIX) as listening, chdir(folder):
        listening.bind("socket.png")
    bad = [path for path in folder.iterdir() if path.name != GOOD]
    for wanted in (1, 5):
        arguments = ["read", folder, "--weights", weights, "--batch", wanted, "--format", "json"]
        ended = command(*arguments, cases=len(bad), lines_of_error=None)
        assert sum(not row["problem"] for row in strict_json(ended.out)) == 1
        assert len(ended.errors) == len(bad)
    empty = tmp_path / "empty"
    empty.mkdir()
    given = [*bad, empty, "", ".", "/", "/dev/null", "/dev/zero", "x" * 300, "x/" * 3000, folder / "none.png"]
    for one in [*given, folder / "*.tif", folder / "[", "[!a", f"{folder}/{GOOD}/below", "~", "-", "http://x/y.png"]:
        if one in (".", "/"):
            continue  # folders with a great many files in them
        ended = command("read", one, folder / GOOD, "--weights", weights, "--format", "json")
        assert sum(not row["problem"] for row in strict_json(ended.out)) == 1, one
        assert len(ended.errors) == 1, one


NAME = st.one_of(
    st.binary(min_size=1, max_size=80),
    st.text(min_size=1, max_size=40).map(lambda text: text.encode(errors="ignore")),
    st.sampled_from([b"[red]", b"[/]", b"\x1b[31m", b"\r", b"\n", b"\t", b'"', b",", b"'", b"=1+1", b"\\n"]),
    st.sampled_from([b"\xff\xfe", b"\xed\xa0\x80", "\u2028".encode(), "\u202egnp".encode(), b"*", b"?", b":smile:"]),
).map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")[:200] + b".png")


@pytest.mark.kind("names of files, in every form")
@examples(8)
@given(names=st.lists(NAME, min_size=15, max_size=15, unique=True), encoding=st.sampled_from(["utf-8", "ascii"]))
def test_names(command: Command, weights: Path, tmp_path: Path, names: list[bytes], encoding: str) -> None:
    folder = tmp_path / f"names-{next(folders)}"
    folder.mkdir()
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(WHOLE[0])
    read = ("read", folder, "--weights", weights)
    tabs, table, rows, found = (
        command(*read, *more, encoding=encoding, cases=len(names))
        for more in ((), ("--format", "table"), ("--format", "csv"), ("--format", "json"))
    )
    assert {ended.code for ended in (tabs, table, rows, found)} == {0}
    assert {line.count("\t") for line in tabs.out.split("\n")[:-1]} <= {2, 3}  # notes come last, if any
    assert "\r" not in tabs.out + rows.out + table.out
    assert "\x1b" not in tabs.out + rows.out
    assert len(table.out.splitlines()) >= len(names)
    header, *listed = csv.reader(io.StringIO(rows.out, newline=""))
    assert header == ["file_name", "text", "confidence", "notes", "problem"]
    assert [len(row) for row in listed] == [5] * len(names)
    assert len(rows.out.splitlines()) == len(names) + 1
    printed = [row["file_name"] for row in strict_json(found.out)]
    assert sorted(printed) == sorted(name.decode(errors="backslashreplace") for name in names)
