"""Tables of predictions of labelled lines, one row per line and strategy; `seqocr.metrics` are functions of them."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from seqocr.data.mixture import Lines
from seqocr.decoding.automaton import Automaton
from seqocr.decoding.calibration import Calibration, apply_calibration, find_operating_point, fit_calibration
from seqocr.decoding.output import DecoderOutput
from seqocr.decoding.reach import MIN_FIT
from seqocr.errors import InputError
from seqocr.inference.predict import Reader, predict
from seqocr.inference.prediction import BEAM_WIDTH, ReadOptions
from seqocr.inference.shipped import DEFAULT
from seqocr.progress import progress
from seqocr.statistics import proportion

_BATCH = 100
_TARGETS = (0.99, 0.999)  # precisions of `describe_operating_points`
_KNOWN = 0.5  # share of lines read right by the best head: with less, weights do not know such lines
_COLUMNS = ["index", "head", "text", "prediction", "confidence", "passes"]


def predict_lines(
    reader: Reader,
    lines: Lines,
    strategies: Sequence[str] | None = None,
    *,
    constraint: Automaton | None = None,
    beam_width: int = BEAM_WIDTH,
    min_fit: float = MIN_FIT,
    quiet: bool = False,
    calibrate: bool = True,
    part: tuple[int, int] = (0, 1),
) -> pd.DataFrame:
    """Read every line with every strategy.

    Args:
        strategies: default: the heads themselves.
        constraint: the accepted texts; a prediction is empty where none is accepted, or all are unlikely.
        beam_width, min_fit: as of `ReadOptions`.
        quiet: without a progress bar.
        calibrate: else confidences are the heads' own.
        part: (i, n): read only every nth batch, from the ith on, as one of n processes that share the work.

    Returns:
        `index` of the line, `head` (the strategy), `text` (the truth), `prediction`, `confidence`, `passes`.

    Raises:
        InputError: there is no such strategy, it cannot be constrained, or the weights give NaN.
    """
    functions, rows = reader.decode_functions(), []
    strategies = list(strategies or reader.heads)
    if unknown := [name for name in strategies if name not in functions]:
        raise InputError(f"no head {unknown[0]!r} in this recognizer: it has {', '.join(functions)}")

    def options(name: str) -> ReadOptions:
        return ReadOptions(name, constraint, beam_width=beam_width, min_fit=min_fit)

    def decode(images: Any) -> Iterator[tuple[str, list[str], np.ndarray, list[int]]]:
        if constraint is not None:
            pictures = [Image.fromarray(x.numpy()) if isinstance(x, torch.Tensor) else x for x in images]
            for name in strategies:
                found = predict(reader, pictures, options(name))
                confidences = np.array([each.confidence for each in found])
                yield name, [each.text for each in found], confidences, [each.passes for each in found]
            return
        for name, decoded in decode_with(reader, images, strategies).items():
            if not np.isfinite(confidences := decoded.confidences).all():
                raise InputError(f"head {name!r} gives NaN with these weights: take others")
            if calibrate:
                confidences = apply_calibration(reader.provenance, name, confidences)
            yield name, decoded.texts, confidences, decoded.line_passes

    with nullcontext() if quiet else progress("read", len(lines)) as reporter:
        for start in range(0, len(lines), _BATCH)[part[0] :: part[1]]:
            indices = range(start, min(start + _BATCH, len(lines)))
            images, truth = lines.batch(indices)
            for name, texts, confidences, passes in decode(images):
                columns = zip(indices, truth, texts, confidences.tolist(), passes, strict=True)
                rows += [(index, name, *row) for index, *row in columns]
            if reporter:
                reporter.advance(steps=len(indices))
    return pd.DataFrame(rows, columns=_COLUMNS)


def decode_with(reader: Reader, images: Any, strategies: Sequence[str]) -> dict[str, DecoderOutput]:
    """The output of each strategy, by name, for lines that are encoded once for all of them; those of one width
    together, so that none depends on what is read beside it."""
    functions, batches = reader.decode_functions(), reader.processor.batches(images, _BATCH)
    features = [reader.encode([images[i] for i in batch]) for batch in batches]
    places = [i for batch in batches for i in batch]
    return {
        name: DecoderOutput.concatenate([functions[name](each) for each in features]).ordered(places)
        for name in strategies
    }


def fit_calibrations(reader: Reader, sources: Sequence[Lines]) -> dict[str, Calibration]:
    """The calibration of each head on lines that it was not trained on, but for those in which it reads nothing, whose
    confidence is 0; InputError if there are no lines."""
    tables = [predict_lines(reader, lines, quiet=True, calibrate=False) for lines in sources]
    found = {}
    for head in reader.heads:
        rows = pd.concat([table[table["head"] == head] for table in tables])
        if (rows["prediction"] != "").any():
            rows = rows[rows["prediction"] != ""]
        right = (rows["text"] == rows["prediction"]).to_numpy()
        found[head] = fit_calibration(rows["confidence"].to_numpy(np.float64), right)
    return found


def describe_unknown_lines(predictions: pd.DataFrame) -> str:
    """A sentence where the weights do not know such lines, so that their heads cannot be compared by them: the best one
    reads fewer than `_KNOWN` of them right. Else empty."""
    right = (predictions["prediction"] == predictions["text"]).groupby(predictions["head"]).mean().max()
    if not right < _KNOWN:
        return ""
    return (
        f"These weights do not know such lines: {right:.1%} are read right. Adapt them to some first (seqocr train "
        f"--init {DEFAULT} --data ...), and choose a head by what those weights read"
    )


def describe_lost_zeros(predictions: pd.DataFrame) -> list[str]:
    """How many mistakes of each head differ from the label by leading zeros alone, in words; those with none are left
    out. Spreadsheets remove such zeros from labels."""
    wrong = predictions[predictions["prediction"] != predictions["text"]]
    lost = wrong[wrong["prediction"].str.lstrip("0") == wrong["text"].str.lstrip("0")]
    return [
        f"{head}: {count:,} of {(wrong['head'] == head).sum():,} mistakes differ from labels by leading zeros alone: "
        "did a spreadsheet remove them?"
        for head, count in lost["head"].value_counts(sort=False).items()
    ]


def describe_operating_points(predictions: pd.DataFrame) -> list[str]:
    """The lowest confidence to accept for 99 % and 99.9 % precision, in words, for each head; one sentence where both
    are the same."""
    lines = []
    for head, rows in predictions.groupby("head", sort=False):
        confidences = rows["confidence"].to_numpy(np.float64)
        right = (rows["prediction"] == rows["text"]).to_numpy()
        points = {target: find_operating_point(confidences, right, target) for target in _TARGETS}
        for threshold in dict.fromkeys(point and point.threshold for point in points.values()):
            same = {target: point for target, point in points.items() if (point and point.threshold) == threshold}
            named = " and ".join(f"{target:.1%}" for target in same)
            point = next(iter(same.values()))
            if point is None:
                lines.append(f"{head}: no confidence reaches {named} precision")
                continue
            count = round(point.coverage * len(right))
            share = proportion(round(point.precision * count), count)
            lines.append(
                f"{head}: for {named} precision, accept from confidence {point.threshold:.4f} on: {point.coverage:.1%} "
                f"of the lines, {point.precision:.2%} of them right ({share.low:.1%} to {share.high:.1%})"
            )
    return lines
