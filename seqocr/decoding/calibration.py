"""Confidence one can act on: a temperature that makes it honest, and how sure to be before a text is accepted.

Both are found on validation lines and kept in `config.json`, in the weights' provenance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seqocr.errors import InputError

FEWEST = 50  # lines that a temperature can be found by
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # shares of accepted lines that are right
KEY = "calibration"  # in the provenance of weights
_LEAST, _MOST = 0.05, 20.0  # temperatures
_CERTAIN = 1e-7  # no text is surer than one less this


@dataclass(frozen=True)
class Accepted:
    """The lines whose confidence is at least a threshold.

    Attributes:
        target: share of them that is to be right.
        threshold: least confidence.
        share: of all lines, that are accepted.
        right: share of those that were right on the lines that it was found on.
    """

    target: float
    threshold: float
    share: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """What was found of one head.

    Attributes:
        temperature: log odds of confidences are divided by it (Platt 1999, with a slope alone; for one text of many,
            as temperature scaling is for one class of many, Guo et al. 2017).
        lines: that it was found on.
        accepted: one a target that can be reached.
    """

    temperature: float
    lines: int
    accepted: tuple[Accepted, ...]

    def __call__(self, confidences: np.ndarray) -> np.ndarray:
        """Confidences in [0, 1] as they should be. Their order stays."""
        return tempered(confidences, self.temperature)

    def threshold(self, target: float) -> float:
        """
        Raises:
            InputError: it is not known how sure to be for this target.
        """
        known = {each.target: each.threshold for each in self.accepted}
        if target not in known:
            listed = ", ".join(f"{each:g}" for each in known) or "none: these weights are right too seldom"
            raise InputError(f"--target-precision {target:g}: operating points of these weights are known for {listed}")
        return known[target]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def calibrated(confidences: np.ndarray, right: np.ndarray) -> Calibration:
    """From the confidences of lines, (N,) in [0, 1], and whether each text was right, (N,) bool.

    Raises:
        InputError: there are no lines.
    """
    if not len(right):
        raise InputError("no lines to calibrate by: give some")
    temperature = fitted_temperature(confidences, right)
    apply_calibration = tempered(confidences, temperature)
    found = [accepted(apply_calibration, right, target) for target in TARGETS]
    # Of a hundred lines that are all right nobody knows whether 999 of a thousand would be.
    known = [each for each in found if each and each.share * len(right) * (1 - each.target) >= 1 - 1e-9]
    return Calibration(round(temperature, 4), len(right), tuple(known))


def fitted_temperature(confidences: np.ndarray, right: np.ndarray) -> float:
    """The temperature that makes what was right and wrong the likeliest.

    Where all are right, or all wrong, one line more of the other kind keeps it finite.
    """
    from scipy.optimize import minimize_scalar  # here: reading does without scipy

    odds = _log_odds(confidences)
    signs = np.where(right, 1.0, -1.0)
    if right.all() or not right.any():
        odds, signs = np.append(odds, odds.mean()), np.append(signs, -signs[0])

    def nats(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signs * odds / math.exp(log_temperature)).sum())

    found = minimize_scalar(nats, bounds=(math.log(_LEAST), math.log(_MOST)), method="bounded")
    return float(math.exp(found.x))


def tempered(confidences: np.ndarray, temperature: float) -> np.ndarray:
    """Confidences (N,) with their log odds divided by the temperature. NaN stays NaN, 0 stays 0."""
    values = np.asarray(confidences, np.float64)
    apply_calibration = 1 / (1 + np.exp(-_log_odds(values) / temperature))
    return np.where(values <= 0, 0.0, apply_calibration)


def _log_odds(confidences: np.ndarray) -> np.ndarray:
    clipped = np.clip(np.asarray(confidences, np.float64), _CERTAIN, 1 - _CERTAIN)
    return np.log(clipped) - np.log1p(-clipped)


def accepted(confidences: np.ndarray, right: np.ndarray, target: float) -> Accepted | None:
    """The lowest threshold above which a share of `target` is right; None where there is none."""
    order = np.argsort(-confidences, kind="stable")
    sorted_, so_far = confidences[order], right[order].cumsum() / np.arange(1, len(right) + 1)
    last = np.append(sorted_[1:] < sorted_[:-1], True)  # equals are accepted together
    reached = np.flatnonzero(last & (so_far >= target))
    if not len(reached):
        return None
    at = int(reached[-1])
    return Accepted(target, float(sorted_[at]), (at + 1) / len(right), float(so_far[at]))


def apply_calibration(provenance: Mapping[str, Any], head: str, confidences: np.ndarray) -> np.ndarray:
    """A head's confidences as they should be, where its weights are calibrated; else as they are."""
    found = calibration_of(provenance, head)
    return confidences if found is None else found(confidences)


def calibration_of(provenance: Mapping[str, Any], head: str) -> Calibration | None:
    """What the weights' config says of a head; None where nothing does, or not what it should."""
    try:
        kept = provenance[KEY]
        # What decodes a head otherwise, or writes what it does, is called after it: ar-generate, ar-verified.
        found = kept[head] if head in kept else kept[head.split("-")[0]]
        temperature = float(found["temperature"])
        if not _LEAST <= temperature <= _MOST:
            return None
        return Calibration(
            temperature,
            int(found["lines"]),
            tuple(
                Accepted(*map(float, (e["target"], e["threshold"], e["share"], e["right"]))) for e in found["accepted"]
            ),
        )
    except (KeyError, TypeError, ValueError):
        return None
