"""What each strategy of the study costs: the time from an image to its text, in interleaved rounds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.core.formatting import estimates
from bench.core.store import Store
from bench.core.timer import ByRound, clock, measure_rounds
from bench.study.design import HEADS, LENGTH
from bench.study.label_distributions import LABEL_DISTRIBUTIONS
from bench.study.posterior import find_best, from_distribution
from bench.workloads.timed_models import TINY, TimedModel
from seqocr import environment
from seqocr.decoding.automaton import Automaton
from seqocr.decoding.ctc_paths import collapse
from seqocr.decoding.output import DecoderOutput
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Value, quotient

TABLE = "cost"
_SEED = 0
_ONE_PASS = ("parallel", "ctc")  # whose slots, or frames, are decoded under a constraint


@dataclass(frozen=True)
class Settings:
    """Attributes:
    laws: under which slots are decoded exactly.
    repeats: of each strategy, in a round.
    """

    rounds: int
    laws: tuple[str, ...] = ("luhn", "lexicon-100", "markov-0.5")
    subject: TimedModel = TINY
    repeats: int = 3
    warmup: int = 2


@dataclass(frozen=True)
class Cost:
    """Attributes:
    by: seconds by round, of strategies.
    """

    by: ByRound

    @property
    def strategies(self) -> list[str]:
        return list(self.by.keys)

    def milliseconds(self, strategy: str) -> Value:
        return self.by.milliseconds(strategy)

    def over(self, strategy: str, other: str) -> Value:
        return quotient(*self.by(strategy, other))

    def constrained(self, head: str) -> list[str]:
        """The strategies that decode a one-pass head under a constraint."""
        return [name for name in self.strategies if name.startswith(f"{head} + ")]

    def table(self, other: str) -> pd.DataFrame:
        """One row per strategy."""
        return estimates(
            {"strategy": name, "ms": self.milliseconds(name), "over": self.over(name, other)}
            for name in self.strategies
        )


def dearest(cost: Cost, head: str, other: str) -> Value:
    """A one-pass head with constrained decoding, over another strategy: of the constraints timed, the longest."""
    return max((cost.over(name, other) for name in cost.constrained(head)), key=lambda value: value.estimate)


def under(law: str, head: str) -> str:
    """The strategy that decodes a one-pass head under a law."""
    return f"{head} + {law}"


def of(study: Store) -> Cost | None:
    """What a study's strategies take, if they were timed."""
    return Cost(ByRound(study.read(TABLE), ["strategy"])) if study.facts(TABLE).get("finished") else None


def depends(settings: Settings) -> dict[str, Any]:
    """What the times depend on, as JSON."""
    return {"settings": json.loads(json.dumps(asdict(settings)))}


def measure(settings: Settings, study: Store, reporter: Reporter) -> None:
    """Time every strategy, on the CPU, where that is missing. A sample is one strategy: it reads one
    image a few times. Weights are random, and drafts right."""
    if study.finished(TABLE, depends(settings)):
        return
    unfinished = study.begin(TABLE, depends(settings))
    device = torch.device("cpu")
    torch.manual_seed(_SEED)
    height, width = settings.subject.image_size
    recognizer = Recognizer.build(settings.subject.preset, HEADS, image_size=(height, width), max_length=LENGTH)
    recognizer.to(device).eval()
    for head in recognizer.heads.values():
        head.make_constant()
    pixel_values = torch.rand(1, 3, height, width).mul_(2).sub_(1).to(device)
    works: dict[str, Callable[[torch.Tensor], Any]] = {
        name: partial(_decoded, decode) for name, decode in recognizer.decode_functions().items()
    }
    for law in settings.laws:
        automaton = from_distribution(LABEL_DISTRIBUTIONS[law](LENGTH))
        for name in _ONE_PASS:
            allowed = automaton.support.ctc_topology if name == "ctc" else automaton  # as the study decodes them
            works[under(law, name)] = partial(_under_constraint, recognizer.heads[name], allowed)

    def sample(strategy: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
        with torch.inference_mode():
            for _ in range(settings.repeats):
                passes, timing = clock(lambda: works[strategy](recognizer.encoder(pixel_values)), device)
                yield {"strategy": strategy, "passes": passes, **timing}

    measure_rounds(unfinished, TABLE, settings.rounds, settings.warmup, list(works), sample, reporter)
    unfinished.add_facts(TABLE, environment=environment.describe())
    study.finish(TABLE)


def _decoded(decode: Callable[..., DecoderOutput], features: torch.Tensor) -> int:
    found = decode(features, length=LENGTH)
    _ = found.texts, found.confidences
    return found.passes


def _under_constraint(head: Any, automaton: Automaton, features: torch.Tensor) -> int:
    found: np.ndarray = head.log_probs(features).double().cpu().numpy()
    evidence = found if head.name == "ctc" else found[:, :LENGTH, : automaton.k]
    ids, _ = find_best(automaton, evidence)
    if head.name == "ctc":
        collapse(ids[0].tolist(), automaton.k - 1)
    return 1
