"""Tables of predictions (see `seqocr.metrics`) under a form, and what to accept of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from seqocr import metrics
from seqocr.data.mixture import Lines
from seqocr.decoding.automaton import Automaton
from seqocr.decoding.calibration import Calibration, find_operating_point, fit_calibration
from seqocr.inference.predict import ReadOptions, answers
from seqocr.progress import progress
from seqocr.statistics import proportion

_BATCH = 64
_SHOWN = (0.99, 0.999)  # shares of accepted lines that are right


def predict_under(
    reader: Any, lines: Lines, heads: Sequence[str], form: Automaton, beam_width: int = 8
) -> pd.DataFrame:
    """As `evaluation.predict`, but of texts of a form alone; a text is empty where none fits.

    Raises:
        InputError: a head cannot be asked for a form.
    """
    rows = []
    with progress("read", len(lines)) as reporter:
        for start in range(0, len(lines), _BATCH):
            indices = range(start, min(start + _BATCH, len(lines)))
            images, texts = lines.batch(indices)
            pictures = [
                Image.fromarray(image.numpy()) if isinstance(image, torch.Tensor) else image for image in images
            ]
            for head in heads:
                found = answers(reader, pictures, ReadOptions(head, form, beam_width=beam_width, places=False))
                rows += [
                    (index, head, text, each.text, each.confidence, each.passes)
                    for index, text, each in zip(indices, texts, found, strict=True)
                ]
            reporter.advance(steps=len(indices))
    return pd.DataFrame(rows, columns=["index", "head", "text", "prediction", "confidence", "passes"])


def calibrations(reader: Any, parts: Sequence[Lines]) -> dict[str, Calibration]:
    """Of each head, by lines that were not learned from.

    Raises:
        InputError: there are no lines.
    """
    tables = [metrics.predict(reader, lines, quiet=True, raw=True) for lines in parts]
    found = {}
    for head in reader.heads:
        rows = pd.concat([table[table["head"] == head] for table in tables])
        right = (rows["text"] == rows["prediction"]).to_numpy()
        found[head] = fit_calibration(rows["confidence"].to_numpy(np.float64), right)
    return found


def acceptance(predictions: pd.DataFrame) -> list[str]:
    """How sure to be for a share of accepted lines to be right, in words, a head and target."""
    said = []
    for head, rows in predictions.groupby("head", sort=False):
        right = (rows["prediction"] == rows["text"]).to_numpy()
        for target in _SHOWN:
            found = find_operating_point(rows["confidence"].to_numpy(np.float64), right, target)
            if found is None:
                said.append(f"{head}: at no confidence are {target:.1%} of the accepted lines right")
                continue
            count = round(found.coverage * len(right))
            share = proportion(round(found.precision * count), count)
            said.append(
                f"{head}: from confidence {found.threshold:.4f} on, {found.coverage:.1%} of the lines are accepted, "
                f"and {found.precision:.2%} of those are right ({share.low:.1%} to {share.high:.1%})"
            )
    return said
