"""Teachers, their soft labels, and learning from those."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.soft_labels import SoftLabelLines, SoftLabels, SoftLabelText
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer
from seqocr.train import distill
from tests.conftest import barred, small_recognizer

DIGITS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("teachers")


@pytest.fixture(scope="module")
def found(folder) -> SoftLabels:
    digits = barred(DIGITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill, "_BATCH", 40)
        teachers = distill.load_teachers(digits, folder, count=1, epochs=8)
    return distill.load_soft_labels(digits, folder, teachers=teachers, copies=2)


def test_teachers_learn_and_their_soft_labels_are_saved(found, folder, monkeypatch):
    digits = barred(DIGITS)
    assert (found.copies.labels == digits.labels.repeat(2)).float().mean() > 0.5  # copies of neighbours look alike
    assert found.logits.exp().sum(1).sub(1).abs().max() < 0.01
    assert (found.copies.images[:DIGITS] != found.copies.images[DIGITS:]).any()
    monkeypatch.setattr(distill, "_label_copies", lambda *_: pytest.fail("labelled again"))
    again = distill.load_soft_labels(digits, folder, copies=2)
    assert torch.equal(again.logits, found.logits)
    other = replace(digits, images=255 - digits.images)  # as many, of as many classes
    for load in (partial(distill.load_soft_labels, copies=2), partial(distill.load_teachers, count=1)):
        with pytest.raises(InputError, match="belongs to other digits"):
            load(other, folder)


def test_a_file_that_is_no_teacher_is_refused(tmp_path):
    (tmp_path / "teacher-0.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"teacher-0\.safetensors cannot be read"):
        distill.load_teachers(barred(60), tmp_path)


def test_lines_have_soft_labels_of_each_of_their_symbols(found):
    lines = SoftLabelLines(found, SequenceMNIST(found.copies, (1, 3), seed=1))
    _, texts = lines.at_epoch(1).batch(range(40))
    for text in texts:
        assert isinstance(text, SoftLabelText)
        assert text.logits.shape == (len(text), 10)
        assert "".join(str(int(i)) for i in text.logits.argmax(1)) == text


def soft(text: str, *confidences: float) -> SoftLabelText:
    """A text each of whose symbols has this probability, the others of its place equal ones."""
    p = torch.stack([torch.full((10,), (1 - confidence) / 9) for confidence in confidences])
    p[range(len(text)), [int(symbol) for symbol in text]] = torch.tensor(confidences)
    return SoftLabelText.of(text, p.log())


def features_of(recognizer: Recognizer, lines: int) -> torch.Tensor:
    return torch.randn(lines, recognizer.encoder.features.tokens, recognizer.encoder.features.dim)


@pytest.mark.parametrize("head", ["ar", "parallel"])
def test_texts_without_soft_labels_cost_the_same_beside_others(head):
    recognizer = small_recognizer()
    features, texts = features_of(recognizer, 3), ["12", soft("3", 0.8), "405"]
    loss = partial(distill.training_loss, recognizer.heads[head])
    plain = [features[[0, 2]], [texts[0], texts[2]]]
    assert loss(*plain) == recognizer.heads[head].loss(*plain)
    places = [len(text) + 1 if head == "ar" else 3 for text in texts]
    alone = [loss(features[[i]], [text]) for i, text in enumerate(texts)]
    mean = sum(n * each for n, each in zip(places, alone, strict=True)) / sum(places)
    assert torch.allclose(loss(features, texts), mean, atol=1e-6)
    assert loss(features, texts) != recognizer.heads[head].loss(features, texts)


@pytest.mark.parametrize("head", ["ar", "parallel"])
def test_heads_learn_the_confidence_of_soft_labels(head):
    """The loss is least where a head is as confident as teachers are: nowhere near certainty."""
    recognizer = small_recognizer(heads=(head,))
    features, texts = features_of(recognizer, 1), [soft("12", 0.6, 0.9)]
    optimizer = torch.optim.Adam(recognizer.heads.parameters(), lr=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        distill.training_loss(recognizer.heads[head], features, texts).backward()
        optimizer.step()
    output = recognizer.heads[head].eval().decode(features)
    assert output.texts == ["12"]
    assert output.confidences.item() == pytest.approx(0.6 * 0.9, abs=0.05)


def test_heads_without_a_place_per_symbol_learn_the_text():
    recognizer = small_recognizer(heads=("ctc",))
    features = features_of(recognizer, 1)
    expected = recognizer.heads["ctc"].loss(features, ["12"])
    assert distill.training_loss(recognizer.heads["ctc"], features, [soft("12", 0.6, 0.9)]) == expected
