"""Image files of every kind to one plain line image, or one clear error."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqocr.data.images import LARGEST, line_or_problem, open_line, suffixes
from seqocr.errors import InputError

GREY = np.linspace(0, 255, 20 * 30).round().astype(np.uint8).reshape(20, 30)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK"])
def test_values_stay_whatever_the_mode(tmp_path: Path, mode: str) -> None:
    name = "line.tif" if mode == "CMYK" else "line.png"
    line = open_line(saved(Image.fromarray(GREY).convert(mode), tmp_path / name))
    assert line.mode == "L"
    assert np.abs(np.asarray(line).astype(int) - GREY).max() <= 1


def test_palettes_and_two_colours(tmp_path: Path) -> None:
    two = Image.fromarray(GREY).point(lambda value: 255 * (value > 99)).convert("1")
    for mode in ("1", "P"):
        line = open_line(saved(two.convert(mode), tmp_path / f"{mode}.png"))
        assert np.array_equal(np.asarray(line), 255 * (GREY > 99))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    assert np.array_equal(np.asarray(open_line(saved(deep, tmp_path / "deep.png"))), GREY)


def test_what_is_transparent_is_white_paper(tmp_path: Path) -> None:
    ink = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    ink.putpixel((3, 3), (10, 20, 30, 255))
    line = open_line(saved(ink, tmp_path / "ink.png"))
    assert line.getpixel((0, 0)) == 255
    assert line.getpixel((3, 3)) == pytest.approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30, abs=1)


def test_the_camera_was_held_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    line = open_line(saved(Image.fromarray(GREY), tmp_path / "turned.png", exif=exif))
    assert np.array_equal(np.asarray(line), np.rot90(GREY, -1))


def test_what_a_phone_puts_behind_a_photograph_is_left_aside(tmp_path: Path) -> None:
    photograph, preview = Image.fromarray(GREY), Image.new("L", (8, 8))
    path = saved(photograph, tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[preview], quality=95)
    with Image.open(path) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
    assert np.abs(np.asarray(open_line(path)).astype(int) - GREY).max() <= 8


def broken(folder: Path) -> dict[str, str]:
    """Files that are no line images, and what is said of each."""
    good = saved(Image.fromarray(GREY), folder / "good.jpg").read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image at all")
    (folder / "half.jpg").write_bytes(good[: len(good) // 2])
    frames = [Image.fromarray(np.roll(GREY, i)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("L", (LARGEST + 1, 10)).save(folder / "wide.png")
    Image.new("L", (30, 1)).save(folder / "thin.png")
    (folder / "none.bmp").write_bytes(b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + bytes(36))  # of no depth
    return {
        "missing.png": "does not exist",
        "empty.png": "is empty",
        "text.png": "is not an image",
        "half.jpg": "cannot be read",
        "moving.gif": "3 frames",
        "wide.png": f"{LARGEST + 1}×10 pixels",
        "thin.png": "30×1 pixels",
        "none.bmp": "cannot be read",
    }


def test_what_is_no_line_image_is_named_with_its_reason(tmp_path: Path) -> None:
    for name, reason in broken(tmp_path).items():
        with pytest.raises(InputError) as raised:
            open_line(tmp_path / name)
        message = str(raised.value)
        assert message.startswith(str(tmp_path / name))
        assert reason in message
        assert "\n" not in message
        assert ": give " in message


def test_pixels_of_png_that_do_not_have_their_checksum_are_refused(tmp_path: Path) -> None:
    content = bytearray(saved(Image.fromarray(GREY), tmp_path / "line.png", compress_level=0).read_bytes())
    content[content.index(b"IDAT") + 100] ^= 1
    with pytest.raises(InputError, match="bad header checksum in b'IDAT'"):
        open_line(bytes(content))


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_rotated_tiff_that_pillow_has_by_its_path(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(GREY), tmp_path / "turned.tif", exif=exif)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(open_line(image)), np.rot90(GREY, -1 if orientation == 6 else 1))
        assert Path(image.filename) == path  # type: ignore[attr-defined]


def test_no_program_is_started_whatever_a_file_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to `gs`, if it is on PATH: here it is, and notes when it is started."""
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # it is looked for once
    path = tmp_path / "line.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 30\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as image:
        assert image.format == "EPS"
    with pytest.raises(InputError, match=r"is not an image in a supported format \(PNG, JPEG, TIFF"):
        open_line(path)
    assert not started.exists()


