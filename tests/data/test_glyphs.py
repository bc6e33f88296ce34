"""Sources of glyphs: UNIPEN's format, folders of one's own, and MNIST with its writers."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seqocr.data.sources import datasets as sources
from seqocr.data.sources import torchvision_sets
from seqocr.data.sources.glyphs import load_glyphs
from seqocr.data.sources.strokes import Strokes, split_of
from seqocr.data.sources.unipen import digits_of
from seqocr.errors import InputError
from tests.conftest import coded
from tests.data.test_strokes import written

SHEET = """
.WRITER_ID Ada
.STYLE PRINTED
.PEN_DOWN
\t10\t100
\t10\t0
.PEN_UP
.DT 100
.PEN_DOWN
0 50 7
20 50 9
.PEN_UP
.PEN_DOWN
5 5
6 6
7 7
8 8
.PEN_UP
"""
SEGMENTS = """.VERSION 1.0
.INCLUDE apb/app.doc
.INCLUDE apb/data/sheet.dat
.SEGMENT CHARACTER 0-1 ? "4"
.SEGMENT DIGIT 2 OK "1"
.SEGMENT CHARACTER 2:1-2:2 ? "7"
.SEGMENT CHARACTER 9 ? "8"
.SEGMENT CHARACTER 0 ? "x"
.SEGMENT WORD 0-2 ? "41"
"""


@pytest.fixture
def unipen(tmp_path) -> Path:
    (tmp_path / "data/1a/apb/one").mkdir(parents=True)
    (tmp_path / "include/apb/data").mkdir(parents=True)
    (tmp_path / "data/1a/apb/one/sheet.dat").write_text(SEGMENTS)
    (tmp_path / "include/apb/data/sheet.dat").write_text(SHEET)
    return tmp_path


def test_segments_of_unipen_are_digits_of_a_writer(unipen, caplog):
    four, one, seven = digits_of(unipen)
    # y counts downwards here, and upwards there.
    assert four == (4, "apb/Ada", [[[10, -100], [10, 0]], [[0, -50], [20, -50]]])
    assert one == (1, "apb/Ada", [[[5, -5], [6, -6], [7, -7], [8, -8]]])
    assert seven == (7, "apb/Ada", [[[6, -6], [7, -7]]])
    assert "1 digits left out, whose strokes are not there" in caplog.text


def test_pen_up_with_points_is_a_component_and_none_is_drawn(unipen):
    sheet = unipen / "include/apb/data/sheet.dat"
    sheet.write_text(SHEET.replace(".PEN_UP\n.DT 100\n", ".PEN_UP\n1 1\n2 2\n"))
    found = {label: strokes for label, _, strokes in digits_of(unipen)}
    assert found[4] == [[[10, -100], [10, 0]]]
    assert found[1] == [[[0, -50], [20, -50]]]


def test_without_a_name_a_sheet_is_a_writer(unipen):
    sheet = unipen / "include/apb/data/sheet.dat"
    sheet.write_text(SHEET.replace(".WRITER_ID Ada\n", ""))
    assert {writer for _, writer, _ in digits_of(unipen)} == {"apb/one/sheet"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: (d / "include/apb/data/sheet.dat").unlink(), "sheet.dat cannot be read"),
        (lambda d: (d / "data/1a/apb/one/sheet.dat").write_text(".VERSION 1.0\n"), "has no digits in data/1a"),
        (
            lambda d: (d / "include/apb/data/sheet.dat").write_text(".INCLUDE apb/data/sheet.dat"),
            "is included by a file that it includes",
        ),
    ],
)
def test_a_copy_of_unipen_that_is_not_whole_says_so(unipen, change: Callable[[Path], object], said):
    change(unipen)
    with pytest.raises(InputError, match=said):
        list(digits_of(unipen))


def test_unipen_is_a_source(unipen):
    split = split_of("apb/Ada")
    glyphs = load_glyphs(str(unipen), split)
    assert isinstance(glyphs.pool, Strokes)
    assert glyphs.pool.labels.tolist() == [4, 1, 7]
    assert len(glyphs.writers.unique()) == 1


def test_a_folder_with_strokes_is_a_source(tmp_path):
    written(tmp_path / "digits.jsonl.gz")
    glyphs = load_glyphs(str(tmp_path), "train")
    assert torch.equal(glyphs.writers, glyphs.pool.writers)
    assert len(load_glyphs(str(tmp_path / "digits.jsonl.gz"), "train").pool) == len(glyphs.pool)


@pytest.fixture
def bitmaps(tmp_path) -> Path:
    for label in range(10):
        (tmp_path / str(label)).mkdir()
        for writer in range(30):
            page = np.full((60, 50), 240, np.uint8)
            page[10 : 12 + 4 * label, 20:30] = 10
            page = page if writer % 2 else 255 - page
            Image.fromarray(page).save(tmp_path / str(label) / f"w{writer}-{label}.png")
    return tmp_path


def test_a_folder_of_images_is_a_source_split_by_writer(bitmaps):
    parts = {split: load_glyphs(str(bitmaps), split) for split in ("train", "validation", "test")}
    assert sum(len(part.pool) for part in parts.values()) == 300
    for part in parts.values():
        counts = part.writers.bincount()
        assert (counts == 10).all(), "a writer is in two splits"
    images = parts["train"].pool.images
    assert images.shape[1:] == (28, 28)
    for image in images:
        rows, columns = (image > 100).any(1).nonzero(), (image > 100).any(0).nonzero()
        assert max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1 == pytest.approx(20, abs=1)
        assert image[0].max() == image[:, 0].max() == 0


def test_what_is_no_source_says_so(tmp_path):
    with pytest.raises(InputError, match=r"no digits .*nowhere: give mnist, qmnist, or a folder of your own"):
        load_glyphs(str(tmp_path / "nowhere"), "train")
    with pytest.raises(InputError, match="has no digits of the split 'train'"):
        load_glyphs(str(tmp_path), "train")
    with pytest.raises(InputError, match="unknown split 'dev'"):
        load_glyphs("mnist", "dev")


@pytest.fixture
def qmnist(monkeypatch, tmp_path) -> torch.Tensor:
    """Files as MNIST's and QMNIST's, of 300 digits by 60 writers; the 20 first are the embedded ones."""
    digits = coded(300)
    rows = np.zeros((300, 8), np.int32)
    rows[:, 0], rows[:, 2] = digits.labels, 1000 + np.arange(300) // 5
    packed = struct.pack(">BBBBII", 0, 0, 12, 2, 300, 8) + rows.astype(">i4").tobytes()
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(packed))
    monkeypatch.setattr(sources, "_find_mnist", lambda root: (root, "MNIST (made)"))
    monkeypatch.setattr(sources, "read_image_file", lambda path: digits.images)
    monkeypatch.setattr(sources, "read_label_file", lambda path: digits.labels)
    monkeypatch.setattr(sources, "embedded_digits", lambda: digits[:20])
    monkeypatch.setattr(torchvision_sets, "fetch", lambda *given: path)
    return digits.images


def test_mnist_with_writers_is_split_by_them(qmnist, tmp_path):
    parts = {split: load_glyphs("qmnist", split, tmp_path) for split in ("train", "validation")}
    seen = [{tuple(image[0, :2].tolist()) for image in part.pool.images} for part in parts.values()]
    assert not seen[0] & seen[1]
    assert parts["train"].pool.source == "MNIST (made), writers by QMNIST"
    first = {tuple(image[0, :2].tolist()) for image in qmnist[:20]}
    assert not first & seen[0], "an embedded digit is learned from"
    for part in parts.values():
        assert (part.writers.bincount() <= 5).all()
    held_out = {w for w in range(1000, 1060) if split_of(f"qmnist/{w}") == "validation"}
    assert len(parts["validation"].pool) == 5 * len(held_out)


def test_labels_of_other_images_are_refused(qmnist, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "read_label_file", lambda path: torch.zeros(300, dtype=torch.long))
    with pytest.raises(InputError, match="are not those of these images"):
        load_glyphs("qmnist", "train", tmp_path)
