"""Calibrated confidences: temperature scaling, and the operating point that reaches a target precision.

Both are fitted on validation lines and kept in `config.json`, in the weights' provenance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from seqocr.errors import InputError

KEY = "calibration"  # in the provenance of weights
SYNTHETIC = "synthetic lines"  # what a calibration was fitted on, if not on lines of a folder
MIN_LINES = 50  # to fit a temperature to
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # precisions that operating points are kept for
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
_KEPT = ("target", "threshold", "share", "right")  # fields of an operating point, in config.json
_EPSILON = 1e-7  # confidences are clipped to [epsilon, 1 - epsilon] before their log odds are taken


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold of confidence, and what it gives on the lines that it was fitted on."""

    target: float  # precision to be reached
    threshold: float  # lowest confidence that is accepted
    coverage: float  # share of all lines that is accepted
    precision: float  # share of the accepted lines that is right


@dataclass(frozen=True)
class Calibration:
    """The calibration of one head.

    The temperature divides the log odds of confidences (Platt 1999, with a slope alone; for one text of many, as
    temperature scaling is for one class of many, Guo et al. 2017).
    """

    temperature: float
    lines: int  # that it was fitted on
    operating_points: tuple[OperatingPoint, ...]  # one per target that can be reached

    def __call__(self, confidences: np.ndarray) -> np.ndarray:
        """Calibrate confidences in [0, 1]. Their order stays."""
        return scale_temperature(confidences, self.temperature)

    def threshold(self, target: float) -> float:
        """The lowest confidence to accept for a target precision; InputError if there is no operating point for this
        target."""
        known = {point.target: point.threshold for point in self.operating_points}
        if target not in known:
            listed = ", ".join(f"{each:g}" for each in known) or "none: these weights are right too seldom"
            raise InputError(f"--target-precision {target:g}: operating points of these weights are known for {listed}")
        return known[target]

    def as_json(self) -> dict[str, Any]:
        """As `config.json` keeps it, in the names of its first version."""
        points = [dict(zip(_KEPT, astuple(point), strict=True)) for point in self.operating_points]
        return {"temperature": self.temperature, "lines": self.lines, "accepted": points}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Calibration:
        """
        Raises:
            KeyError, TypeError, ValueError: it is none, or a number of it is out of range.
        """
        temperature = float(kept["temperature"])
        if not _MIN_TEMPERATURE <= temperature <= _MAX_TEMPERATURE:
            raise ValueError(f"temperature {temperature}")
        points = tuple(OperatingPoint(*(float(each[name]) for name in _KEPT)) for each in kept["accepted"])
        if odd := [point for point in points if not all(0 < share <= 1 for share in astuple(point))]:
            raise ValueError(f"{odd[0]}")
        return cls(temperature, int(kept["lines"]), points)


def fit_calibration(confidences: np.ndarray, right: np.ndarray) -> Calibration:
    """Fit a temperature and operating points to confidences (N,) in [0, 1] and whether each text is right, (N,) bool;
    InputError if there are no lines."""
    if not len(right):
        raise InputError("no lines to calibrate by: give some")
    temperature = fit_temperature(confidences, right)
    scaled = scale_temperature(confidences, temperature)
    points = [find_operating_point(scaled, right, target) for target in TARGETS]
    # A hundred lines that are all right do not tell whether 999 of a thousand would be.
    known = [p for p in points if p and p.threshold > 0 and p.coverage * len(right) * (1 - p.target) >= 1 - 1e-9]
    return Calibration(round(temperature, 4), len(right), tuple(known))


def fit_temperature(confidences: np.ndarray, right: np.ndarray) -> float:
    """The temperature of maximum likelihood, see `fit_calibration`.

    Where all lines are right, or all wrong, one more line of the other kind keeps it finite.
    """
    from scipy.optimize import minimize_scalar  # slow to import; prediction does without

    odds = _log_odds(confidences)
    signs = np.where(right, 1.0, -1.0)
    if right.all() or not right.any():
        odds, signs = np.append(odds, odds.mean()), np.append(signs, -signs[0])

    def nats(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signs * odds / math.exp(log_temperature)).sum())

    bounds = (math.log(_MIN_TEMPERATURE), math.log(_MAX_TEMPERATURE))
    return float(math.exp(minimize_scalar(nats, bounds=bounds, method="bounded").x))


def scale_temperature(confidences: np.ndarray, temperature: float) -> np.ndarray:
    """Confidences (N,) with their log odds divided by the temperature. NaN stays NaN, 0 stays 0."""
    values = np.asarray(confidences, np.float64)
    scaled = 1 / (1 + np.exp(-_log_odds(values) / temperature))
    return np.where(values <= 0, 0.0, scaled)


def _log_odds(confidences: np.ndarray) -> np.ndarray:
    clipped = np.clip(np.asarray(confidences, np.float64), _EPSILON, 1 - _EPSILON)
    return np.log(clipped) - np.log1p(-clipped)


def find_operating_point(confidences: np.ndarray, right: np.ndarray, target: float) -> OperatingPoint | None:
    """The lowest threshold whose accepted lines reach a target precision; None where there is none."""
    order = np.argsort(-confidences, kind="stable")
    sorted_, precision = confidences[order], right[order].cumsum() / np.arange(1, len(right) + 1)
    last = np.append(sorted_[1:] < sorted_[:-1], True)  # equal confidences are accepted together
    reached = np.flatnonzero(last & (precision >= target))
    if not len(reached):
        return None
    at = int(reached[-1])
    return OperatingPoint(target, float(sorted_[at]), (at + 1) / len(right), float(precision[at]))


def is_synthetic(provenance: Mapping[str, Any]) -> bool:
    """Whether weights were calibrated on synthetic lines, and so promise nothing of real ones.

    Where that is not noted, on what they were trained on: held-out lines of a folder, if there was one.
    """
    kept, sources = provenance.get(KEY), provenance.get("data")
    noted = {each.get("source") for each in kept.values()} - {None} if isinstance(kept, Mapping) else set()
    if noted:
        return SYNTHETIC in noted
    return not any("lines" in each for each in sources or ())


def apply_calibration(provenance: Mapping[str, Any], head: str, confidences: np.ndarray) -> np.ndarray:
    """Calibrate a head's confidences where its weights are calibrated; else they stay as they are."""
    found = load_calibration(provenance, head)
    return confidences if found is None else found(confidences)


def load_calibration(provenance: Mapping[str, Any], head: str) -> Calibration | None:
    """A head's calibration from its weights' provenance; None where there is none that can be used."""
    try:
        kept = provenance[KEY]
        # Strategies of a head are named after it, and share its calibration: ar-generate, ar-speculative.
        named_after = max((name for name in kept if f"{head}-".startswith(f"{name}-")), key=len)
        return Calibration.from_json(kept[named_after])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
