"""What each strategy of the study costs: the time from an image to its text, in interleaved rounds."""

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
from bench.core.timer import ByRound, Rounds, clock, measure_rounds
from bench.study.design import HEADS, LENGTH
from bench.study.label_distributions import LABEL_DISTRIBUTIONS
from bench.study.posterior import find_best, from_distribution
from bench.workloads.timed_models import TINY, TimedModel, count_passes
from seqocr import environment
from seqocr.decoding.automaton import Automaton
from seqocr.decoding.ctc_paths import collapse
from seqocr.decoding.output import DecodeFunction
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Value, quotient

TABLE = "cost"


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    distributions: label distributions that are constraints of one-pass heads.
    repeats: of each strategy, in a round.
    """

    distributions: tuple[str, ...] = ("luhn", "lexicon-100", "markov-0.5")
    subject: TimedModel = TINY
    repeats: int = 3


@dataclass(frozen=True)
class Cost:
    """Attributes:
    by: seconds by round, of strategies.
    """

    by: ByRound

    @property
    def strategies(self) -> list[str]:
        return list(self.by.keys)

    def over(self, strategy: str, other: str) -> Value:
        return quotient(*self.by(strategy, other))

    def dearest_constraint(self, head: str, other: str) -> Value:
        """Constrained decoding of a one-pass head, over another strategy: of the constraints timed, the longest."""
        times = [self.over(name, other) for name in self.strategies if name.startswith(f"{head} + ")]
        return max(times, key=lambda value: value.estimate)

    def table(self, other: str) -> pd.DataFrame:
        """One row per strategy."""
        return estimates(
            {"strategy": name, "ms": self.by.milliseconds(name), "over": self.over(name, other)}
            for name in self.strategies
        )


def read(study: Store) -> Cost | None:
    """What a study's strategies take, if they were timed."""
    return Cost(ByRound(study.read(TABLE), ["strategy"])) if study.facts(TABLE).get("finished") else None


def depends(settings: Settings) -> dict[str, Any]:
    """What the times depend on, as JSON."""
    return {"settings": json.loads(json.dumps(asdict(settings)))}


def measure(settings: Settings, study: Store, reporter: Reporter) -> None:
    """Time every strategy, on the CPU, where that is missing. A sample is one strategy: it reads one image a few times.
    Weights are random, and drafts right."""
    if study.finished(TABLE, depends(settings)):
        return
    unfinished, works = study.begin(TABLE, depends(settings)), _works(settings)

    def sample(strategy: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
        with torch.inference_mode():
            for _ in range(settings.repeats):
                passes, timing = clock(works[strategy], torch.device("cpu"))
                yield {"strategy": strategy, "passes": passes, **timing}

    measure_rounds(unfinished, TABLE, settings, list(works), sample, reporter)
    unfinished.add_facts(TABLE, environment=environment.describe())
    study.finish(TABLE)


def _works(settings: Settings) -> dict[str, Callable[[], int]]:
    """What is timed, by strategy: reads an image and returns the decoder passes made."""
    torch.manual_seed(0)
    subject = settings.subject
    recognizer = Recognizer.build(subject.preset, HEADS, image_size=subject.image_size, max_length=LENGTH).eval()
    for head in recognizer.heads.values():
        head.make_constant()
    encode = partial(recognizer.encoder, torch.rand(1, 3, *subject.image_size).mul_(2).sub_(1))
    works: dict[str, Callable[[], int]] = {
        name: partial(_decode, encode, decode) for name, decode in recognizer.decode_functions().items()
    }
    for labels in settings.distributions:
        automaton = from_distribution(LABEL_DISTRIBUTIONS[labels](LENGTH))
        slots, ctc = recognizer.heads["parallel"], recognizer.heads["ctc"]
        works[f"parallel + {labels}"] = partial(_decode_slots, encode, slots, automaton)
        works[f"ctc + {labels}"] = partial(_decode_ctc, encode, ctc, automaton.support.ctc_topology)
    return works


def _decode(encode: Callable[[], torch.Tensor], decode: DecodeFunction) -> int:
    return count_passes(decode, encode(), LENGTH)


def _decode_slots(encode: Callable[[], torch.Tensor], head: Any, automaton: Automaton) -> int:
    slots: np.ndarray = head.log_probs(encode()).double().numpy()
    find_best(automaton, slots[:, :LENGTH, : automaton.k])
    return 1


def _decode_ctc(encode: Callable[[], torch.Tensor], head: Any, automaton: Automaton) -> int:
    ids, _ = find_best(automaton, head.log_probs(encode()).double().numpy())
    collapse(ids[0].tolist(), automaton.k - 1)
    return 1
