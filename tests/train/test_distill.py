"""Teachers, and learning what they believe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.soft_labels import Believed, SoftLabelLines, SoftLabels
from seqocr.errors import InputError
from seqocr.train import distill
from tests.conftest import barred, small_recognizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("teachers")


@pytest.fixture(scope="module")
def found(folder) -> SoftLabels:
    digits = barred(600)
    return distill.beliefs(digits, folder, of=distill.teachers(digits, folder, count=1, epochs=25), copies=2)


def test_teachers_learn_and_what_they_believe_of_copies_is_kept(found, folder, monkeypatch):
    digits = barred(600)
    assert (found.copies.labels == digits.labels.repeat(2)).float().mean() > 0.5  # copies of neighbours look alike
    assert found.logits.exp().sum(1).sub(1).abs().max() < 0.01
    assert (found.copies.images[:600] != found.copies.images[600:]).any()
    monkeypatch.setattr(distill, "_looked_at", lambda *_: pytest.fail("they had looked"))
    again = distill.beliefs(digits, folder, copies=2)
    assert torch.equal(again.logits, found.logits)
    other = replace(digits, images=255 - digits.images)  # as many, of as many classes
    for load in (lambda: distill.beliefs(other, folder, copies=2), lambda: distill.teachers(other, folder, count=1)):
        with pytest.raises(InputError, match="is of other digits"):
            load()


def test_a_file_that_is_no_teacher_is_refused(tmp_path):
    (tmp_path / "teacher-0.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"teacher-0\.safetensors cannot be read"):
        distill.teachers(barred(60), tmp_path)


def test_lines_say_what_is_believed_of_each_of_their_symbols(found):
    lines = SoftLabelLines(found, SequenceMNIST(found.copies, (1, 3), seed=1))
    _, texts = lines.at_epoch(1).batch(range(40))
    for text in texts:
        assert isinstance(text, Believed)
        assert text.logits.shape == (len(text), 10)
        assert "".join(str(int(i)) for i in text.logits.argmax(1)) == text


def believed(text: str, *sure: float) -> Believed:
    """A text each of whose symbols is believed so surely, the rest spread evenly."""
    found = Believed(text)
    p = torch.stack([torch.full((10,), (1 - share) / 9) for share in sure])
    p[range(len(text)), [int(symbol) for symbol in text]] = torch.tensor(sure)
    found.logits = p.log()
    return found


@pytest.mark.parametrize("head", ["ar", "parallel"])
def test_what_is_certain_costs_what_it_always_did(head):
    recognizer = small_recognizer()
    features = torch.randn(3, recognizer.encoder.features.tokens, recognizer.encoder.features.dim)
    texts = ["12", "3", "405"]
    usual = recognizer.heads[head].loss(features, texts)
    with distill.learning_beliefs(recognizer):
        assert torch.allclose(recognizer.heads[head].loss(features, texts), usual, atol=1e-6)
    assert recognizer.heads[head].loss(features, texts) == usual


@pytest.mark.parametrize("head", ["ar", "parallel"])
def test_beliefs_are_learned_and_not_labels(head):
    """The loss is least where a head believes what teachers do: nowhere near certainty."""
    recognizer = small_recognizer(heads=(head,))
    features = torch.randn(1, recognizer.encoder.features.tokens, recognizer.encoder.features.dim)
    texts = [believed("12", 0.6, 0.9)]
    optimizer = torch.optim.Adam(recognizer.heads.parameters(), lr=0.03)
    with distill.learning_beliefs(recognizer):
        for _ in range(300):
            optimizer.zero_grad()
            recognizer.heads[head].loss(features, texts).backward()
            optimizer.step()
    confidence = float(recognizer.heads[head].eval().decode(features).confidences)
    assert recognizer.heads[head].decode(features).texts == ["12"]
    assert confidence == pytest.approx(0.6 * 0.9, abs=0.05)


def test_heads_without_places_of_symbols_learn_the_text():
    recognizer = small_recognizer(heads=("ctc",))
    before = recognizer.heads["ctc"].loss
    with distill.learning_beliefs(recognizer):
        assert recognizer.heads["ctc"].loss == before
