"""CRNN learns, goes on where it was cut short, and reads. Where docTR is installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.study import crnn, family
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.train.state import read_tensors

pytestmark = pytest.mark.skipif(bool(crnn.missing()), reason=crnn.missing())
CONFIG = replace(family.SIZES["smoke"].config(seed=0), steps=3, batch_size=3, warmup=1)


def test_a_training_that_was_cut_short_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    losses: list[float] = []
    crnn.learn(CONFIG, whole, lambda _, loss: losses.append(loss))
    assert len(losses) == 3
    monkeypatch.setattr(crnn, "_SAVE_EVERY", 2)

    def stop(step: int, _: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crnn.learn(CONFIG, cut, stop)
    assert not crnn.is_learned(cut)
    again: list[int] = []
    crnn.learn(CONFIG, cut, lambda step, _: again.append(step))
    assert again == [3]
    assert crnn.is_learned(cut)
    assert [path.name for path in cut.iterdir()] == ["model.safetensors"]
    for name, tensor in read_tensors(whole / "model.safetensors")[1].items():
        torch.testing.assert_close(read_tensors(cut / "model.safetensors")[1][name], tensor, msg=name)


def test_every_line_is_read_once(tmp_path: Path) -> None:
    crnn.learn(CONFIG, tmp_path)
    reader = crnn.Reader(tmp_path)
    lines = SequenceMNIST(embedded_digits(), (1, 10), count=5)
    rows = crnn.read_sets(reader, [("some", lines)])
    assert rows[rows["set"] == "some"]["text"].tolist() == lines.batch(range(5))[1]
    assert set(rows["set"]) == {"some", "five-digits"}
    assert rows["prediction"].str.fullmatch(r"\d*").all()
    assert reader.decode(lines.batch(range(5))[0]).passes == 1
