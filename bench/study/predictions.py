"""Reading the study's cells: every strategy, oracle readers, and the two axes, on the same strings."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.study import oracle
from bench.study.design import DAMAGES, LENGTH, UNIFORM, Size, Training
from bench.study.label_distributions import LABEL_DISTRIBUTIONS, LabelDistribution
from bench.study.posterior import find_best, from_distribution
from bench.study.structured import StructuredLines
from seqocr.data.sources.datasets import Digits, load_digits_or_validation
from seqocr.decoding.ctc_paths import collapse
from seqocr.inference.line_search import LineResult, LineSearch
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.refining import RefiningHead
from seqocr.models.heads.registry import HEADS as DEPLOYED
from seqocr.models.recognizer import Recognizer

_SEED = 5000  # apart from those of training
_AT_ONCE = 250
SYMBOLS = 10
BEAM_WIDTH = 8
SLOTS = "refine-0"  # the strategy that takes slots as independent, with a decoder as deep as that of `ar`
# Other strategies of a head, which predict the same.
_ALIKE = {each.name for head in DEPLOYED.values() for each in head.strategies} - set(DEPLOYED)


def cells(training: Training, size: Size) -> list[tuple[str, str]]:
    """(labels, damage) of what a training reads: its own labels under every damage, and independent digits under some,
    which shows what a learned distribution costs where it does not hold."""
    own = [(training.labels, damage) for damage in size.damages]
    return own + [(UNIFORM, damage) for damage in size.shifted if training.labels != UNIFORM]


@cache
def _digits() -> Digits:
    return load_digits_or_validation("test")


@torch.inference_mode()
def read(training: Training, size: Size, folder: Path) -> pd.DataFrame:
    """One row per cell and strategy. The strings and images of a cell are the same at every damage.

    Columns: `training`, `labels` that were learned, labels `read`, `damage`, `seed`, `strategy`, `strings`, `exact`
    share read right, `right` (which ones: a bit a string, packed, in hexadecimal), share of `symbols` that are right at
    their place, mean `passes`, mean `nats` that the truth is given (minus its log probability, where it gives one). Of
    the cell, where oracle readers read it: mean `C` and `G` (see `bench.study.oracle`), and `worth`, the joint reader's
    expected exact match minus the local one's.
    """
    own = load_recognizer(folder / training.name).eval()
    reference = None
    if not training.ablation:
        reference = load_recognizer(folder / Training(UNIFORM, training.seed).name).eval()
    learned, rows = LABEL_DISTRIBUTIONS[training.labels](LENGTH), []
    for labels, damage in cells(training, size):
        lines = unread_lines(labels, damage, training.seed, size.strings)
        of = {"training": training.name, "labels": training.labels, "read": labels, "damage": damage}
        rows += [{**of, "seed": training.seed, **row} for row in read_cell(own, lines, reference, learned)]
    return pd.DataFrame(rows)


def unread_lines(labels: str, damage: str, seed: int, strings: int) -> StructuredLines:
    """Of digits that no training sees: the same strings and images at every damage."""
    distribution = LABEL_DISTRIBUTIONS[labels](LENGTH)
    return StructuredLines(_digits(), distribution, strings, DAMAGES[damage], seed=_SEED + seed)


def read_cell(
    own: Recognizer,
    lines: StructuredLines,
    reference: Recognizer | None = None,
    learned: LabelDistribution | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of every strategy of a recognizer; with a reference, which learned independent digits, also of the oracle
    readers, and of the one-pass heads under the distribution that was learned."""
    truth: list[str] = []
    read: dict[str, list[str]] = defaultdict(list)
    passes: dict[str, list[int]] = defaultdict(list)
    nats: dict[str, list[float]] = defaultdict(list)
    evidence, slots, frames = [], [], []
    for images, texts in _batches(lines):
        truth += texts
        pixels = own.processor(images)
        features = own.encoder(pixels)
        for name, decode in own.decode_functions().items():
            if name not in _ALIKE:
                decoded = decode(features)
                read[name] += decoded.texts
                passes[name] += decoded.line_passes
        for name, head in own.heads.items():
            if isinstance(head, RefiningHead):
                nats[head.strategies[0].name] += _lost(head, features, texts)  # of its first pass
            else:
                nats[name] += [float(head.loss(features, texts)) * _terms(name)] * len(texts)
        if reference is not None:
            evidence.append(_slots(reference, reference.encoder(pixels)))
            slots.append(_slots(own, features))
            frames.append(own.heads["ctc"].log_probs(features).double().numpy())
    axes: dict[str, float] = {}
    if reference is not None and learned is not None:
        axes, oracles = _oracles(lines.distribution, np.concatenate(evidence))
        read |= oracles | _constrained(learned, np.concatenate(slots), np.concatenate(frames))
    yield from scored(read, truth, passes, nats, axes)


