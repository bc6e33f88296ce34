"""Reading the study's cells: every strategy, oracle readers, and the two axes, on the same strings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.study import oracle
from bench.study.design import BASE_LAW, DAMAGES, HEADS, LENGTH, Size, Training
from bench.study.label_distributions import LABEL_DISTRIBUTIONS, LabelDistribution
from bench.study.posterior import find_best, from_distribution
from bench.study.structured import StructuredLines
from seqocr.data.sources.datasets import Digits, load_digits_or_validation
from seqocr.decoding.ctc_paths import collapse
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.refining import RefiningHead
from seqocr.models.heads.registry import HEADS as DEPLOYED
from seqocr.models.recognizer import Recognizer

_SEED = 5000  # apart from those of training
_AT_ONCE = 250
SYMBOLS = 10
SLOTS = "refine-0"  # the strategy that takes slots as independent, with a decoder as deep as that of `ar`
# Other strategies of a head, which predict the same.
_ALIKE = {each.name for head in DEPLOYED.values() for each in head.strategies} - set(DEPLOYED)


def cells(training: Training, size: Size) -> list[tuple[str, str]]:
    """(law, damage) of what a training reads: its own law under every damage, and independent digits under some, which
    shows what a learned law costs where it does not hold."""
    own = [(training.law, damage) for damage in size.damages]
    shifted = [(BASE_LAW, damage) for damage in size.shifted] if training.law != BASE_LAW else []
    return own + shifted


def lines(law: str, damage: str, seed: int, count: int) -> StructuredLines:
    """The strings of a cell: digits of the test half. The same strings and images at every damage."""
    return StructuredLines(_digits(), LABEL_DISTRIBUTIONS[law](LENGTH), count, DAMAGES[damage], seed=_SEED + seed)


@cache
def _digits() -> Digits:
    return load_digits_or_validation("test")


@torch.inference_mode()
def read(training: Training, size: Size, folder: Path) -> pd.DataFrame:
    """One row per cell and strategy.

    Columns: `training`, `law` that was learned, `read` law, `damage`, `seed`, `strategy`, `strings`, `exact` share read
    right, `right` (which ones: a bit a string, packed, in hexadecimal), share of `symbols` that are right at their
    place, mean `passes`, mean `nats` that the truth is given (minus its log probability, where it gives one). Of
    the cell, where oracle readers read it: mean `C` and `G` (see `bench.study.oracle`), and `worth`, the joint reader's
    expected exact match minus the local one's.
    """
    own = load_recognizer(folder / training.name).eval()
    replicates = training.heads == HEADS and not training.frozen and training.share == 1.0
    reference = load_recognizer(folder / Training(BASE_LAW, training.seed).name).eval() if replicates else None
    rows = []
    for law, damage in cells(training, size):
        strings = lines(law, damage, training.seed, size.strings)
        of = {"training": training.name, "law": training.law, "read": law, "damage": damage, "seed": training.seed}
        rows += [{**of, **row} for row in _cell(own, reference, strings, LABEL_DISTRIBUTIONS[training.law](LENGTH))]
    return pd.DataFrame(rows)


def _cell(
    own: Recognizer, reference: Recognizer | None, strings: StructuredLines, learned: LabelDistribution
) -> Iterator[dict[str, Any]]:
    truth: list[str] = []
    found, nats = _Found(), _Found()
    evidence, slots, frames = [], [], []
    for start in range(0, len(strings), _AT_ONCE):
        images, texts = strings.batch(range(start, min(start + _AT_ONCE, len(strings))))
        truth += texts
        pixels = own.processor(images)
        features = own.encoder(pixels)
        for name, decode in own.decode_functions().items():
            if name not in _ALIKE:
                decoded = decode(features)
                found.add(name, decoded.texts, decoded.line_passes)
        for name, head in own.heads.items():
            if isinstance(head, RefiningHead):
                nats.add(SLOTS, _lost(head, features, texts))
            else:
                nats.add(name, [float(head.loss(features, texts)) * _terms(name)] * len(texts))
        if reference is not None:
            evidence.append(_slots(reference, reference.encoder(pixels)))
            slots.append(_slots(own, features))
            frames.append(own.heads["ctc"].log_probs(features).double().numpy())
    axes: dict[str, float] = {}
    if reference is not None:
        axes, oracles = _oracles(strings.law, np.concatenate(evidence))
        for name, read in (*oracles, *_structured(learned, np.concatenate(slots), np.concatenate(frames))):
            found.add(name, read, [1] * len(read))
    for name, (read, passes) in found.by_name.items():
        right = np.array([a == b for a, b in zip(read, truth, strict=True)])
        symbols = [
            a == b for text, other in zip(truth, read, strict=True) for a, b in zip_longest(text, other[:LENGTH])
        ]
        yield {
            "strategy": name,
            "strings": len(truth),
            "exact": right.mean(),
            "right": np.packbits(right).tobytes().hex(),
            "symbols": np.mean(symbols),
            "passes": np.mean(passes),
            "nats": np.mean(nats.by_name[name][0]) if name in nats.by_name else None,
            **axes,
        }


class _Found:
    """Lists by name, piece after piece."""

    def __init__(self) -> None:
        self.by_name: dict[str, tuple[list[Any], ...]] = {}

    def add(self, name: str, *pieces: list[Any]) -> None:
        kept = self.by_name.setdefault(name, tuple([] for _ in pieces))
        for all_of, piece in zip(kept, pieces, strict=True):
            all_of.extend(piece)


def _terms(head: str) -> int:
    """What a head's loss is a mean over: a text's symbols, and of autoregressive heads the end, too."""
    return LENGTH + head.startswith(AutoregressiveHead.name)


def _lost(head: RefiningHead, features: torch.Tensor, texts: list[str]) -> list[float]:
    """Minus the log probability that its first pass gives each text."""
    ids = torch.tensor([head.encode_text(text) for text in texts])
    found: list[float] = (-head.log_probs(features)[:, :LENGTH].gather(2, ids[:, :, None]).sum(dim=(1, 2))).tolist()
    return found


def _slots(recognizer: Recognizer, features: torch.Tensor) -> np.ndarray:
    """(B, n, k) log probabilities of each slot's symbol, given that there is one."""
    symbols = recognizer.heads["parallel"].log_probs(features)[:, :, :SYMBOLS]
    found: np.ndarray = symbols.log_softmax(dim=2).double().numpy()
    return found


