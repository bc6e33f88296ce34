"""Notes on marks that are no digits, on lines longer than a head writes, and on images without digits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.data.synthetic.layouts import level
from seqocr.inference.notes import BLANK, FULL, MARK, NOTHING_READ, find_notes
from seqocr.inference.prediction import Prediction


def printed(text: str, size: int = 34) -> Image.Image:
    font = ImageFont.load_default(size)
    left, top, right, bottom = map(int, font.getbbox(text))
    line = Image.new("L", (right - left + 16, bottom - top + 16), 255)
    ImageDraw.Draw(line).text((8 - left, 8 - top), text, fill=0, font=font)
    return line


MARKS = {
    "12.50": "1250",
    "1,234": "1234",
    "-57": "57",
    "−57": "57",
    "1-2": "12",
    "12:30": "1230",
    "+49 170": "749170",
}


@pytest.mark.parametrize("shown", MARKS)
@pytest.mark.parametrize("light_on_dark", [False, True])
def test_a_mark_in_print_is_noted(shown: str, light_on_dark: bool) -> None:
    line = printed(shown).point(lambda x: 255 - x) if light_on_dark else printed(shown)
    assert find_notes(line, MARKS[shown], 0.97, 10) == (MARK,)


@pytest.mark.parametrize(("shown", "text"), [("(123)", "11231"), ("+49", "449")])
def test_a_weaker_suspicion_counts_where_the_text_is_doubtful(shown: str, text: str) -> None:
    assert find_notes(printed(shown), text, 0.5) == (MARK,)


def test_digits_in_print_have_no_note() -> None:
    for text in ("0", "1", "7", "1234567890", "4711", "100", "88"):
        assert find_notes(printed(text), text, 0.95, 10) == ()


def handwritten(mark: str) -> Image.Image:
    """Two digits, a mark, two digits."""
    cells = [255 - x.numpy() for x in embedded_digits().images[[700, 1400, 2100, 2800]]]
    between = Image.new("L", (14, 28), 255)
    draw = ImageDraw.Draw(between)
    match mark:
        case "point":
            draw.ellipse((5, 20, 8, 23), fill=0)
        case "comma":
            draw.line((8, 20, 5, 26), fill=0, width=3)
        case "minus":
            draw.line((2, 14, 12, 13), fill=0, width=2)
        case "plus":
            draw.line((1, 14, 12, 14), fill=0, width=2)
            draw.line((6, 8, 6, 20), fill=0, width=2)
    return Image.fromarray(np.concatenate([*cells[:2], np.asarray(between), *cells[2:]], axis=1))


@pytest.mark.parametrize("mark", ["point", "comma", "minus", "plus"])
def test_a_mark_by_hand_is_noted(mark: str) -> None:
    text = "12345" if mark == "plus" else "1234"  # a plus is taken for a digit
    assert find_notes(handwritten(mark), text, 0.97, 10) == (MARK,)
    assert find_notes(handwritten(""), "1234", 0.97, 10) == ()


@pytest.mark.parametrize(("name", "most"), [("grid", 6), ("jitter", 6), ("wild", 6)])
def test_notes_on_usual_lines_are_rare(name: str, most: int) -> None:
    strings = SequenceMNIST(embedded_digits(), (1, 10), count=200, seed=1, layout=level(name))
    images, texts = strings.batch(range(200))
    notes = [find_notes(Image.fromarray(x.numpy()), t, 0.95, 10) for x, t in zip(images, texts, strict=True)]
    assert sum(map(bool, notes)) <= most


def test_more_digits_than_a_head_writes_are_noted() -> None:
    line = printed("123456789012")
    assert find_notes(line, "1234567801", 0.9, 10) == (FULL,)
    assert find_notes(line, "123456789012", 0.9, None) == ()
    assert find_notes(printed("1234567890"), "1234567890", 0.9, 10) == ()
    assert find_notes(printed("1234567890"), "1234567890", 0.4, 10) == (FULL,)


def test_an_empty_text_says_what_the_image_shows() -> None:
    assert find_notes(Image.new("L", (100, 30), 200), "", 0.99) == (BLANK,)
    assert find_notes(Image.new("L", (100, 30), 200), "1", 0.3) == (BLANK,)
    assert find_notes(printed("Hello"), "", 0.99) == (NOTHING_READ,)


def test_a_line_with_a_note_passes_no_threshold() -> None:
    noted = Prediction("1250", 0.98, notes=(MARK,))
    assert noted.accepted(0.0) is noted
    assert noted.accepted(0.1) == Prediction("", 0.98, notes=(MARK,))
    assert noted.as_json()["notes"] == [MARK]
    sure = Prediction("1250", 0.98)
    assert sure.accepted(0.9) is sure
    assert sure.accepted(0.99).text == ""
