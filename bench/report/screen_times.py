"""Times on the first screen: of the family of encoders, whose heads were trained; else of random weights, over restarts
of the process where these were timed, else over rounds of one process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.core import strategies
from bench.experiments.baselines import Results as Baselines
from bench.study.curve_estimates import SHALLOW
from bench.study.estimates import AR, ONE_PASS
from bench.study.family_estimates import FamilyResults
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.statistics import Value


@dataclass(frozen=True)
class ScreenTimes:
    """Of one model, batch 1, at the task's length.

    Attributes:
        label: of the model.
        names: the strategies, in the order of the table.
        milliseconds: from image to text, by strategy.
        over: how many times as long one strategy takes as another.
        restarts: of the process, over which intervals are; 0: they are over rounds of one.
        elsewhere: timed on another machine than the rest of the run.
        trained: of weights that read.
    """

    label: str
    names: tuple[str, ...]
    milliseconds: Callable[[str], Value]
    over: Callable[[str, str], Value]
    restarts: int = 0
    elsewhere: bool = False
    trained: bool = False

    @property
    def fastest(self) -> str:
        """The one-pass head that takes the least time."""
        return min(strategies.one_pass(), key=lambda head: self.milliseconds(head).estimate)


def screen_times(everything: Mapping[str, Any]) -> ScreenTimes:
    """Of the family's main encoder, else of the main model of the run."""
    timed, baselines, family = everything["latency"].main, everything.get("baselines"), everything.get("family")
    subject, names = timed.subject, strategies.deployed()
    with_shallow = _after(names, AR, SHALLOW)
    if family and family.main and {*with_shallow} <= {*family.timed_strategies(family.main)}:
        return _over_restarts(family.main, family.main, family, with_shallow, trained=True)
    if baselines and subject.name in baselines.rows and not baselines.missing(names):
        return _over_restarts(subject.label, subject.name, baselines, with_shallow)
    return ScreenTimes(
        subject.label,
        names,
        partial(timed.total, length=TASK_LENGTH),
        lambda name, other: timed.speedup(other, name, TASK_LENGTH),
    )


def _over_restarts(
    label: str, name: str, times: FamilyResults | Baselines, names: tuple[str, ...], trained: bool = False
) -> ScreenTimes:
    """Of the model that `times` call `name`."""
    milliseconds, over = partial(times.milliseconds, name, 1), partial(times.over, name, 1)
    return ScreenTimes(label, names, milliseconds, over, milliseconds(ONE_PASS).n, times.elsewhere, trained)


def _after(names: tuple[str, ...], one: str, another: str) -> tuple[str, ...]:
    place = names.index(one) + 1
    return (*names[:place], another, *names[place:])