def _oracles(law: LabelDistribution, evidence: np.ndarray) -> tuple[dict[str, float], list[tuple[str, list[str]]]]:
    """Mean C, G and worth, and what the three oracle readers read.

    What each image says by itself comes from weights trained, with the same seed, on independent digits: their slots'
    probabilities are in proportion to likelihoods, since every symbol was equally likely.
    """
    found = oracle.read(law, evidence)
    worth = found.joint.probability - found.local.probability
    axes = {"C": found.total_correlation, "G": found.gap, "worth": worth}
    readers = {"local": found.local, "marginal": found.marginal, "joint": found.joint}
    read = [(f"oracle {name}", _texts(reading.ids)) for name, reading in readers.items()]
    return {name: float(values.mean()) for name, values in axes.items()}, read


def _structured(learned: LabelDistribution, slots: np.ndarray, frames: np.ndarray) -> Iterator[tuple[str, list[str]]]:
    """The one-pass heads, decoded exactly under the law that they learned.

    Slots have learned how frequent symbols are, which the law says again: it is divided out. CTC's frames have blanks
    as well; there, only what the law allows is kept.
    """
    automaton = from_distribution(learned)
    with np.errstate(divide="ignore"):
        frequent = np.log(learned.marginals)
    evidence = np.where(np.isfinite(frequent), slots - np.where(np.isfinite(frequent), frequent, 0), -np.inf)
    yield "parallel + constraint", _texts(find_best(automaton, evidence)[0])
    paths = find_best(automaton.support.ctc_topology, frames)[0]
    yield "ctc + constraint", ["".join(map(str, collapse(path, automaton.k))) for path in paths.tolist()]


def _texts(ids: np.ndarray) -> list[str]:
    return ["".join(map(str, row)) for row in ids.tolist()]
