"""Metrics of tables of predictions (see `seqocr.inference.predictions`): one row per line and head.

The table is what is saved; metrics can always be computed from it again.
"""

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein

from seqocr.statistics import paired_difference, proportion

NOTHING = "∅"  # in the confusion matrix: no symbol, where one was missed or invented


def summary(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per head: strings, exact match with its 95 % Wilson interval, digit accuracy, CER, ECE.

    Digit accuracy counts a digit as right when it stands at its own place; CER is the edit distance over all strings
    divided by the digits in them; ECE is `expected_calibration_error` of the whole string's confidence.
    """
    rows = []
    for head, table in predictions.groupby("head", sort=False):
        right = table["prediction"] == table["text"]
        places = positions(table)
        rows.append(
            {
                "head": head,
                "strings": len(table),
                **proportion(int(right.sum()), len(table)).columns("exact"),
                "digit_accuracy": places["right"].sum() / places["digits"].sum(),
                "cer": character_error_rate(table),
                "ece": expected_calibration_error(table["confidence"].to_numpy(), right.to_numpy()),
            }
        )
    return pd.DataFrame(rows)


def character_error_rate(predictions: pd.DataFrame) -> float:
    """Edit distance over all strings, divided by the symbols in them."""
    distance = sum(map(Levenshtein.distance, predictions["text"], predictions["prediction"]))
    return float(distance / predictions["text"].str.len().sum())


def positions(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per head and place in the string: digits there, how many were read right, accuracy and its interval."""
    rows = []
    for head, table in predictions.groupby("head", sort=False):
        for place in range(table["text"].str.len().max()):
            there = table[table["text"].str.len() > place]
            right = int((there["text"].str[place] == there["prediction"].str[place]).sum())
            share = proportion(right, len(there))
            rows.append((head, place + 1, len(there), right, share.estimate, share.low, share.high))
    return pd.DataFrame(rows, columns=["head", "position", "digits", "right", "accuracy", "low", "high"])


def confusion(predictions: pd.DataFrame, charset: str) -> pd.DataFrame:
    """Counts of (head, truth, read) over the aligned symbols of all strings; `NOTHING` where one side has none."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for head, text, prediction in predictions[["head", "text", "prediction"]].itertuples(index=False):
        for _, begin, end, read_begin, read_end in Levenshtein.opcodes(text, prediction):
            # Runs that are not equal have one side empty, or both of the same length.
            truth, read = text[begin:end], prediction[read_begin:read_end]
            pairs = zip(truth or NOTHING * len(read), read or NOTHING * len(truth), strict=True)
            counts.update((head, *pair) for pair in pairs)
    table = pd.DataFrame([(*key, n) for key, n in counts.items()], columns=["head", "truth", "read", "count"])
    order = {symbol: i for i, symbol in enumerate(charset + NOTHING)}
    table = table.sort_values(["truth", "read"], key=lambda column: column.map(order))
    return table.sort_values("head", kind="stable", ignore_index=True)


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size (Guo et al. 2017)."""
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    gaps = [abs(right[at].mean() - confidences[at].mean()) * at.sum() for at in (place == b for b in np.unique(place))]
    return float(np.sum(gaps) / len(right))


def comparisons(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of heads that read the same strings.

    `difference` is exact match of the first minus the second, with Tango's score interval for paired proportions;
    `p_value` is McNemar's exact test on the strings that only one of them reads right.
    """
    right = (predictions["prediction"] == predictions["text"]).to_frame("right")
    wide = right.join(predictions[["index", "head"]]).pivot(index="index", columns="head", values="right")
    rows = []
    for a, b in combinations(predictions["head"].unique(), 2):
        found = paired_difference(wide[a], wide[b])
        share = found.difference
        rows.append((a, b, share.estimate, share.low, share.high, found.only_first, found.only_second, found.p_value))
    columns = ["head", "other", "difference", "low", "high", "only_head_right", "only_other_right", "p_value"]
    return pd.DataFrame(rows, columns=columns)
