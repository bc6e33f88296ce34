"""Timing that knows when it was disturbed.

A sample is the smallest thing that is timed as one: a few calls, a second at most. Beside each call's seconds stand
the process's own CPU seconds, how often it lost a core against its will, and how often its threads slept; beside each
sample, the CPU time that other processes took and the hypervisor stole meanwhile. A disturbed sample is kept and
measured again, up to a budget; what counts as disturbed is decided again whenever estimates are made (`is_disturbed`).
"""

from __future__ import annotations

import gc
import random
import resource
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from bench.core.store import Store
from seqocr.progress import Reporter
from seqocr.statistics import Value, location, ratio, slopes

CPU = torch.device("cpu")
# A sample is disturbed if others took or the hypervisor stole more than this share of the machine meanwhile ...
_SHARE = 0.05
# ... and more seconds than the kernel's accounting, in ticks of 10 ms a core, is wrong by.
_LEAST = 0.03
_QUIET_FOR = 0.25  # seconds that nothing else must run before a sample is measured again
_WAIT_AT_MOST = 8.0  # seconds for that; a machine that is still busy then is taken to be so for good
AGAIN = 1.0  # samples measured again, of a part, as a share of those planned


def clock(work: Callable[[], Any], device: torch.device) -> tuple[Any, dict[str, float]]:
    """The result of `work`, and how it went: `seconds`, `cpu` seconds of all threads, `switches` against its will, and
    `waits`, how often a thread slept until another was done.

    The garbage collector is held off and the device drained. Threads of one pool wait for each other awake, so many
    `waits` tell that a process has more threads than cores: GNU OpenMP, which PyTorch uses, then has all of them sleep,
    in every operation that is divided (`gomp_throttled_spin_count_var` in libgomp's env.c).
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        if device.type == "cuda":
            torch.cuda.synchronize()
        usage, cpu = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
        start = time.perf_counter()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        cpu = time.process_time() - cpu
        after = resource.getrusage(resource.RUSAGE_SELF)
        switches, waits = after.ru_nivcsw - usage.ru_nivcsw, after.ru_nvcsw - usage.ru_nvcsw
        return result, {"seconds": seconds, "cpu": cpu, "switches": switches, "waits": waits}
    finally:
        if collecting:
            gc.enable()


def clock_each(
    works: Mapping[str, Callable[[], int]], shuffle: random.Random, device: torch.device = CPU
) -> Iterator[dict[str, Any]]:
    """Time strategies in random order, each of which returns the decoder passes made.

    Yields:
        rows with `strategy`, `passes` and what `clock` gives.
    """
    for name in shuffle.sample([*works], len(works)):
        passes, timing = clock(works[name], device)
        yield {"strategy": name, "passes": passes, **timing}


@dataclass(frozen=True)
class Moment:
    """What the machine had done by now, in seconds: wall, all processes' CPU, this one's with its children, stolen."""

    wall: float
    busy: float
    own: float
    stolen: float

    @classmethod
    def now(cls) -> Moment:
        times, children = psutil.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
        idle = times.idle + getattr(times, "iowait", 0.0)
        stolen = getattr(times, "steal", 0.0)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user and nice, too
        own = time.process_time() + children.ru_utime + children.ru_stime
        return cls(time.perf_counter(), sum(times) - idle - stolen - guests, own, stolen)


def disturbance(before: Moment, after: Moment) -> dict[str, float]:
    """Of the time between, in seconds of one core: what `others` took, what was `stolen`, and `core_seconds`, all that
    the machine had."""
    others = max(0.0, (after.busy - before.busy) - (after.own - before.own))
    stolen = max(0.0, after.stolen - before.stolen)
    core_seconds = (after.wall - before.wall) * (psutil.cpu_count() or 1)
    return {"others": round(others, 3), "stolen": round(stolen, 3), "core_seconds": round(core_seconds, 3)}


def is_disturbed(rows: Any) -> Any:
    """Whether samples were disturbed.

    Args:
        rows: a table with the columns of `disturbance`, or one row as a dict. Tables of earlier versions have no
            `core_seconds`, but say in a column `disturbed` what was decided when they were measured.

    Returns:
        (rows,) bool, or one.
    """
    if "core_seconds" not in rows:
        return rows["disturbed"]
    most = np.maximum(_LEAST, _SHARE * rows["core_seconds"])
    return (rows["others"] > most) | (rows["stolen"] > most)


def quiet_within(seconds: float) -> bool:
    """Wait until nothing else has run for a moment; whether that came about."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = Moment.now()
        time.sleep(_QUIET_FOR)
        if not is_disturbed(disturbance(before, Moment.now())):
            return True
    return False


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """How often something is timed; settings of timed parts have it.

    Attributes:
        rounds, warmup: in each process: rounds that count, after those that are kept and marked.
        restarts: processes, one after the other, which are then the unit of replication; 1: the bench's own does it.
    """

    rounds: int
    warmup: int = 1
    restarts: int = 1

    @property
    def of_each(self) -> int:
        """Rounds of each process."""
        return self.warmup + self.rounds

    @property
    def steps(self) -> int:
        """Rounds in all, for a progress bar."""
        return self.restarts * self.of_each


