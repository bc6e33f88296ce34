"""Constraints, alternatives, symbols and their positions: of every head, eager and exported."""

from __future__ import annotations

import io
import itertools
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seqocr.data.jpeg_end import NO_END
from seqocr.data.pixels import Fit
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.decoding.constraints import build_constraint
from seqocr.errors import InputError
from seqocr.inference.image_files import predict_files
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.inference.shipped import SHIPPED, weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from tests.conftest import lively, small_recognizer

CHARSET = "012"
HEADS = ("ar", "parallel", "ctc")
every_head = pytest.mark.parametrize("head", HEADS)


def image(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (28, 84), dtype=np.uint8))


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return lively(small_recognizer(charset=CHARSET, max_length=3), scale=0.4)


@pytest.fixture(scope="module")
def quick(recognizer, tmp_path_factory) -> OnnxRecognizer:
    pytest.importorskip("onnxscript")
    from seqocr.inference.export import export

    directory = tmp_path_factory.mktemp("exported")
    export(recognizer, directory)
    return OnnxRecognizer(directory)


@torch.no_grad()
def probabilities(recognizer: Recognizer, head: str, line: Image.Image) -> dict[str, float]:
    """Of all texts, by the heads' own losses: an independent way to the same numbers."""
    features = recognizer.encode([line])
    module = recognizer.heads[head]
    found = {}
    texts = ["".join(t) for n in range(4) for t in itertools.product(CHARSET, repeat=n)]
    for text in texts:
        if head == "parallel":
            slots = module.log_probs(features)[0].double()
            ids = [CHARSET.index(s) for s in text] + [3] * (3 - len(text))
            found[text] = float(slots[range(3), ids].sum().exp())
        elif head == "ctc":
            (nats,) = module.ctc_nats(module.log_probs(features).double(), [module.ids_of(text)], 0)
            found[text] = float((-nats).exp())
        else:
            found[text] = math.exp(-float(module.loss(features, [text])) * (len(text) + 1))
    return found


PATTERNS = [None, "[01]{2}", "2.?", "1|0?2", "..."]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), pattern=st.sampled_from(PATTERNS))
@every_head
def test_predictions_are_the_likeliest_of_all_texts(recognizer, head, seed, pattern):
    line = image(seed)
    every = probabilities(recognizer, head, line)
    fitting = {text: p for text, p in every.items() if pattern is None or re.fullmatch(pattern, text)}
    if head == "ctc" and pattern is None:
        return  # it can write more symbols than are listed; tests/test_fitting.py has those
    constraint = build_constraint(CHARSET, pattern=pattern)
    (answer,) = predict(recognizer, [line], ReadOptions(head, constraint, top=3, beam_width=40, min_fit=0))
    ranked = sorted(fitting, key=lambda text: -fitting[text])
    assert fitting[answer.text] == pytest.approx(fitting[ranked[0]], rel=1e-3)
    if pattern is not None:
        together = sum(fitting.values())
        assert answer.confidence == pytest.approx(fitting[ranked[0]] / together if answer.text else 0, rel=1e-3)
        assert answer.constraint_probability == pytest.approx(min(together, 1), rel=1e-3)
    else:
        assert answer.confidence == pytest.approx(fitting[ranked[0]] if answer.text else 0, rel=1e-3)
    assert [p for _, p in answer.alternatives] == sorted((p for _, p in answer.alternatives), reverse=True)
    assert len(answer.alternatives) == min(2, len(ranked) - 1)
    if len(ranked) > 1:
        assert answer.margin == pytest.approx(fitting[ranked[0]] / fitting[ranked[1]], rel=1e-3)
    assert answer.passes == 1 if head != "ar" else 1 <= answer.passes <= 4


