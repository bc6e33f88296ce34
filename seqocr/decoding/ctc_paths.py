"""CTC's paths (Graves et al. 2006): the text of a path, and a text's probability, likeliest path and places.

Everywhere blank is the last class.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from seqocr.decoding.logarithms import log_sum
from seqocr.errors import InputError

_RESCALE_EVERY = 8  # frames: less than what a float64's range can hold


def collapse(path: Iterable[int], blank: int) -> list[int]:
    """The ids of a path's text: repeats merged, then blanks dropped."""
    return [i for i, _ in itertools.groupby(path) if i != blank]


def ctc_log_likelihood(log_probs: np.ndarray, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Log probability of texts, each over all of its paths (Graves et al. 2006, section 4.1).

    Args:
        log_probs: (B, frames, k + 1) float64.
        texts: B sequences of ids.

    Returns:
        (B,) float64; -inf for a text that does not fit into the frames, NaN where `log_probs` holds NaN.
    """
    B, T, classes = log_probs.shape
    blank, most = classes - 1, 2 * max(map(len, texts), default=0) + 1
    states = np.full((B, most), blank)
    for row, ids in zip(states, texts, strict=True):
        row[1 : 2 * len(ids) : 2] = ids
    skips = _skips(states, blank)
    ends = np.array([2 * len(ids) for ids in texts], np.int64)
    chances = np.exp(np.take_along_axis(log_probs, np.broadcast_to(states[:, None], (B, T, most)), 2))
    # No path goes beyond a text's last state: then rounding does not depend on the longest text of a batch.
    chances *= (np.arange(most) <= ends[:, None])[:, None]
    # Forward in probabilities, rescaled now and then: logarithms take four times as long.
    paths, scale = np.zeros((B, most)), np.zeros((B, 1))
    paths[:, :2] = chances[:, 0, :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        for t in range(1, T):
            before = paths
            paths = before.copy()
            paths[:, 1:] += before[:, :-1]
            paths[:, 2:] += before[:, :-2] * skips[:, 2:]
            paths *= chances[:, t]
            if t % _RESCALE_EVERY == 0:
                total = paths.max(axis=1, keepdims=True)
                scale += np.log(total)
                paths = np.divide(paths, total, out=np.zeros_like(paths), where=total > 0)
        line = np.arange(B)
        last = np.where(ends > 0, paths[line, ends - 1], 0.0)
        found: np.ndarray = np.log(paths[line, ends] + last) + scale[:, 0]
    return np.where(np.isnan(found) & ~np.isnan(log_probs).any(axis=(1, 2)), -math.inf, found)


@dataclass(frozen=True)
class SymbolSpan:
    """The frames of a symbol: `first` to `last`, both included."""

    first: int
    last: int
    confidence: float  # the highest probability that one of them gives the symbol, given that the frame is not blank


def align(log_probs: np.ndarray, ids: Sequence[int]) -> list[SymbolSpan]:
    """Forced alignment: the frames of each symbol of a text on its likeliest path (Viterbi 1967).

    `log_probs` are (frames, k + 1) float. InputError if the text does not fit into so many frames.
    """
    T, blank = len(log_probs), log_probs.shape[1] - 1
    states = np.array([blank, *itertools.chain.from_iterable((i, blank) for i in ids)])
    skips = _skips(states, blank)
    score = np.full(len(states), -math.inf)
    score[0] = 0.0
    came = np.empty((T, len(states)), np.int64)
    for t in range(T):
        stay, one = score, np.append(-math.inf, score[:-1])
        two = np.where(skips, np.append([-math.inf] * 2, score[:-2])[: len(states)], -math.inf)
        if t == 0:  # before the first frame the path is before the first state, or the first symbol
            one[1:2] = 0.0
        choices = np.stack([stay, one, two])
        came[t] = choices.argmax(axis=0)
        score = choices.max(axis=0) + log_probs[t, states]
    at = len(states) - 1 if len(states) == 1 or score[-1] >= score[-2] else len(states) - 2
    if score[at] == -math.inf:
        raise InputError(f"a text of {len(ids)} symbols does not fit into {T} frames")
    frames: list[list[int]] = [[] for _ in ids]
    for t in reversed(range(T)):
        if at % 2:
            frames[at // 2].append(t)
        at -= int(came[t, at])
    of_symbol = log_probs[:, :blank] - log_sum(log_probs[:, :blank], axis=1)[:, None]
    confidence = np.exp(np.minimum(of_symbol, 0))
    return [SymbolSpan(min(f), max(f), float(confidence[f, i].max())) for f, i in zip(frames, ids, strict=True)]


def _skips(states: np.ndarray, blank: int) -> np.ndarray:
    """(..., states) bool: which states a path may enter past the blank before them."""
    skips = np.zeros(states.shape, bool)
    skips[..., 2:] = (states[..., 2:] != blank) & (states[..., 2:] != states[..., :-2])
    return skips