def read_oracles(reference: Recognizer, lines: StructuredLines) -> Iterator[dict[str, Any]]:
    """Rows of the oracle readers alone."""
    evidence, truth = [], list[str]()
    for images, texts in _batches(lines):
        truth += texts
        evidence.append(_slots(reference, reference.encoder(reference.processor(images))))
    axes, read = _oracles(lines.distribution, np.concatenate(evidence))
    yield from scored(read, truth, {}, {}, axes)


def read_under_forms(
    own: Recognizer, lines: StructuredLines, forms: Mapping[str, LabelDistribution]
) -> Iterator[dict[str, Any]]:
    """Rows of `parallel` and `ar`, whichever there are, under forms by name. `ar` searches the strings that a form has
    by beam, `BEAM_WIDTH` wide, and keeps its own probabilities: they have the form's already."""
    truth, slots = list[str](), []
    read: dict[str, list[str]] = defaultdict(list)
    supports = {name: from_distribution(form).support for name, form in forms.items()}
    for images, texts in _batches(lines):
        truth += texts
        features = own.encoder(own.processor(images))
        if "parallel" in own.heads:
            slots.append(_slots(own, features))
        for name, support in supports.items() if "ar" in own.heads else ():
            search = LineSearch("tokens", support, 1, BEAM_WIDTH, LENGTH, math.inf, symbols=False)
            for line in features:
                result = search(own.heads["ar"].next_token(line[None]))
                read[f"ar + {name}"].append("" if isinstance(result, str) else _first(result))
    for name, form in forms.items() if slots else ():
        read[f"parallel + {name}"] = _under(form, np.concatenate(slots))
    yield from scored(read, truth, {}, {}, {})


def _first(result: LineResult) -> str:
    return "".join(map(str, result.found.hypotheses[0].ids)) if result.found.hypotheses else ""


def _batches(lines: StructuredLines) -> Iterator[tuple[torch.Tensor, list[str]]]:
    for start in range(0, len(lines), _AT_ONCE):
        yield lines.batch(range(start, min(start + _AT_ONCE, len(lines))))


def scored(
    read: Mapping[str, list[str]],
    truth: list[str],
    passes: Mapping[str, list[int]],
    nats: Mapping[str, list[float]],
    axes: Mapping[str, float],
) -> Iterator[dict[str, Any]]:
    """One row per strategy, of its texts: see `read`."""
    for name, found in read.items():
        right = np.array([a == b for a, b in zip(found, truth, strict=True)])
        places = (zip_longest(text, other[:LENGTH]) for text, other in zip(truth, found, strict=True))
        yield {
            "strategy": name,
            "strings": len(truth),
            "exact": right.mean(),
            "right": np.packbits(right).tobytes().hex(),
            "symbols": np.mean([a == b for each in places for a, b in each]),
            "passes": np.mean(passes.get(name, 1)),
            "nats": np.mean(nats[name]) if name in nats else None,
            **axes,
        }


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


def _oracles(distribution: LabelDistribution, evidence: np.ndarray) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Mean C, G and worth, and what the three oracle readers read.

    What each image says by itself comes from weights trained, with the same seed, on independent digits: their slots'
    probabilities are in proportion to likelihoods, since every symbol was equally likely.
    """
    found = oracle.read(distribution, evidence)
    worth = found.probability["joint"] - found.probability["local"]
    axes = {"C": found.total_correlation, "G": found.gap, "worth": worth}
    read = {f"oracle {name}": _texts(ids) for name, ids in found.ids.items()}
    return {name: float(values.mean()) for name, values in axes.items()}, read


def _constrained(learned: LabelDistribution, slots: np.ndarray, frames: np.ndarray) -> dict[str, list[str]]:
    """The one-pass heads, decoded under the label distribution that they learned.

    Slots have learned how frequent symbols are, which the distribution says again: it is divided out. CTC's frames have
    blanks as well; there, only the support of the distribution is kept.
    """
    automaton = from_distribution(learned)
    paths = find_best(automaton.support.ctc_topology, frames)[0]
    return {
        "parallel + constraint": _under(learned, slots),
        "ctc + constraint": ["".join(map(str, collapse(path, automaton.k))) for path in paths.tolist()],
    }


def _under(form: LabelDistribution, slots: np.ndarray) -> list[str]:
    """The likeliest strings of a form, by slots that have learned how frequent symbols are."""
    possible = form.marginals > 0
    evidence = np.where(possible, slots - np.log(form.marginals, where=possible, out=np.zeros_like(slots[0])), -np.inf)
    return _texts(find_best(from_distribution(form), evidence)[0])


def _texts(ids: np.ndarray) -> list[str]:
    return ["".join(map(str, row)) for row in ids.tolist()]