@every_head
@pytest.mark.parametrize("pattern", PATTERNS)
def test_exported_graphs_predict_as_the_weights_do(recognizer, quick, head, pattern):
    lines = [image(seed) for seed in range(6)]
    options = ReadOptions(head, build_constraint(CHARSET, pattern=pattern), top=2, positions=True, min_fit=0)
    for a, b in zip(predict(quick, lines, options), predict(recognizer, lines, options), strict=True):
        assert (a.text, [t for t, _ in a.alternatives]) == (b.text, [t for t, _ in b.alternatives])
        assert (a.passes, a.confidence) == (b.passes, pytest.approx(b.confidence, abs=1e-4))
        assert a.constraint_probability == pytest.approx(b.constraint_probability, abs=1e-4)
        for x, y in zip(a.symbols, b.symbols, strict=True):
            assert (x.text, x.confidence) == (y.text, pytest.approx(y.confidence, abs=1e-4))
            assert (x.left, x.right) == (y.left, y.right)


@every_head
def test_without_a_form_trained_weights_read_what_they_read(head):
    """Where a head is sure, the likeliest text is the greedy one."""
    trained = load_recognizer(SHIPPED)
    images, texts = SequenceMNIST(embedded_digits(), 5).batch(range(40))
    lines = [Image.fromarray(each.numpy()) for each in images]
    read = trained.decode(lines, head)
    assert sum(a == b for a, b in zip(read.texts, texts, strict=True)) > 35
    plain = predict(trained, lines, ReadOptions(head))
    assert [each.text for each in plain] == read.texts
    assert [each.passes for each in plain] == read.line_passes
    searched = predict(trained, lines, ReadOptions(head, top=2, symbols=True))
    for answer, text, p in zip(searched, read.texts, [each.confidence for each in plain], strict=True):
        if answer.text == text:
            assert answer.confidence == pytest.approx(p, abs=1e-4)
        else:
            assert answer.confidence > p
        assert answer.text == text or p < 0.5
        assert min(symbol.confidence for symbol in answer.symbols) >= answer.confidence - 1e-3


@every_head
def test_symbols_have_confidences_and_stand_in_order(recognizer, head):
    lines = [image(seed).resize((300, 50)) for seed in range(8)]
    for answer in predict(recognizer, lines, ReadOptions(head, positions=True)):
        assert "".join(symbol.text for symbol in answer.symbols) == answer.text
        assert all(0 <= symbol.confidence <= 1 for symbol in answer.symbols)
        borders = [x for symbol in answer.symbols for x in (symbol.left, symbol.right)]
        assert borders == sorted(borders)
        assert all(0 <= x <= 300 for x in borders)


def test_a_slot_is_as_sure_as_the_texts_that_have_its_symbol(recognizer):
    line = image(3)
    (answer,) = predict(recognizer, [line], ReadOptions("parallel", top=2, symbols=True))
    every = probabilities(recognizer, "parallel", line)
    assert answer.symbols
    for t, symbol in enumerate(answer.symbols):
        there = sum(p for text, p in every.items() if text[t : t + 1] == symbol.text)
        assert symbol.confidence == pytest.approx(there / sum(every.values()), abs=1e-5)


@pytest.mark.parametrize("head", ["parallel", "ctc"])
def test_symbols_of_heads_of_one_pass_take_no_search(recognizer, quick, head, monkeypatch):
    monkeypatch.setattr("seqocr.inference.predict.LineSearch", lambda *_: pytest.fail("lines were searched"))
    lines = [image(seed) for seed in range(6)]
    for reader in (recognizer, quick):
        plain = predict(reader, lines, ReadOptions(head))
        found = predict(reader, lines, ReadOptions(head, symbols=True))
        assert [replace(each, symbols=()) for each in found] == plain
        assert all("".join(symbol.text for symbol in each.symbols) == each.text for each in found)
        by_weights = predict(recognizer, lines, ReadOptions(head, symbols=True))
        for a, b in zip(found, by_weights, strict=True):
            assert [x.confidence for x in a.symbols] == pytest.approx([x.confidence for x in b.symbols], abs=1e-4)
    assert any(each.symbols for each in found)


def test_without_a_ctc_head_there_are_no_positions():
    alone = lively(small_recognizer(heads=("parallel",), charset=CHARSET), scale=0.4)
    (answer,) = predict(alone, [image(1)], ReadOptions("parallel", positions=True))
    assert answer.symbols
    assert {(symbol.left, symbol.right) for symbol in answer.symbols} == {(None, None)}


