"""One picture in every mode and depth: the same line image and text, whatever it is given as."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from seqocr.data.images import open_line
from seqocr.inference.load import load
from seqocr.inference.predict import predict
from tests.fuzz.conftest import Command, examples
from tests.fuzz.test_fuzz_images import read_one_by_one

folders = count()
TURN = Image.Transpose
TURNED = {2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM, 5: TURN.TRANSPOSE}  # by EXIF's number
TURNED |= {6: TURN.ROTATE_90, 7: TURN.TRANSVERSE, 8: TURN.ROTATE_270}
MODES = [
    "L",
    "RGB",
    "RGBA",
    "LA",
    "P",
    "P with transparency",
    "CMYK",
    "I",
    "F",
    "I;16 of 10",
    "I;16 of 12",
    "I;16 of 16",
]
MODES += ["F of 1", "RGBA of light ink", "I;16B of 16"]
MARGIN = st.integers(0, 60)
PICTURES = st.tuples(
    st.sampled_from(MODES), st.integers(1, 8), st.tuples(MARGIN, MARGIN, MARGIN, MARGIN), st.integers(0, 10**6)
)


def picture(margins: tuple[int, int, int, int], seed: int) -> np.ndarray:
    """(h, w) uint8: some bars of dark ink on white."""
    draw = np.random.default_rng(seed)
    line = np.full((28, 84), 255, np.uint8)
    for left in range(4, 76, 16):
        top, bottom = sorted(draw.choice(np.arange(2, 27), 2, replace=False))
        line[top : bottom + 1, left : left + int(draw.integers(3, 11))] = draw.integers(0, 60)
    line[2:4, 4:8] = 0  # so that the whole depth is used
    left, top, right, bottom = margins
    return np.pad(line, ((top, bottom), (left, right)), constant_values=255)


def in_mode(mode: str, grey: np.ndarray) -> Image.Image:
    kind, _, bits = mode.partition(" of ")
    image = Image.fromarray(grey)
    if kind.startswith("I;16"):
        deep = np.round(grey * ((2 ** int(bits) - 1) / 255)).astype(np.uint16)
        return Image.frombytes(kind, image.size, deep.astype(">u2" if kind == "I;16B" else "<u2").tobytes())
    if kind in ("I", "F"):
        scaled = grey / 255 * (1 if bits else 65535)
        return Image.fromarray(
            (scaled.round() if kind == "I" else scaled).astype(np.int32 if kind == "I" else np.float32)
        )
    if mode == "P with transparency":
        image = image.convert("P")
        image.info["transparency"] = 255
        return image
    if kind in ("LA", "RGBA"):  # black ink whose strength is its alpha
        ink = Image.new("L", image.size, 255 if bits else 0)
        return Image.merge(kind, [*[ink] * (len(kind) - 1), Image.fromarray(255 - grey)])
    return image.convert(kind)


def as_array(image: Image.Image) -> np.ndarray:
    """As somebody would who has an array in place of a file."""
    if image.mode in ("P", "LA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)


def saved(path: Path, image: Image.Image, orientation: int) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turned = image.transpose(TURNED[orientation]) if orientation > 1 else image.copy()
    turned.save(path, exif=exif, **{key: image.info[key] for key in ("transparency",) if key in image.info})
    return path


@pytest.mark.kind("modes, depths and EXIF in margins")
@examples(6)
@given(pictures=st.lists(PICTURES, min_size=12, max_size=12))
def test_modes(command: Command, lively_weights: Path, tmp_path: Path, pictures: list[tuple]) -> None:
    folder, reader = tmp_path / f"modes-{next(folders)}", load(lively_weights)
    folder.mkdir()
    expected = {}
    for i, (mode, orientation, margins, seed) in enumerate(pictures):
        grey = picture(margins, seed)
        image = in_mode(mode, grey)
        deep = mode in ("CMYK", "F", "I") or mode.startswith(("F ", "I;16B"))
        path = saved(folder / f"{i:02}.{'tif' if deep else 'png'}", image, orientation)
        with Image.open(path) as opened:
            given = [path, path.read_bytes(), str(path), opened, as_array(image)]
            lines = [open_line(Path(each) if isinstance(each, str) else each) for each in given]
            wanted = np.asarray(open_line(grey)).astype(int)
            if mode == "RGBA of light ink":
                wanted = 255 - wanted
            for line in lines:
                assert line.size == lines[0].size, (mode, orientation)
                assert np.abs(np.asarray(line) - wanted).max() <= 1, (mode, orientation)
            assert all(np.array_equal(lines[0], line) for line in lines), (mode, orientation)
        (expected[path.name],) = {each.text for each in predict(reader, lines)}
    assert read_one_by_one(command, folder, lively_weights, len(pictures)) == expected
