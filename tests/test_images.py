"""Image files of every kind to one plain line image, or one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqocr.data.images import LARGEST, load_line
from seqocr.errors import InputError

GREY = np.linspace(0, 255, 20 * 30).round().astype(np.uint8).reshape(20, 30)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK"])
def test_values_stay_whatever_the_mode(tmp_path: Path, mode: str) -> None:
    name = "line.tif" if mode == "CMYK" else "line.png"
    line = load_line(saved(Image.fromarray(GREY).convert(mode), tmp_path / name))
    assert line.mode == "L"
    assert np.abs(np.asarray(line).astype(int) - GREY).max() <= 1


def test_palettes_and_two_colours(tmp_path: Path) -> None:
    two = Image.fromarray(GREY).point(lambda value: 255 * (value > 99)).convert("1")
    for mode in ("1", "P"):
        line = load_line(saved(two.convert(mode), tmp_path / f"{mode}.png"))
        assert np.array_equal(np.asarray(line), 255 * (GREY > 99))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    assert np.array_equal(np.asarray(load_line(saved(deep, tmp_path / "deep.png"))), GREY)


def test_what_is_transparent_is_white_paper(tmp_path: Path) -> None:
    ink = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    ink.putpixel((3, 3), (10, 20, 30, 255))
    line = load_line(saved(ink, tmp_path / "ink.png"))
    assert line.getpixel((0, 0)) == 255
    assert line.getpixel((3, 3)) == pytest.approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30, abs=1)


def test_the_camera_was_held_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    line = load_line(saved(Image.fromarray(GREY), tmp_path / "turned.png", exif=exif))
    assert np.array_equal(np.asarray(line), np.rot90(GREY, -1))


def test_what_a_phone_puts_behind_a_photograph_is_left_aside(tmp_path: Path) -> None:
    photograph, preview = Image.fromarray(GREY), Image.new("L", (8, 8))
    path = saved(photograph, tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[preview], quality=95)
    with Image.open(path) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
    assert np.abs(np.asarray(load_line(path)).astype(int) - GREY).max() <= 8


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
    (folder / "none.bmp").write_bytes(b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + bytes(36))  # 0x0 pixels
    return {
        "missing.png": "does not exist",
        "empty.png": "is empty",
        "text.png": "is not an image",
        "half.jpg": "cannot be read",
        "moving.gif": "3 frames",
        "wide.png": f"{LARGEST + 1}×10 pixels",
        "thin.png": "30×1 pixels",
        "none.bmp": "",
    }


def test_what_is_no_line_image_is_named_with_its_reason(tmp_path: Path) -> None:
    for name, reason in broken(tmp_path).items():
        with pytest.raises(InputError) as raised:
            load_line(tmp_path / name)
        message = str(raised.value)
        assert message.startswith(str(tmp_path / name))
        assert reason in message
        assert "\n" not in message
        assert ": give " in message