@every_head
def test_no_text_may_be_accepted(recognizer, head):
    options = ReadOptions(head, build_constraint(CHARSET, pattern="[01]{4}"), min_fit=0)
    if head != "ctc":
        with pytest.raises(InputError, match=f"head {head} of these weights writes at most 3 symbols.*have 4 or more"):
            predict(recognizer, [image(0)], options)
        return
    (answer,) = predict(recognizer, [image(0)], options)  # it has a frame for each symbol, but learned no such text
    assert len(answer.text) == 4
    assert "these weights learned texts of at most 3 symbols: longer ones are uncertain" in answer.notes
    repeats = replace(options, constraint=build_constraint(CHARSET, pattern="0{4}"))  # take a blank between
    with pytest.raises(InputError, match="has 6 frames, and no text that satisfies the constraint fits"):
        predict(recognizer, [image(0)], repeats)


@every_head
def test_texts_that_are_unlikely_together_are_left_out(recognizer, head):
    options = ReadOptions(head, build_constraint(CHARSET, pattern="[01]{2}"), min_fit=0)
    (whole,) = predict(recognizer, [image(0)], options)
    (kept,) = predict(recognizer, [image(0)], replace(options, min_fit=0.99 * whole.constraint_probability))
    (left,) = predict(recognizer, [image(0)], replace(options, min_fit=1.01 * whole.constraint_probability))
    assert whole == kept
    assert (whole.text != "", left.text) == (True, "")
    assert (left.confidence, left.constraint_probability) == (whole.confidence, whole.constraint_probability)
    assert "no text that satisfies the constraint is likely" in left.notes[0]
    assert ReadOptions().min_fit == 0.001


def test_a_symbol_is_where_it_is_written():
    """A recognizer whose frames are as bright as the image there: symbol 0 on dark columns, blank on light ones."""
    line = np.full((28, 84), 255, np.uint8)
    line[:, 14:28] = 0
    line[:, 56:70] = 0

    class Frames:
        charset, max_length, heads, provenance = "0", 3, {"frames": SimpleNamespace(output="ctc")}, {}
        processor, shown_symbols = Fit(28, 84), ""

        def log_probs(self, images, head):
            dark = np.asarray(images[0].resize((6, 1), Image.Resampling.BOX))[0] < 128
            return np.log(np.where(dark[:, None], [0.9, 0.1], [0.1, 0.9]))[None]

    (answer,) = predict(Frames(), [Image.fromarray(line)], ReadOptions("frames", positions=True))
    assert answer.text == "00"
    first, second = answer.symbols
    assert (first.left, first.right, second.left, second.right) == (0, 42, 42, 84)


class Dark:
    """A reader of one CTC head: sure of "0" where an image is dark, of "1" where it is light, of nothing in between."""

    charset, max_length, heads, provenance = "01", 3, {"frames": SimpleNamespace(output="ctc")}, {}
    processor, shown_symbols = Fit(28, 84), ""

    def log_probs(self, images, head):
        sure = np.log([[0.9, 0.001, 0.099], *[[0.001, 0.001, 0.998]] * 7])
        of = {0: sure, 255: sure[:, [1, 0, 2]], 128: np.full((8, 3), -np.log(3)), 64: np.full((8, 3), np.nan)}
        return np.stack([of[np.asarray(each)[0, 0]] for each in images])


def test_a_line_that_is_too_hard_costs_no_other(monkeypatch, tmp_path):
    monkeypatch.setattr("seqocr.decoding.search.MAX_HYPOTHESES", 10)
    lines = [Image.new("L", (84, 28), grey) for grey in (0, 128, 255, 64)]
    found = predict(Dark(), lines, ReadOptions("frames", positions=True))
    assert [each.text for each in found] == ["0", "", "1", ""]
    assert [bool(each.problem) for each in found] == [False, True, False, True]
    assert (found[1].fits, found[1].confidence) == (False, 0)
    assert "too many texts" in found[1].as_json()["problem"]
    assert "gives nan" in found[3].problem
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for line, path in zip(lines, paths, strict=True):
        line.save(path)
    by_file = list(predict_files(Dark(), paths, ReadOptions("frames", positions=True)))
    assert [each.text for each in by_file] == ["0", "", "1", ""]
    assert by_file[1].problem == f"{paths[1]} {found[1].problem}"


