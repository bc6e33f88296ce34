"""A reader of marks beside the heads: what lines show is read by weights and graphs alike, learned, and noted."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seqocr.data.shown import MARKS, OTHER, ShownText
from seqocr.data.sources.datasets import DIGITS
from seqocr.decoding.constraints import build_constraint
from seqocr.errors import InputError
from seqocr.inference.charset import NAME, CharsetReader
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from tests.conftest import exported_once, lively, small_recognizer, stem_recognizer

HEADS = ("ar", "parallel", "ctc")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return stem_recognizer()


@pytest.fixture(scope="module")
def exported(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> OnnxRecognizer:
    return OnnxRecognizer(exported_once(recognizer, tmp_path_factory))


def lines() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (32, width), dtype=np.uint8) for width in (60, 128, 100, 64)]


def test_a_text_keeps_what_its_line_shows() -> None:
    text = ShownText.of("1A2.5€-", DIGITS)
    assert (text, text.shown) == ("125", f"1{OTHER}2.5{OTHER}-")
    again = pickle.loads(pickle.dumps(text))
    assert (again, again.shown) == (text, text.shown)


def test_weights_and_graphs_tell_what_lines_show(
    recognizer: Recognizer, exported: OnnxRecognizer, tmp_path: Path
) -> None:
    save(recognizer, tmp_path)
    loaded = load_recognizer(tmp_path)
    assert loaded.shown_symbols == exported.shown_symbols == DIGITS + MARKS + OTHER
    for head in HEADS:
        found = [reader.decode(lines(), head).shown for reader in (recognizer, loaded, exported)]
        assert found[0] == found[1] == found[2]
        assert len(set(found[0] or [])) > 1, "the test would show nothing"
        alone = [(recognizer.decode([line], head).shown or [""])[0] for line in lines()]
        assert alone == found[0]
    for a, b in zip(recognizer.marks_log_probs(lines()), exported.marks_log_probs(lines()), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    assert small_recognizer().decode(torch.zeros(1, 28, 84, dtype=torch.uint8), "ctc").shown is None


def test_lines_whose_marks_are_known_are_learned(recognizer: Recognizer) -> None:
    reader = recognizer.marks_reader
    assert reader is not None
    features = torch.randn(3, 16, recognizer.encoder.features.dim)
    known = [ShownText.of("1.2", DIGITS), ShownText.of("-7", DIGITS)]
    loss = reader.loss_of_shown(features[:2], list(known))
    torch.testing.assert_close(reader.loss_of_shown(features, [*known, "5"]), loss)
    unknown = reader.loss_of_shown(features, ["1", "2", "3"])
    assert unknown == 0
    assert unknown.requires_grad  # else the processes of one training would wait for these weights
    assert loss > 0


def test_marks_stay_when_weights_are_adapted(recognizer: Recognizer) -> None:
    for other in (recognizer.adapted(["ctc"]), recognizer.with_heads(["ctc"])):
        assert other.decode(lines()[:1], "ctc").shown == recognizer.decode(lines()[:1], "ctc").shown
    assert small_recognizer().adapted(["ctc"], marks=MARKS).shown_symbols == DIGITS[:10] + MARKS


class _Marked:
    """A reader of marks that sees 1.2 (first line) or 12 in every image, whatever it shows."""

    charset, max_length, shown_symbols = DIGITS, 6, DIGITS + MARKS + OTHER

    def __init__(self, recognizer: Recognizer, shown: str) -> None:
        self.provenance: dict[str, object] = {}
        self.processor, self.heads, self._shown = recognizer.processor, recognizer.heads, shown

    def lattice(self) -> np.ndarray:
        symbols = self.shown_symbols
        rows = np.full((2 * len(self._shown), len(symbols) + 1), 0.001)
        for i, symbol in enumerate(self._shown):
            rows[2 * i, symbols.index(symbol)] = 0.9
            rows[2 * i + 1, -1] = 0.9
        return np.log(rows / rows.sum(axis=1, keepdims=True))

    def marks_log_probs(self, images: list[Image.Image]) -> list[np.ndarray]:
        return [self.lattice() for _ in images]


@pytest.mark.parametrize(
    ("shown", "charset", "text", "is_noted"),
    [
        ("12.50", DIGITS, "1250", True),
        ("12.50", DIGITS + ".", "12.50", False),
        ("-57", DIGITS + ".", "57", True),
        ("-57", DIGITS + "-", "-57", False),
        (f"1{OTHER}2", DIGITS + MARKS, "12", True),
        ("12 34", DIGITS, "1234", False),
        ("1250", DIGITS, "1250", False),
        ("1.1", DIGITS, "11", True),
    ],
)
def test_a_charset_keeps_what_is_asked_for_and_notes_the_rest(
    recognizer: Recognizer, shown: str, charset: str, text: str, is_noted: bool
) -> None:
    reader = CharsetReader(_Marked(recognizer, shown), charset)  # type: ignore[arg-type]
    line = Image.fromarray(lines()[1])
    for options in (ReadOptions(), ReadOptions(top=2, symbols=True)):
        (prediction,) = predict(reader, [line], options)
        assert prediction.text == text
        assert (prediction.notes == (f"the line shows more: {shown.replace(OTHER, '?')}",)) == is_noted
        assert is_noted or prediction.notes == ()


def test_symbols_that_are_not_wanted_are_impossible(recognizer: Recognizer) -> None:
    reader = CharsetReader(_Marked(recognizer, "1289"), "01234567")  # type: ignore[arg-type]
    (prediction,) = predict(reader, [Image.fromarray(lines()[1])])
    assert len(prediction.text) == 4
    assert prediction.text.startswith("12")
    assert set(prediction.text) <= set("01234567")


def test_constraints_are_of_the_charset(recognizer: Recognizer) -> None:
    reader = CharsetReader(_Marked(recognizer, "12.50"), DIGITS + ".,")  # type: ignore[arg-type]
    constraint = build_constraint(reader.charset, pattern=r"\d+,\d\d")
    (prediction,) = predict(reader, [Image.fromarray(lines()[1])], ReadOptions(constraint=constraint, min_fit=0))
    assert prediction.text == "12,50"


def test_without_a_reader_of_marks_a_ctc_head_is_restricted() -> None:
    recognizer = small_recognizer(("ctc",))
    lively(recognizer)
    line = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 84), dtype=np.uint8))
    full = predict(CharsetReader(recognizer, recognizer.charset), [line])[0]  # type: ignore[arg-type]
    assert full.text == predict(recognizer, [line], ReadOptions("ctc"))[0].text
    assert list(CharsetReader(recognizer, "12").heads) == [NAME]  # type: ignore[arg-type]
    for charset, message in (("1.", "do not read '.'"), ("", "give symbols"), ("11", "give symbols")):
        with pytest.raises(InputError, match=message):
            CharsetReader(recognizer, charset)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no CTC head"):
        CharsetReader(small_recognizer(("ar",)), "12")  # type: ignore[arg-type]