@pytest.mark.parametrize("name", ["line.png", "line.jpg", "line.webp", "line.tif", "line.bmp", "line.ppm", "line.gif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_image_is_shrunk_by_a_whole_number(tmp_path: Path, name: str, orientation: int) -> None:
    blocks = np.random.default_rng(0).integers(40, 200, (100, 333), dtype=np.uint8)
    large = Image.fromarray(np.kron(blocks, np.ones((9, 9), dtype=np.uint8)))  # 900 × 2997 pixels: halved
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if name.endswith(("bmp", "ppm", "gif")) else {"exif": exif}
    line = open_line(saved(large, tmp_path / name, **options))
    expected = large.reduce(2)
    if orientation == 6 and options:
        expected = expected.transpose(Image.Transpose.ROTATE_270)
    assert line.size == expected.size
    difference = np.abs(np.asarray(line).astype(int) - np.asarray(expected))
    assert difference.mean() <= (0 if name.endswith(("png", "tif", "bmp", "ppm", "gif")) else 6)  # or lossy


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_what_is_shrunk_becomes_grey_as_what_is_not(tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (700, 3001), dtype=np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    path = saved(image, tmp_path / ("line.tif" if mode == "CMYK" else "line.png"))
    left = saved(image.crop((0, 0, 1500, 700)), tmp_path / ("left.tif" if mode == "CMYK" else "left.png"))
    assert np.array_equal(np.asarray(open_line(path))[:, :750], np.asarray(open_line(left).reduce(2)))


def test_memory_is_bounded_whatever_comes(tmp_path: Path) -> None:
    """Images of 100 million pixels, four bytes each when decoded; of some kinds no more than 25 million are decoded."""
    whole, some = Image.new("RGB", (LARGEST, LARGEST), "white"), Image.new("RGB", (5001, 5000), "white")
    saved(whole, tmp_path / "a.png", compress_level=1)
    saved(whole, tmp_path / "b.jpg")
    saved(some, tmp_path / "c.webp", method=0)
    saved(some, tmp_path / "d.tif", compression="tiff_lzw")
    saved(some, tmp_path / "e.jpg", progressive=True)
    script = """
import resource, sys
from pathlib import Path
from seqocr.data.images import open_line
from seqocr.errors import InputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        print(path.name, *open_line(path).size)
    except InputError as error:
        print(path.name, "at most" if "of at most 25,000,000 pixels" in str(error) else error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    *said, kilobytes = done.stdout.splitlines()
    assert said == ["a.png 1250 1250", "b.jpg 1250 1250", "c.webp at most", "d.tif at most", "e.jpg at most"]
    assert int(kilobytes) < 500_000


def test_pipes_devices_folders_and_long_names_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening, chdir(tmp_path):
        listening.bind("socket.png")
    for name, reason in {
        "pipe.png": "is a pipe or device",
        "zero.png": "is a pipe or device",
        "socket.png": "is a pipe or device",
        ".": "is a folder",
        "x" * 300: "File name too long",
        "zero.png/below.png": "cannot be read (Not a directory)",
        "line\nbreak\x1b.png": r"line\nbreak\x1b.png does not exist",
        os.fsdecode(b"\xff.png"): r"\xff.png does not exist",
    }.items():
        with pytest.raises(InputError) as raised:
            open_line(tmp_path / name)
        assert reason in str(raised.value)


def test_suffixes_are_those_of_the_formats() -> None:
    assert {".png", ".jpg", ".jpeg", ".tif", ".webp", ".pgm", ".mpo"} <= suffixes()
    assert not {".eps", ".pdf", ".ico", ".txt", ""} & suffixes()


KINDS = ("png", "jpg", "webp", "tif", "bmp", "ppm", "gif")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_bytes_give_the_same_line_as_their_file(tmp_path: Path, kind: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(GREY.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
    try:
        path = saved(image, tmp_path / f"line.{kind}", exif=exif)
    except OSError:
        pytest.skip(f"{kind} has no {mode}")
    line, of_bytes = open_line(path), open_line(path.read_bytes())
    assert (of_bytes.mode, of_bytes.size) == (line.mode, line.size) == ("L", line.size)
    assert of_bytes.tobytes() == line.tobytes()
    assert open_line(Image.open(io.BytesIO(path.read_bytes()))).tobytes() == line.tobytes()


def test_a_tiff_is_turned_upright_once(tmp_path: Path) -> None:
    """Pillow turns TIFF itself, and maps a file that it opens by its path: then it gets the rows wrong."""
    exif = Image.Exif()
    exif[0x0112] = 6
    line = open_line(saved(Image.fromarray(GREY), tmp_path / "turned.tif", exif=exif))
    assert np.array_equal(np.asarray(line), np.rot90(GREY, -1))


def test_broken_bytes_are_refused_as_their_file_is_under_the_name_given(tmp_path: Path) -> None:
    for name in broken(tmp_path):
        if name == "missing.png":
            continue
        of_file, of_bytes = line_or_problem(tmp_path / name), line_or_problem((tmp_path / name).read_bytes(), "image 3")
        assert isinstance(of_bytes, str)
        assert of_bytes == str(of_file).replace(str(tmp_path / name), "image 3")
        assert of_bytes.startswith("image 3 ")


def test_a_limit_on_pixels_holds_before_anything_is_decoded(tmp_path: Path) -> None:
    path = saved(Image.new("L", (2000, 1000)), tmp_path / "line.png")
    for source in (path, path.read_bytes(), path.read_bytes()[:200]):
        with pytest.raises(InputError, match=r"image 3 is 2000×1000 pixels: give at most 1,999,999 in all"):
            open_line(source, "image 3", 1_999_999)
    assert open_line(path, "image 3", 2_000_000).size == (2000, 1000)
