"""Tables of predictions, a row per line and strategy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from seqocr.data.sequences import SequenceMNIST
from seqocr.errors import InputError
from seqocr.inference.predictions import (
    describe_lost_zeros,
    describe_operating_points,
    describe_unknown_lines,
    predict_lines,
)
from tests.conftest import coded, lively, small_recognizer, stem_recognizer


def test_predictions_are_a_row_a_string_and_head() -> None:
    recognizer = small_recognizer()
    lively(recognizer)
    strings = SequenceMNIST(coded(260, "test"), (1, 3))
    found = predict_lines(recognizer, strings)
    assert list(found.columns) == ["index", "head", "text", "prediction", "confidence", "passes"]
    assert len(strings) > 100  # more than one batch
    assert len(found) == 3 * len(strings)
    for head, part in found.groupby("head"):
        part = part.set_index("index")
        assert sorted(part.index) == list(range(len(strings)))
        for index in (0, 50, len(strings) - 1):
            image, text = strings[index]
            read = recognizer.decode([image], str(head))
            assert part["text"][index] == text
            assert part["prediction"][index] == read.texts[0]
            assert part["confidence"][index] == pytest.approx(read.confidences.item(), abs=1e-4)


def test_lines_of_different_widths_are_read_as_each_alone() -> None:
    recognizer, generator = stem_recognizer(), np.random.default_rng(0)
    lines = [generator.integers(0, 256, (32, width), dtype=np.uint8) for width in (128, 40, 90, 64, 128, 70)]

    class Lines:
        def __len__(self) -> int:
            return len(lines)

        def batch(self, indices: range) -> tuple[list[np.ndarray], list[str]]:
            return [lines[i] for i in indices], ["1"] * len(indices)

    found = predict_lines(recognizer, Lines())
    for head, part in found.groupby("head"):
        alone = [recognizer.decode([line], str(head)) for line in lines]
        assert part["prediction"].tolist() == [each.texts[0] for each in alone]
        expected = [each.confidences.item() for each in alone]
        assert part["confidence"].tolist() == pytest.approx(expected, rel=1e-4)


def test_predictions_of_chosen_strategies() -> None:
    strings = SequenceMNIST(coded(30, "test"), 3)
    found = predict_lines(small_recognizer(), strings, ["ctc-beam", "ar-nocache"])
    assert found["head"].unique().tolist() == ["ctc-beam", "ar-nocache"]
    with pytest.raises(InputError, match="no head 'lstm' in this recognizer: it has ar-generate,"):
        predict_lines(small_recognizer(), strings, ["ctc", "lstm"])


def test_operating_points_name_their_precision_and_are_said_once() -> None:
    def table(wrong: set[int]) -> pd.DataFrame:
        texts = ["1" if i in wrong else "0" for i in range(1000)]
        confidences = [1 - i / 1000 for i in range(1000)]
        return pd.DataFrame({"head": "h", "text": "0", "prediction": texts, "confidence": confidences})

    (both,) = describe_operating_points(table(set()))
    assert both.startswith("h: for 99.0% and 99.9% precision, accept from confidence 0.0010 on: 100.0% of the lines")
    first, second = describe_operating_points(table(set(range(500, 1000, 10))))
    assert first.startswith("h: for 99.0% precision, accept from confidence 0.")
    assert second.startswith("h: for 99.9% precision, accept from confidence 0.5010 on: 50.0% of the lines, 100.00% of")
    (never,) = describe_operating_points(table(set(range(1000))))
    assert never == "h: no confidence reaches 99.0% and 99.9% precision"


def test_mistakes_by_leading_zeros_alone_are_counted() -> None:
    rows = [("42", "0042"), ("7", "07"), ("0", "000"), ("42", "43"), ("5", "5"), ("10", "1")]
    table = pd.DataFrame(
        [(head, *row) for head in ("ctc", "ar") for row in rows], columns=["head", "text", "prediction"]
    )
    table.loc[table["head"] == "ar", "prediction"] = "8"
    (line,) = describe_lost_zeros(table)
    assert line.startswith("ctc: 3 of 5 mistakes differ from labels by leading zeros alone")


@pytest.mark.parametrize(("right", "is_known"), [(4, False), (5, True)])
def test_lines_are_known_where_the_best_head_reads_half_of_them(right: int, is_known: bool) -> None:
    heads = {"ar": 1, "ctc": right}
    rows = [(head, "1", "1" if i < count else "2") for head, count in heads.items() for i in range(10)]
    said = describe_unknown_lines(pd.DataFrame(rows, columns=["head", "text", "prediction"]))
    assert (said == "") == is_known
    assert is_known or said.startswith("These weights do not know such lines: 40.0% are read right.")
