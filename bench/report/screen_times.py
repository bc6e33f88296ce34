"""Times on the first screen: of the family of encoders, whose heads were trained; else of random weights, over restarts
of the process where these were timed, else over rounds of one process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.core import strategies
from bench.study.curve_estimates import SHALLOW
from bench.study.estimates import AR, ONE_PASS
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
        return ScreenTimes(
            family.main,
            with_shallow,
            partial(family.milliseconds, family.main, 1),
            partial(family.over, family.main, 1),
            family.milliseconds(family.main, 1, ONE_PASS).n,
            family.elsewhere,
            trained=True,
        )
    if baselines is None or subject.name not in baselines.rows or baselines.missing(names):
        return ScreenTimes(
            subject.label,
            names,
            partial(timed.total, length=TASK_LENGTH),
            lambda name, other: timed.speedup(other, name, TASK_LENGTH),
        )
    return ScreenTimes(
        subject.label,
        with_shallow,
        partial(baselines.milliseconds, subject.name, 1),
        partial(baselines.over, subject.name, 1),
        baselines.milliseconds(subject.name, 1, ONE_PASS).n,
        baselines.elsewhere,
    )


def _after(names: tuple[str, ...], one: str, another: str) -> tuple[str, ...]:
    place = names.index(one) + 1
    return (*names[:place], another, *names[place:])
