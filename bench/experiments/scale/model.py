"""What more lines on more cores would take, from measured runs, and how long if machines of the cluster die.

    seconds = start + (shards · overhead + lines · line) / workers

`start` is the time until the first worker reads, `overhead` that of a shard (a task, opening, writing a file), `line`
that of a line.
"""

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

# 100 million lines on 100 cores.
LINES, MACHINES, CORES = 100_000_000, 25, 4
_HOUR = 3600.0
_LIVES = {"never": 1e12, "once a month": 30 * 24 * _HOUR, "once a day": 24 * _HOUR, "once an hour": _HOUR}
_AWAY = 120.0
_SHARD_LINES = 10_000
_SEEDS = 5


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

    def seconds(self, lines: float, shards: float, workers: float) -> float:
        return self.start + (shards * self.overhead + lines * self.line) / workers


def fit_cost(runs: pd.DataFrame) -> Cost:
    """Least squares of relative errors, none of the three below zero, of the rows that are `fitted`."""
    runs = runs[runs["fitted"]]
    design = np.stack([np.ones(len(runs)), runs["shards"] / runs["workers"], runs["lines"] / runs["workers"]], axis=1)
    found, _ = nnls(design / runs["seconds"].to_numpy()[:, None], np.ones(len(runs)))
    return Cost(*map(float, found))


def simulate_failures(cost: Cost) -> list[dict[str, Any]]:
    """A row per seed and how often machines die."""
    shards = LINES // _SHARD_LINES
    return [
        {"often": often, **simulate(cost, LINES, shards, MACHINES, CORES, lives, seed)}
        for often, lives in _LIVES.items()
        for seed in range(_SEEDS)
    ]


def simulate(
    cost: Cost, lines: int, shards: int, machines: int, cores: int, lives: float, seed: int
) -> dict[str, float]:
    """A run, shard by shard. The shards that a dying machine was reading are read again by whichever core is free.

    Shards have equally many lines; the seconds of a shard vary by a tenth.

    Args:
        cores: of each machine.
        lives: mean seconds until a machine dies (exponential). Two minutes later, it or another in its place is back.

    Returns:
        hours of the run, deaths of machines, and shards that were begun again.
    """
    import simpy

    chance, environment = random.Random(seed), simpy.Environment()
    waiting: Any = simpy.Store(environment)
    waiting.items.extend(range(shards))
    shard_seconds = cost.overhead + cost.line * lines / shards
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
                yield environment.timeout(shard_seconds * chance.uniform(0.9, 1.1))
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
            running = [environment.process(core()) for _ in range(cores)]
            yield environment.timeout(chance.expovariate(1 / lives))
            counts["deaths"] += 1
            for each in running:
                if each.is_alive:
                    each.interrupt()
            yield environment.timeout(_AWAY)

    for _ in range(machines):
        environment.process(machine())
    environment.run(over)
    return {"hours": environment.now / _HOUR, **counts}
