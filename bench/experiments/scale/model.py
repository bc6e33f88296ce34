"""What reading takes, from measured numbers, and how long a cluster whose nodes die would take.

    seconds = start + (shards · overhead + lines · line) / workers

`start` is until the first worker reads, `overhead` is a shard's own (a task, opening, writing a file), `line` a line's.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Run:
    """A measured run."""

    lines: int
    shards: int
    workers: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """Seconds: see the formula above."""

    start: float
    overhead: float
    line: float

    def seconds(self, lines: int, shards: int, workers: int) -> float:
        return self.start + (shards * self.overhead + lines * self.line) / workers


def fitted(runs: Sequence[Run]) -> Cost:
    """By least squares of relative errors, none of the three below zero."""
    from scipy.optimize import nnls

    rows = np.array([[1.0, run.shards / run.workers, run.lines / run.workers] for run in runs])
    seconds = np.array([run.seconds for run in runs])
    found, _ = nnls(rows / seconds[:, None], np.ones(len(runs)))
    return Cost(*map(float, found))


@dataclass(frozen=True)
class Cluster:
    """Machines that die.

    Attributes:
        cores: of each.
        lives: mean seconds until one dies (exponential); away: seconds until it, or another in its place, is back.
    """

    machines: int
    cores: int
    lives: float
    away: float


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    seconds: of the whole run; deaths: of machines; again: shards that were begun once more.
    """

    seconds: float
    deaths: int
    again: int


def simulated(cost: Cost, lines: int, shards: int, cluster: Cluster, seed: int) -> Outcome:
    """A run, shard by shard: a machine that dies takes with it what its cores were reading, and that is read again by
    whoever is free. Lines are as many in each shard; what a shard takes varies by a tenth."""
    import simpy

    chance, environment = random.Random(seed), simpy.Environment()
    waiting: Any = simpy.Store(environment)
    waiting.items.extend(range(shards))
    a_shard = cost.overhead + cost.line * lines / shards
    finished, over = set[int](), environment.event()
    counts = {"deaths": 0, "again": 0}

    def core() -> Generator[Any, Any, None]:
        while True:
            taking = waiting.get()
            try:
                shard = yield taking
            except simpy.Interrupt:
                taking.cancel()
                return
            try:
                yield environment.timeout(a_shard * chance.uniform(0.9, 1.1))
            except simpy.Interrupt:
                counts["again"] += 1
                yield waiting.put(shard)
                return
            finished.add(shard)
            if len(finished) == shards and not over.triggered:
                over.succeed()

    def machine() -> Generator[Any, Any, None]:
        while True:
            yield environment.timeout(cost.start)
            cores = [environment.process(core()) for _ in range(cluster.cores)]
            yield environment.timeout(chance.expovariate(1 / cluster.lives))
            counts["deaths"] += 1
            for each in cores:
                if each.is_alive:
                    each.interrupt()
            yield environment.timeout(cluster.away)

    for _ in range(cluster.machines):
        environment.process(machine())
    environment.run(over)
    return Outcome(environment.now, counts["deaths"], counts["again"])
