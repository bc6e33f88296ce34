"""Tar files and Parquet with damaged bytes: every image is a row, or a row says what is lost."""

from __future__ import annotations

import io
import tarfile
import time
from collections import Counter

import pytest

pytest.importorskip("fsspec", reason="the extra 'scale' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
import fsspec
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from seqocr.batch.parquet_files import read_parquet
from seqocr.batch.tar_files import read_tar
from tests.fuzz.conftest import Command, examples
from tests.fuzz.damage import DAMAGE, damaged

IMAGES = 8
MOST_SECONDS = 1.0


def png(i: int) -> bytes:
    """An image of its own, larger than a block of tar."""
    pixels = np.random.default_rng(i).integers(0, 256, (20, 60), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


PNGS = [png(i) for i in range(IMAGES)]
PIXELS = [Image.open(io.BytesIO(each)).tobytes() for each in PNGS]


def tar_of(form: int, mode: str, prefix: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=form) as tar:  # type: ignore[call-overload]
        for i, content in enumerate(PNGS):
            member = tarfile.TarInfo(f"{prefix}{i}.png")
            member.size = len(content)
            if form == tarfile.PAX_FORMAT and i % 3 == 0:
                member.pax_headers = {"comment": "x" * 30}
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def parquet_of(kind: str, **options: object) -> bytes:
    names = [f"{i}.png" for i in range(IMAGES)]
    if kind == "struct":
        struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        images = [{"bytes": content, "path": name} for content, name in zip(PNGS, names, strict=True)]
        table = pa.table({"image": pa.array(images, struct), "label": list(range(IMAGES))})
    else:
        table = pa.table({"image": pa.array(PNGS, pa.binary()), "file_name": names})
    stream = io.BytesIO()
    parquet.write_table(table, stream, row_group_size=3, **options)
    return stream.getvalue()


TARS = [tar_of(form, mode, "") for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT) for mode in ("w", "w:gz")]
# Of a long name tar has no checksum: damaged, it may be that of a member that is no image.
LONG = [tar_of(form, "w", "é" * 60) for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)]
PARQUETS = [
    parquet_of("struct"),
    parquet_of("plain"),
    parquet_of("plain", compression="none", use_dictionary=False),
    parquet_of("plain", compression="zstd", write_page_checksum=True),
]


def lines_of(read: object, content: bytes) -> tuple[Counter[bytes], list[str]]:
    """Images that are whole, by their pixels, and what is said of others."""
    files = fsspec.filesystem("memory")
    files.pipe_file("/x", content)
    started = time.thread_time()
    rows = list(read(files, "/x", "x"))  # type: ignore[operator]
    assert time.thread_time() - started < MOST_SECONDS
    problems = [line for _, line in rows if isinstance(line, str)]
    assert all("\n" not in each and (": give" in each or ": write it again" in each) for each in problems), problems
    return Counter(line.tobytes() for _, line in rows if isinstance(line, Image.Image)), problems


def checked(read: object, whole: bytes, damages: list[tuple]) -> None:
    for damage in damages:
        found, problems = lines_of(read, damaged(whole, *damage))
        assert not found.keys() - set(PIXELS), damage  # none is another image than was written
        said = problems or found.keys() == set(PIXELS)
        assert said or whole in LONG or _is_whole_without_some(read, damage), damage


def _is_whole_without_some(read: object, damage: tuple) -> bool:
    """Whether blocks of a tar are left out, which may be just those of a member."""
    kind, *_, blocks = damage
    return read is read_tar and kind == "left out" and blocks


@pytest.mark.kind("damaged tar files")
@examples(60)
@given(whole=st.sampled_from([*TARS, *LONG]), damages=st.lists(DAMAGE, min_size=8, max_size=8))
def test_damaged_tar_files(command: Command, whole: bytes, damages: list[tuple]) -> None:
    command.cases += len(damages)
    checked(read_tar, whole, damages)


@pytest.mark.kind("damaged Parquet")
@examples(40)
@given(whole=st.sampled_from(PARQUETS), damages=st.lists(DAMAGE, min_size=8, max_size=8))
def test_damaged_parquet(command: Command, whole: bytes, damages: list[tuple]) -> None:
    command.cases += len(damages)
    checked(read_parquet, whole, damages)


@pytest.mark.kind("damaged tar files")
@pytest.mark.parametrize("whole", [*TARS, *LONG])
def test_whole_tar_files(command: Command, whole: bytes) -> None:
    command.cases += 1
    assert lines_of(read_tar, whole) == (Counter(PIXELS), [])


@pytest.mark.kind("damaged Parquet")
@pytest.mark.parametrize("whole", PARQUETS)
def test_whole_parquet(command: Command, whole: bytes) -> None:
    command.cases += 1
    assert lines_of(read_parquet, whole) == (Counter(PIXELS), [])
