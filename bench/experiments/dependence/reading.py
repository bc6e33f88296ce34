"""Reading the study's cells: every way to decode, ideal readers, and the two axes, on the same strings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.experiments.dependence.design import BASE_LAW, DAMAGES, HEADS, LENGTH, Size, Training
from seqocr import constraints, exact, ideal
from seqocr.checkpoints import load_recognizer
from seqocr.data.labels import LAWS, Law
from seqocr.data.lawful import LawStrings
from seqocr.data.sources import Digits, load_digits_or_validation
from seqocr.models.recognizer import Recognizer

_SEED = 5000  # apart from those of training
_AT_ONCE = 250
SYMBOLS = 10


def cells(training: Training, size: Size) -> list[tuple[str, str]]:
    """(law, damage) of what a training reads: its own law under every damage, and independent digits under some, which
    shows what a learned law costs where it does not hold."""
    own = [(training.law, damage) for damage in size.damages]
    shifted = [(BASE_LAW, damage) for damage in size.shifted] if training.law != BASE_LAW else []
    return own + shifted


def lines(law: str, damage: str, seed: int, count: int) -> LawStrings:
    """The strings of a cell: digits of the test half. The same strings and images at every damage."""
    return LawStrings(_digits(), LAWS[law](LENGTH), count, DAMAGES[damage], seed=_SEED + seed)


@cache
def _digits() -> Digits:
    return load_digits_or_validation("test")


@torch.inference_mode()
def read(training: Training, size: Size, folder: Path) -> pd.DataFrame:
    """One row a cell and way to decode.

    Columns: `training`, `law` that was learned, `read` law, `damage`, `seed`, `way`, `strings`, `exact` share read
    right, `right` (which ones: a bit a string, packed, in hexadecimal), mean `passes`, mean `nats` that the truth is
    given (minus its log probability, where the way gives one), and mean `C` and `G` of the cell (see `seqocr.ideal`).
    """
    own = load_recognizer(folder / training.name).eval()
    replicates = training.heads == HEADS and not training.frozen and training.share == 1.0
    reference = load_recognizer(folder / Training(BASE_LAW, training.seed).name).eval() if replicates else None
    rows = []
    for law, damage in cells(training, size):
        strings = lines(law, damage, training.seed, size.strings)
        of = {"training": training.name, "law": training.law, "read": law, "damage": damage, "seed": training.seed}
        rows += [{**of, **row} for row in _cell(own, reference, strings)]
    return pd.DataFrame(rows)


def _cell(own: Recognizer, reference: Recognizer | None, strings: LawStrings) -> Iterator[dict[str, Any]]:
    texts, found, nats = [], _Found(), _Found()
    evidence, own_evidence, frames = [], [], []
    for start in range(0, len(strings), _AT_ONCE):
        images, some = strings.batch(range(start, min(start + _AT_ONCE, len(strings))))
        texts += some
        pixels = own.processor(images)
        features = own.encoder(pixels)
        for name, decode in own.variants().items():
            if name in ("ar-generate", "ar-nocache", "ctc-beam"):  # which read as others do
                continue
            decoded = decode(features)
            found.add(name, decoded.texts, decoded.line_passes)
        for name, head in own.heads.items():
            if name != "refine":  # which gives texts no probability
                nats.add(name, [float(head.loss(features, some)) * _symbols(name)] * len(some))
        if reference is not None:
            evidence.append(_slots(reference, reference.encoder(pixels)))
            own_evidence.append(_slots(own, features))
            frames.append(own.heads["ctc"].log_probs(features).double().numpy())
    if reference is not None:
        law = strings.law
        axes, ideals = _ideal(law, np.concatenate(evidence))
        for name, read in (*ideals, *_structured(law, np.concatenate(own_evidence), np.concatenate(frames))):
            found.add(name, read, [1] * len(read))
    else:
        axes = {}
    truth = np.array(texts)
    for name, (read, passes) in found.by_name.items():
        right = np.array(read) == truth
        yield {
            "way": name,
            "strings": len(truth),
            "exact": right.mean(),
            "right": np.packbits(right).tobytes().hex(),
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


def _symbols(head: str) -> int:
    """What a head's loss is a mean over: a text's symbols, and of autoregressive heads the end, too."""
    return LENGTH + head.startswith("ar")


def _slots(recognizer: Recognizer, features: torch.Tensor) -> np.ndarray:
    """(B, n, k) log probabilities of each slot's symbol, given that there is one."""
    symbols = recognizer.heads["parallel"].log_probs(features)[:, :, :SYMBOLS]
    found: np.ndarray = symbols.log_softmax(dim=2).double().numpy()
    return found


def _ideal(law: Law, evidence: np.ndarray) -> tuple[dict[str, float], list[tuple[str, list[str]]]]:
    """Mean C and G, and what the three ideal readers read.

    What each image says by itself comes from weights trained, with the same seed, on independent digits: their slots'
    probabilities are in proportion to likelihoods, since every symbol was equally likely.
    """
    found = ideal.read(law, evidence)
    axes = {"C": float(found.total_correlation.mean()), "G": float(found.gap.mean())}
    readers = {"local": found.local, "marginal": found.marginal_mode, "joint": found.joint_mode}
    return axes, [(f"ideal {name}", _texts(reading.ids)) for name, reading in readers.items()]


def _structured(law: Law, slots: np.ndarray, frames: np.ndarray) -> Iterator[tuple[str, list[str]]]:
    """The one-pass heads that learned the law, decoded exactly among the strings that it allows."""
    allowed = constraints.of_law(law).support
    yield "parallel + form", _texts(exact.best(allowed, slots)[0])
    yield "ctc + form", ["".join(map(str, ids)) for ids in exact.best_ctc(allowed, frames)[0]]


def _texts(ids: np.ndarray) -> list[str]:
    return ["".join(map(str, row)) for row in ids.tolist()]
