"""Odd Parquet costs a row or a file, and says so."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec", reason="the extra 'scale' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
import fsspec
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from seqocr.batch.parquet_files import read_parquet
from tests.batch.test_batch import BROKEN, EXAMPLES

PNGS = [each.read_bytes() for each in EXAMPLES[:3]]
BEYOND = pa.array([2**62, 0, -(2**62)], pa.timestamp("ms"))  # Python's years end at 9999


def read(path: Path, table: Any) -> list[tuple[str, Any]]:
    """Names, and what is wrong; None of a line."""
    parquet.write_table(table, path)
    lines = read_parquet(fsspec.filesystem("file"), str(path), path.name)
    return [(name, None if isinstance(line, Image.Image) else line) for name, line in lines]


ROWS = [(f"x.parquet:{i}", None) for i in range(3)]


@pytest.mark.parametrize(
    "others",
    [
        {"id": pa.array([b"\xff", b"b", b"c"], pa.binary())},
        {"id": BEYOND},
        {"id": pa.array([[1], [2], []])},
        {"id": pa.array([{"a": 1}] * 3)},
        {"taken": BEYOND, "label": pa.array([[1], [2], []])},
        {"id": pa.array([None] * 3, pa.string())},
    ],
)
def test_a_column_that_names_nothing(tmp_path: Path, others: dict[str, Any]) -> None:
    assert read(tmp_path / "x.parquet", pa.table({"image": pa.array(PNGS, pa.binary()), **others})) == ROWS


@pytest.mark.parametrize(
    "names",
    [["a", "b", "c"], pa.array(["a", "b", "c"]).dictionary_encode(), pa.array(["a", "b", "c"], pa.large_string())],
)
def test_columns_of_names(tmp_path: Path, names: Any) -> None:
    found = read(tmp_path / "x.parquet", pa.table({"image": pa.array(PNGS, pa.binary()), "key": names}))
    assert found == [("a", None), ("b", None), ("c", None)]


def test_a_name_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"], pa.binary()).buffers())
    found = read(tmp_path / "x.parquet", pa.table({"image": pa.array(PNGS, pa.binary()), "key": bad}))
    assert found == [("a", None), ("x.parquet:1", None), ("c", None)]


def test_a_struct_with_more_than_bytes_and_path(tmp_path: Path) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.binary(), "taken": pa.timestamp("ms")})
    images = [{"bytes": each, "path": b"p", "taken": 2**62} for each in PNGS[:2]]
    (first, second, third) = read(tmp_path / "x.parquet", pa.table({"image": pa.array([*images, None], kind)}))
    assert [first, second] == ROWS[:2]
    assert third == ("x.parquet:2", "x.parquet:2 has no bytes: give a PNG or JPEG")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"image": pa.array([{"bytes": 1, "path": "a"}])}), "0 columns of bytes (none)"),
        (pa.table({"image": pa.array([[PNGS[0]]])}), "0 columns of bytes (none)"),
        (pa.table({"text": ["1"], "taken": [datetime(2024, 1, 1)]}), "0 columns of bytes (none)"),
        (pa.Table.from_arrays([pa.array(PNGS[:1])] * 2, ["image", "image"]), "2 columns of bytes (image, image)"),
        (pa.table({"a": PNGS[:1], "b": PNGS[:1]}), "2 columns of bytes (a, b)"),
    ],
)
def test_a_file_without_one_column_of_images_is_a_row(tmp_path: Path, table: Any, said: str) -> None:
    ((name, problem),) = read(tmp_path / "x.parquet", table)
    assert (name, problem) == ("x.parquet", f"x.parquet has {said}: give Parquet with one, of images")


def test_a_broken_image_is_a_row(tmp_path: Path) -> None:
    good, bad = read(tmp_path / "x.parquet", pa.table({"image": [PNGS[0], BROKEN]}))
    assert good == ROWS[0]
    assert bad[1].startswith("x.parquet:1 ")
