from __future__ import annotations

import torch

from seqocr.data.repeated import RepeatedLines
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits


def test_lines_stay_for_some_epochs_and_are_made_once() -> None:
    lines = SequenceMNIST(embedded_digits(), (1, 4), count=30, seed=2)
    repeated = RepeatedLines(lines, 3)
    asked: list[list[int]] = []
    batch = lines.batch
    lines.batch = lambda indices: (asked.append(list(indices)), batch(indices))[1]  # type: ignore[method-assign]
    first = repeated.batch(range(4, 9))
    for epoch in (0, 1, 2):
        images, texts = repeated.at_epoch(epoch).batch(range(4, 9))
        assert texts == first[1]
        assert all(torch.equal(a, b) for a, b in zip(images, first[0], strict=True))
    repeated.at_epoch(2).batch([8, 11, 4])
    assert asked == [[4, 5, 6, 7, 8], [11]]
    for epoch in (3, 5):
        images, texts = repeated.at_epoch(epoch).batch(range(4, 9))
        expected = SequenceMNIST(embedded_digits(), (1, 4), count=30, seed=2, epoch=1).batch(range(4, 9))
        assert texts == expected[1]
        assert all(torch.equal(a, b) for a, b in zip(images, expected[0], strict=True))
    assert len(repeated) == 30
    assert repeated.about["epochs of each line"] == 3
