"""An object store as the source and for the results: S3's interface, served on this machine by moto."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto.server", reason="moto[server] is not installed")
pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
from pyarrow import parquet

from bench.experiments.scale import object_store
from seqocr.batch import engines
from seqocr.errors import InputError
from tests.batch.test_batch import EXAMPLES, many_lines, rows, run, tar_of

pytestmark = pytest.mark.skipif("SEQOCR_SCALE" not in os.environ, reason="`make test-scale` runs these")


@pytest.fixture
def s3() -> Iterator[Any]:
    with object_store.served() as found:
        yield found


def there(s3: Any, folder: str) -> list[dict[str, Any]]:
    names = sorted(name for name in s3.find(folder) if name.endswith(".parquet"))
    return [row for name in names for row in parquet.read_table(io.BytesIO(s3.cat_file(name))).to_pylist()]


def test_images_of_a_store_are_read_as_those_of_a_folder(s3: Any, tmp_path: Path) -> None:
    lines = many_lines(tmp_path / "lines", 90)
    (lines / "0005.png").write_bytes(b"no image")
    for path in lines.iterdir():
        s3.pipe_file(f"archive/lines/{path.name}", path.read_bytes())
    run(lines, tmp_path / "out", size=30)
    run("s3://archive/lines", "s3://archive/out", partial(engines.local, workers=2), size=30)
    found, wanted = there(s3, "archive/out"), rows(tmp_path / "out")
    assert [{**row, "problem": bool(row["problem"])} for row in found] == [
        {**row, "problem": bool(row["problem"])} for row in wanted
    ]
    assert found[5]["problem"].startswith("0005.png ")
    again = run("s3://archive/lines", "s3://archive/out", size=30)
    assert (again.before, again.lines) == (3, 0)


def test_tar_files_of_a_store(s3: Any, tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "a.tar", {f"{i}.png": each.read_bytes() for i, each in enumerate(EXAMPLES)})
    s3.pipe_file("archive/a.tar", tar.read_bytes())
    run("s3://archive/*.tar", "s3://archive/out")
    run(tar, tmp_path / "out")
    assert there(s3, "archive/out") == rows(tmp_path / "out")


def test_a_store_that_refuses(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s3://nobucket/lines "):
        run("s3://nobucket/lines", tmp_path / "out")
    lines = many_lines(tmp_path / "lines", 1)
    with pytest.raises(InputError, match=r"s3://nobucket/out"):
        run(lines, "s3://nobucket/out")
