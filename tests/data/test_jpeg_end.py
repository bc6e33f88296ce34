"""JPEG files that end too early: read where only the end marker is missing, refused where rows are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from seqocr.data.images import open_line, opening_notes, origin_of
from seqocr.data.jpeg_end import NO_END
from seqocr.errors import InputError

KINDS: dict[str, dict[str, Any]] = {
    "grey": {},
    "colour": {"subsampling": 2},
    "progressive": {"progressive": True},
    "restarts in a row": {"restart_marker_blocks": 3},
    "restarts per row": {"restart_marker_rows": 1},
}


def line(height: int = 64, width: int = 300) -> Image.Image:
    pixels = np.full((height, width), 240, np.uint8)
    pixels[12:-12, 20:-20] = np.random.default_rng(0).integers(0, 256, (height - 24, width - 40))
    return Image.fromarray(pixels)


def jpeg(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or line()).convert("L" if kind == "grey" else "RGB").save(stream, "JPEG", **KINDS[kind], **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [1, 2])
def test_without_an_end_marker_all_pixels_are_read(kind: str, missing: int) -> None:
    whole = jpeg(kind)
    found = open_line(whole[:-missing])
    assert np.array_equal(np.asarray(found), np.asarray(open_line(whole)))
    assert opening_notes(found) == (NO_END,)
    assert opening_notes(open_line(whole)) == ()


def test_files_and_pillow_images_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "line.jpg"
    path.write_bytes(jpeg("colour")[:-2])
    with Image.open(path) as opened:
        lines = [open_line(path), open_line(opened)]
    assert np.array_equal(np.asarray(lines[0]), np.asarray(lines[1]))
    assert {opening_notes(each) for each in lines} == {(NO_END,)}


def test_the_last_corner_may_be_missing() -> None:
    whole = jpeg("colour")
    found, wanted = (np.asarray(open_line(data)).astype(int) for data in (whole[:-5], whole))
    rows, columns = np.nonzero(found != wanted)
    assert len(rows)
    assert rows.min() >= 47
    assert columns.min() >= 286


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.5, 0.2, 0.05])
def test_missing_rows_are_refused(kind: str, share: float) -> None:
    whole = jpeg(kind)
    with pytest.raises(InputError, match=r"the image cannot be read .*truncated"):
        open_line(whole[: -int(len(whole) * share)])


@pytest.mark.parametrize("kind", ["colour", "restarts in a row", "restarts per row"])
def test_rows_below_a_narrow_corner_are_refused(kind: str) -> None:
    """What is lost begins near the right edge: the rows below it count, too."""
    whole = jpeg(kind, line(160, 150))
    assert not [end for end in range(len(whole) // 2, len(whole) * 3 // 4, 23) if _is_read(whole[:end])]


@pytest.mark.parametrize("kind", ["restarts in a row", "restarts per row"])
def test_rows_that_a_restart_marker_should_begin_are_refused(kind: str) -> None:
    whole = jpeg(kind)
    restarts = [i for i in range(len(whole) // 2) if whole[i] == 0xFF and 0xD0 <= whole[i + 1] <= 0xD7]
    assert restarts
    assert not [end for at in restarts for end in (at, at + 1, at + 2) if _is_read(whole[:end])]


def _is_read(data: bytes) -> bool:
    try:
        open_line(data)
    except InputError:
        return False
    return True


def test_a_progressive_image_without_its_last_scans_is_refused() -> None:
    whole = jpeg("progressive")
    scans = [i for i in range(len(whole)) if whole[i : i + 2] == b"\xff\xda"]
    tables = [i for i in range(len(whole)) if whole[i : i + 2] == b"\xff\xc4"]
    assert len(scans) > 5
    for start in scans[1:]:  # between two scans, where nothing is missing of those before
        assert not _is_read(whole[: max(i for i in (*tables, *scans) if i <= start)])


def test_what_is_broken_in_another_way_is_refused() -> None:
    whole = jpeg("colour")
    assert not _is_read(b"\xff\xd8" + whole[400:])
    for end in range(2, 700, 9):
        assert not _is_read(whole[:end])


def test_large_ones_are_shrunk_as_others() -> None:
    y, x = np.mgrid[:2000, :3000]
    page = Image.fromarray((128 + 60 * np.sin(x / 37) + 50 * np.cos(y / 23)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = jpeg("colour", page, exif=exif)
    found, wanted = open_line(whole[:-2]), open_line(whole)
    assert found.size == wanted.size
    assert found.height > found.width
    assert np.array_equal(np.asarray(found), np.asarray(wanted))
    assert origin_of(found) == origin_of(wanted)
    with pytest.raises(InputError):
        open_line(whole[: -len(whole) // 20])


def test_the_setting_of_all_threads_stays() -> None:
    open_line(jpeg("grey")[:-2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
