"""Greedy decoding of log probabilities, without torch."""

import itertools
from collections.abc import Callable

import numpy as np

from seqocr.decoding.ctc_paths import collapse, ctc_log_likelihood
from seqocr.decoding.output import DecoderOutput


def decode_slots(log_probs: np.ndarray, charset: str) -> DecoderOutput:
    """The likeliest class of each slot. A symbol's confidence is the probability that its slot gives it.

    Args:
        log_probs: (B, slots, k + 1) float; "empty" is the last class.
    """
    symbols, ids = [*charset, ""], log_probs.argmax(axis=2)

    def confidences() -> np.ndarray:
        return np.exp(log_probs.max(axis=2).astype(np.float64).sum(axis=1))

    def symbol_confidences() -> list[list[float]]:
        highest = np.exp(log_probs.max(axis=2).astype(np.float64))
        return [line[row < len(charset)].tolist() for line, row in zip(highest, ids, strict=True)]

    texts = ["".join([symbols[i] for i in row]) for row in ids.tolist()]
    return DecoderOutput(texts, confidences, passes=1, symbol_confidences=symbol_confidences)


def decode_ctc(log_probs: np.ndarray, charset: str) -> DecoderOutput:
    """The text of the likeliest path, whose confidence is summed over all paths to it.

    A symbol's confidence is the highest probability of its frames, given that the frame is not blank.

    Args:
        log_probs: (B, frames, k + 1) float; blank is the last class.
    """
    blank, paths = len(charset), log_probs.argmax(axis=2).tolist()
    ids = [collapse(path, blank) for path in paths]

    def confidences() -> np.ndarray:
        return np.exp(np.minimum(ctc_log_likelihood(log_probs.astype(np.float64), ids), 0))

    def symbol_confidences() -> list[list[float]]:
        probabilities = np.exp(log_probs.astype(np.float64))
        shares = probabilities.max(axis=2) / probabilities[:, :, :blank].sum(axis=2).clip(min=1e-300)
        runs = ([list(run) for _, run in itertools.groupby(range(len(path)), path.__getitem__)] for path in paths)
        return [
            [float(line[run].max()) for run in of_line if path[run[0]] != blank]
            for line, of_line, path in zip(shares, runs, paths, strict=True)
        ]

    texts = ["".join([charset[i] for i in row]) for row in ids]
    return DecoderOutput(texts, confidences, passes=1, symbol_confidences=symbol_confidences)


# Of heads of one pass, by their declared output.
GREEDY: dict[str, Callable[[np.ndarray, str], DecoderOutput]] = {"slots": decode_slots, "ctc": decode_ctc}