@every_head
def test_a_line_that_takes_too_long_says_so(recognizer, head):
    (late,) = predict(recognizer, [image(0)], ReadOptions(head, top=2, symbols=True, seconds=1e-9))
    assert (late.text, late.confidence) == ("", 0)
    assert "is not read within 1e-09 s" in late.problem
    (found,) = predict(recognizer, [image(0)], ReadOptions(head, top=2, symbols=True, seconds=60))
    assert found == predict(recognizer, [image(0)], ReadOptions(head, top=2, symbols=True))[0]


def test_what_is_not_possible_says_so(recognizer):
    with pytest.raises(InputError, match="choose one of ar, parallel, ctc"):
        predict(recognizer, [image(0)], ReadOptions("ar-generate", symbols=True))
    with pytest.raises(InputError, match="no head 'lstm'"):
        predict(recognizer, [image(0)], ReadOptions("lstm"))
    assert predict(recognizer, [], ReadOptions("ctc", symbols=True)) == predict(recognizer, []) == []


@pytest.mark.parametrize("transparent", [False, True])
def test_positions_are_those_of_the_image_that_was_given(transparent):
    """Of digits at the right of a long strip, which is cut to them before it is read."""
    trained = load_recognizer(weights_path("strings"))
    images, texts = SequenceMNIST(embedded_digits(), 5).batch(range(1))
    strip = np.zeros((60, 2000), np.uint8)
    strip[16:44, 1500:1640] = images[0].numpy()
    options = ReadOptions("ctc", positions=True)
    given = np.dstack([np.zeros((60, 2000, 3), np.uint8), strip]) if transparent else strip
    (answer,) = predict(trained, [given], options)
    assert answer.text == texts[0]
    assert 1490 < answer.symbols[0].left < 1520
    assert 1620 < answer.symbols[-1].right < 1650
    assert answer.notes == ()


def test_a_jpeg_without_its_end_marker_has_a_note(recognizer):
    stream = io.BytesIO()
    image(0).save(stream, "JPEG")
    whole, cut = stream.getvalue(), stream.getvalue()[:-2]
    for options in (ReadOptions("ctc"), ReadOptions("ctc", symbols=True)):
        good, noted = predict(recognizer, [whole, cut], options)
        assert noted == replace(good, notes=(NO_END, *good.notes))


# What the way in from Python takes.

SAMPLE = SHIPPED.parent.parent / "demo" / "examples" / "grid-77253.png"
GREY = np.array(Image.open(SAMPLE).convert("L"))


@pytest.mark.parametrize(
    "line",
    [
        str(SAMPLE),
        SAMPLE,
        SAMPLE.read_bytes(),
        Image.open(SAMPLE).convert("RGBA"),
        GREY,
        GREY[:, :, None],
        np.stack([GREY] * 3, axis=-1),
        GREY / 255,
        torch.from_numpy(GREY),
    ],
    ids=lambda line: f"{type(line).__name__}{getattr(line, 'shape', '')}",
)
def test_one_image_has_one_prediction_and_several_have_a_list(line):
    reader = OnnxRecognizer(weights_path(None) / "onnx")
    expected = predict(reader, [SAMPLE])[0]
    assert expected.text == "77253"
    assert predict(reader, line).text == "77253"
    assert predict(reader, [line, SAMPLE]) == [predict(reader, line), expected]


def test_an_array_of_lines_is_several():
    reader = OnnxRecognizer(weights_path(None) / "onnx")
    assert [each.text for each in predict(reader, np.stack([GREY] * 3))] == ["77253"] * 3
