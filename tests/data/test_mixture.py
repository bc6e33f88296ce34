"""What a training run learns from."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from seqocr.data.augment import Augmentation, LineAugmentation
from seqocr.data.folder import LineFolder, ShuffledLines
from seqocr.data.mixture import DataMixture, Lines, TrainingLines, mix_levels, read_chunks
from seqocr.errors import InputError
from tests.conftest import coded, own_lines

PLAIN = Augmentation().with_strength(0)


def own(folder: Path, count: int = 20) -> tuple[TrainingLines, Lines]:
    train, held_out = LineFolder(own_lines(folder, count)).split(0.4, "validation")
    return ShuffledLines(train, LineAugmentation().with_strength(0)), held_out


def made(levels: str, folder: Path | None = None, length: int | tuple[int, int] = 2) -> DataMixture:
    digits = coded(60), coded(40, "validation")
    return DataMixture(mix_levels(levels, length, 0, PLAIN, digits, own(folder) if folder else None))


def test_every_batch_is_mixed_as_asked_for(tmp_path: Path) -> None:
    mixture = made("grid,data,grid,jitter", tmp_path)
    for images, texts in islice(map(read_chunks, mixture.schedule(8)), 5):
        # In the order in which levels are first named. Digits side by side are 28 pixels high, those of a level are 40,
        # and those of the folder 20 or cut to less.
        heights = [len(image) for image in images]
        assert (heights[:4], heights[6:]) == ([28] * 4, [40] * 2)
        assert max(heights[4:6]) <= 20
        assert len(texts) == 8
    assert max(image.height for image in mixture.held_out(8).batch(range(8))[0]) <= 20  # your data alone
    assert [len(image) for image in made("grid,jitter,grid").held_out(9).batch(range(9))[0]] == [28] * 6 + [40] * 3
    assert [part["weight"] for part in mixture.about] == [2, 1, 1]


def test_held_out_lines_can_be_had_a_few_at_a_time() -> None:
    held_out = made("grid,jitter,grid").held_out(9)
    assert len(held_out) == 9
    images, texts = held_out.batch(range(9))
    pieces = [held_out.batch(range(start, min(9, start + 4))) for start in range(0, 9, 4)]
    assert [len(image) for image in pieces[1][0]] == [28, 28, 40, 40]  # from both parts
    assert [text for _, part in pieces for text in part] == texts
    assert all(a.equal(b) for a, b in zip((i for part, _ in pieces for i in part), images, strict=True))


def test_levels_have_strings_of_their_own() -> None:
    _, texts = read_chunks(next(made("grid,jitter", length=6).schedule(4)))
    assert texts[:2] != texts[2:]


def test_batches_go_on_from_any_step(tmp_path: Path) -> None:
    """Through several epochs, whose lengths in batches are not the same where strings' lengths are mixed."""
    mixture = made("grid,data", tmp_path, length=(1, 3))
    whole = list(map(read_chunks, islice(mixture.schedule(6), 30)))
    for step in (0, 1, 7, 29):
        images, texts = read_chunks(next(mixture.schedule(6, step)))
        assert texts == whole[step][1]
        assert all(torch.equal(a, b) for a, b in zip(images, whole[step][0], strict=True))


def test_an_epoch_has_every_line_once_and_the_next_another_order(tmp_path: Path) -> None:
    lines, _ = own(tmp_path)
    first, second = (lines.at_epoch(epoch).batch(range(len(lines)))[1] for epoch in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize(
    ("levels", "size", "words"),
    [
        ("grid,wild,wild", 4, "multiple of 3"),
        ("grid", 31, "30 lines to learn from are fewer than the 31"),
        ("misty", 4, "unknown level 'misty'"),
        ("data", 4, "is your data: give a folder"),
    ],
)
def test_what_cannot_be_mixed_is_refused(levels: str, size: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(levels).schedule(size)
