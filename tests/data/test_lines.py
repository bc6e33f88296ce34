"""Lines as people write them: by one writer, the same in any batch, and of the numbers asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seqocr.data.sources.datasets import Digits
from seqocr.data.sources.strokes import Strokes, load_strokes
from seqocr.data.synthetic.lines import Glyphs, SyntheticLines, TextSampler
from seqocr.data.synthetic.pen import transform_strokes
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.errors import InputError
from tests.conftest import barred, coded
from tests.data.test_strokes import written


@pytest.fixture(scope="module")
def strokes(tmp_path_factory) -> Strokes:
    return load_strokes(written(tmp_path_factory.mktemp("strokes") / "digits.jsonl"), "train")


def glyphs_of(kind: str, strokes: Strokes) -> Glyphs:
    return Glyphs(strokes) if kind == "strokes" else Glyphs(barred(300), torch.arange(300) // 50)


kinds = pytest.mark.parametrize("kind", ["strokes", "bitmaps"])


@kinds
def test_a_line_is_the_same_alone_and_in_any_batch(strokes, kind):
    def lines() -> SyntheticLines:
        return SyntheticLines(glyphs_of(kind, strokes), TextSampler((1, 6)), WriterStyle(), count=20, seed=5)

    images, texts = lines().batch(range(20))
    again = lines()
    for i in reversed(range(20)):
        (image,), (text,) = again.batch([i])
        assert text == texts[i]
        assert torch.equal(image, images[i])
    some, _ = again.batch([7, 0, 19])
    assert all(torch.equal(a, images[i]) for a, i in zip(some, (7, 0, 19), strict=True))


@kinds
def test_lines_are_grey_images_of_sizes_that_people_have(strokes, kind):
    images, texts = SyntheticLines(glyphs_of(kind, strokes), TextSampler((1, 8)), WriterStyle(), count=60).batch(
        range(60)
    )
    for image, text in zip(images, texts, strict=True):
        assert image.dtype == torch.uint8
        assert 8 <= image.shape[0] <= 160
        assert 5 <= image.shape[1] <= 200 * len(text)
        assert image.float().std() > 2, "nothing is written"
    assert {len(text) for text in texts} == set(range(1, 9))


def test_every_epoch_and_every_seed_is_another(strokes):
    glyphs = Glyphs(strokes)
    lines = SyntheticLines(glyphs, TextSampler(5), WriterStyle(), count=8, seed=1)
    first = lines.batch(range(8))[1]
    assert lines.at_epoch(0).batch(range(8))[1] == first
    assert lines.at_epoch(1).batch(range(8))[1] != first
    assert SyntheticLines(glyphs, TextSampler(5), WriterStyle(), count=8, seed=2).batch(range(8))[1] != first


def test_a_line_is_by_one_writer():
    """Writers who have all digits; of one who has not, others lend theirs."""
    pool = coded(600)
    writers = torch.arange(600) // 100
    lines = SyntheticLines(Glyphs(pool, writers), TextSampler((2, 8)), WriterStyle(), count=200)
    for members, ids in zip(lines._members, lines._ids, strict=True):
        assert len(set(writers[members].tolist())) == 1
        assert pool.labels[members].tolist() == ids.tolist()
    few = torch.where(pool.labels == 3, 6, writers)  # all threes are by another
    lines = SyntheticLines(Glyphs(pool, few), TextSampler((2, 8)), WriterStyle(), count=200)
    mixed = 0
    for members, ids in zip(lines._members, lines._ids, strict=True):
        assert pool.labels[members].tolist() == ids.tolist()
        mixed += len({w for w, i in zip(few[members].tolist(), ids.tolist(), strict=True) if i != 3}) > 1
    assert mixed < 40  # those of the writer of threes, a tenth


def test_texts_repeat_and_end_in_zeros_as_often_as_asked():
    generator = torch.Generator().manual_seed(0)
    plain = TextSampler(5, repeats=0, round=0).sample(4000, 10, generator)
    again = TextSampler(5, repeats=0.5, round=0).sample(4000, 10, generator)
    rounded = TextSampler(5, repeats=0, round=0.5).sample(4000, 10, generator)

    def repeats(rows: list[torch.Tensor]) -> float:
        return float(torch.stack([(row[1:] == row[:-1]).float().mean() for row in rows]).mean())

    def ending(rows: list[torch.Tensor], zeros: int) -> float:
        return float(torch.stack([(row[-zeros:] == 0).all().float() for row in rows]).mean())

    assert repeats(plain) == pytest.approx(0.1, abs=0.02)
    assert repeats(again) == pytest.approx(0.55, abs=0.02)
    assert ending(plain, 2) == pytest.approx(0.01, abs=0.01)
    assert ending(rounded, 2) == pytest.approx(0.01 + 0.5 * 4 / 9, abs=0.04)
    assert not any(len(row) > 1 and (row == 0).all() and row[0] for row in rounded)


def drawn(strokes: Strokes, text: str, style: WriterStyle, seed: int = 0) -> torch.Tensor:
    labels = torch.tensor([int(symbol) for symbol in text])
    chosen = torch.stack([(strokes.labels == label).nonzero()[0, 0] for label in labels])
    generator = torch.Generator().manual_seed(seed)
    lines = torch.rand(1, style.line_noise_size, generator=generator)
    noise = torch.rand(len(text), style.digit_noise_size, generator=generator)
    (image,) = style.draw(
        lambda transform: transform_strokes(strokes.trajectories[chosen], transform), [text], lines, noise
    )
    return image


PLAIN = WriterStyle(
    shade=(1, 1), ink=(1, 1), gradient=0, texture=0, rule=0, noise=0, blur=0, jpeg=(95, 95), invert=0, flagged=0,
    barred=0, joined=0, grouped=0, separated=0, ended=0, headroom=(0.3, 0.3), margin=(0.3, 0.3),
)  # fmt: skip


def ink(image: torch.Tensor) -> float:
    return float((255 - image.float()).sum() / 255)


@pytest.mark.parametrize(
    ("text", "habit"),
    [
        ("1234", {"grouped": 1.0}),
        ("21", {"flagged": 1.0}),
        ("27", {"barred": 1.0}),
        ("25", {"ended": 1.0}),
        ("23", {"separated": 1.0}),
        ("9999", {"joined": 1.0, "gap": (0.3, 0.3)}),
    ],
)
def test_habits_of_a_hand_leave_ink(strokes, text, habit):
    shared = {"gap": habit["gap"]} if "gap" in habit else {}
    more = [ink(drawn(strokes, text, replace(PLAIN, **habit), seed)) for seed in range(6)]
    plain = [ink(drawn(strokes, text, replace(PLAIN, **shared), seed)) for seed in range(6)]
    assert np.mean(more) > np.mean(plain) + 3
    untouched = "5" if text != "25" else ""
    if untouched:
        assert ink(drawn(strokes, "5", replace(PLAIN, **habit))) == pytest.approx(
            ink(drawn(strokes, "5", replace(PLAIN, **shared)))
        )


def test_no_ink_is_cut_off_where_there_is_room(strokes):
    for seed in range(10):
        image = drawn(strokes, "3141", PLAIN, seed)
        border = torch.cat([image[0], image[-1], image[:, 0], image[:, -1]])
        assert border.min() > 200


def test_paper_is_dark_or_light_printed_and_ruled(strokes):
    plain = drawn(strokes, "5", PLAIN)
    assert drawn(strokes, "5", replace(PLAIN, shade=(0.5, 0.5))).float().mean() < plain.float().mean() - 80
    assert drawn(strokes, "5", replace(PLAIN, invert=1.0)).float().mean() < 128
    assert ink(drawn(strokes, "5", replace(PLAIN, rule=1.0))) > ink(plain) + 3
    assert ink(drawn(strokes, "5", replace(PLAIN, texture=1.0))) > ink(plain) + 3


def test_digits_that_are_not_all_there_are_refused():
    pool = coded(60)
    keep = pool.labels != 4
    some = Digits(pool.images[keep], pool.labels[keep], "some", "train")
    with pytest.raises(InputError, match="some does not have all of '0123456789'"):
        SyntheticLines(Glyphs(some), TextSampler(3), WriterStyle())


def test_an_index_beyond_the_end_is_none(strokes):
    lines = SyntheticLines(Glyphs(strokes), TextSampler(3), WriterStyle(), count=4)
    with pytest.raises(IndexError):
        lines.batch([4])
    assert (len(lines), lines.about["writers"]) == (4, len(strokes.writers.unique()))