def measure_rounds(
    store: Store,
    table: str,
    settings: Rounds,
    samples: Sequence[Hashable],
    sample: Callable[[Any, random.Random], Iterable[dict[str, Any]]],
    reporter: Reporter,
    restart: int = 0,
) -> None:
    """Measure interleaved rounds of samples, saved as they come: a run that was killed goes on with the next.

    A round measures every sample once, in an order of its own, so that a drift of the machine hits all alike. Its
    disturbed samples are measured again at its end.

    Args:
        table: name of the table that rows are saved in.
        samples: what a round goes through.
        sample: measures one of them, with the round's own random numbers; its rows, each with what `clock` gave.
        restart: number of this process: rounds are numbered through all of them.
    """
    saved = store.read(table) if store.has(table) else pd.DataFrame()
    if "core_seconds" not in saved:  # of an earlier version: not enough for `is_disturbed` beside new ones
        saved = pd.DataFrame()
    total = settings.of_each
    first = restart * total
    done = first if saved.empty else int(saved["round"].max()) + 1
    budget = AGAIN * total * len(samples) - (0 if saved.empty else effort(saved)["again"])
    rows = saved.to_dict("records")
    for number in range(done, first + total):
        shuffle = random.Random(number)
        left = [(0, each) for each in shuffle.sample(list(samples), len(samples))]
        while left:
            attempt, each = left.pop(0)
            before = Moment.now()
            made = list(sample(each, shuffle))
            state = disturbance(before, Moment.now())
            warming = number - first < settings.warmup
            last = not is_disturbed(state) or warming or budget < 1
            facts = {"round": number, "warmup": warming, "sample": str(each), "attempt": attempt, "counts": last}
            rows += [{**facts, **state, **row} for row in made]
            if not last:
                budget -= 1
                left.append((attempt + 1, each))
                if not quiet_within(_WAIT_AT_MOST):
                    budget = 0
        store.write(table, pd.DataFrame(rows))
        reporter.advance(table)


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that estimates are made of: no warm-up, and the last attempt at each sample."""
    return rows[~rows["warmup"] & rows["counts"]]


_LEAST_ROUNDS = 3  # undisturbed ones, of which an estimate can be made without the others


class ByRound:
    """Seconds by round, of rows that count: what is compared is compared within a round. Of a part that was measured in
    several processes, seconds by restart: the median of its rounds.

    Args:
        rows: of one part; several of a kind in a round (repeats) become their median.
        columns: that tell apart what is compared; a key is a value of them, or a tuple.
        value: the column that is compared.
    """

    def __init__(self, rows: pd.DataFrame, columns: list[str], value: str = "seconds") -> None:
        rows = counted(rows)
        self._unit = "restart" if "restart" in rows else "round"
        index = [*dict.fromkeys((self._unit, "round"))]
        self._all, self._quiet = (
            dict(part.pivot_table(index=index, columns=columns, values=value, aggfunc="median", sort=False).items())
            for part in (rows, rows[~is_disturbed(rows)])
        )

    @property
    def units(self) -> str:
        """What estimates are over: restarts or rounds."""
        return f"{self._unit}s"

    @property
    def keys(self) -> list[Any]:
        return list(self._all)

    def __call__(self, *keys: Any) -> tuple[np.ndarray, ...]:
        """The values of each key in the rounds that have them all, undisturbed if there are enough such rounds."""
        found = _complete(self._all, keys)
        quiet = _complete(self._quiet, keys) if all(key in self._quiet for key in keys) else found[:0]
        if self._unit == "restart":
            found, quiet = (rounds.groupby(self._unit).median() for rounds in (found, quiet))
            found.update(quiet)
        elif len(quiet) >= min(_LEAST_ROUNDS, len(found)):
            found = quiet
        return tuple(found.to_numpy().T)

    def slopes(self, x: Sequence[float], *series: Sequence[Any]) -> list[np.ndarray]:
        """Seconds per unit of x, by round or restart, of each series of keys, one key for each x."""
        seconds = np.array(self(*(key for keys in series for key in keys))).reshape(len(series), len(x), -1)
        return [slopes(x, each.T) for each in seconds]

    def milliseconds(self, key: Any, count: int = 1) -> Value:
        """Of one of the `count` things that took the seconds together."""
        return location(self(key)[0]).times(1e3 / count)

    def over(self, key: Any, other: Any) -> Value:
        """How many times as long one key takes as another."""
        return ratio(*self(key, other))


def _complete(values: dict[Any, pd.Series], keys: Sequence[Any]) -> pd.DataFrame:
    """(rounds that have them all, keys)"""
    return pd.concat([values[key] for key in keys], axis=1, keys=range(len(keys))).dropna()


def effort(rows: pd.DataFrame) -> dict[str, int]:
    """How many samples a table holds, how many were measured `again`, and how many that count are `disturbed`."""
    samples = rows.drop_duplicates(["sample", "round", "attempt"])
    kept = counted(samples)
    again, disturbed = int((samples["attempt"] > 0).sum()), int(is_disturbed(kept).sum())
    return {"samples": len(samples), "again": again, "disturbed": disturbed}
