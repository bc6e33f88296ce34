"""Timing that knows when it was disturbed.

A visit is the smallest thing that is timed as one: a few calls, a second at most. Beside each call's seconds stand the
process's own CPU seconds and how often it lost a core against its will; beside each visit, the CPU time that other
processes took and the hypervisor stole meanwhile. A disturbed visit is kept, marked, and made again, up to a budget.
"""

from __future__ import annotations

import gc
import random
import resource
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from bench.core.store import Store
from seqocr.progress import Reporter
from seqocr.statistics import Value, location, ratio

# A visit is disturbed if others took or the hypervisor stole more than this share of the machine meanwhile ...
_SHARE = 0.05
# ... and more seconds than the kernel's accounting, in ticks of 10 ms a core, is wrong by.
_LEAST = 0.03
_QUIET_FOR = 0.25  # seconds that nothing else must run before a visit is made again
_WAIT_AT_MOST = 8.0  # seconds for that; a machine that is still busy then is taken to be so for good
AGAIN = 1.0  # visits made again, of a part, as a share of those planned


def clock(work: Callable[[], Any], device: torch.device) -> tuple[Any, dict[str, float]]:
    """The result of `work`, and how it went: `seconds`, `cpu` seconds of all threads, `switches` against its will.

    The garbage collector is held off and the device drained.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        if device.type == "cuda":
            torch.cuda.synchronize()
        switches, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, time.process_time()
        start = time.perf_counter()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        cpu = time.process_time() - cpu
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
        return result, {"seconds": seconds, "cpu": cpu, "switches": switches}
    finally:
        if collecting:
            gc.enable()


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


def disturbance(before: Moment, after: Moment) -> dict[str, Any]:
    """Of the time between: CPU seconds of `others` and `stolen` ones, and whether it counts as `disturbed`."""
    others = max(0.0, (after.busy - before.busy) - (after.own - before.own))
    stolen = max(0.0, after.stolen - before.stolen)
    machine = (after.wall - before.wall) * (psutil.cpu_count() or 1)
    disturbed = any(lost > max(_LEAST, _SHARE * machine) for lost in (others, stolen))
    return {"others": round(others, 3), "stolen": round(stolen, 3), "disturbed": disturbed}


def quiet_within(seconds: float) -> bool:
    """Wait until nothing else has run for a moment; whether that came about."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = Moment.now()
        time.sleep(_QUIET_FOR)
        if not disturbance(before, Moment.now())["disturbed"]:
            return True
    return False


@dataclass
class Rounds:
    """Interleaved rounds of visits, saved as they come, so that a run that was killed goes on with the next.

    A round makes every visit once, in an order of its own, so that a drift of the machine hits all alike. Its disturbed
    visits are made again at its end.

    Attributes:
        table: name of the table that rows are saved in.
        count, warmup: rounds that count, after those that are kept and marked.
    """

    store: Store
    table: str
    count: int
    warmup: int = 1

    @property
    def total(self) -> int:
        return self.count + self.warmup

    def done(self) -> int:
        return int(self.store.read(self.table)["round"].max()) + 1 if self.store.has(self.table) else 0

    def measure(
        self,
        visits: Sequence[Hashable],
        visit: Callable[[Any, random.Random], Iterable[dict[str, Any]]],
        reporter: Reporter,
        note: str,
    ) -> None:
        """Make the rounds that are left.

        Args:
            visits: what a round goes through.
            visit: the rows of a visit, each with what `clock` gave, and the round's own random numbers.
        """
        done = self.done()
        rows: list[dict[str, Any]] = self.store.read(self.table).to_dict("records") if done else []
        budget = AGAIN * self.total * len(visits) - (effort(pd.DataFrame(rows))["again"] if rows else 0)
        for number in range(done, self.total):
            shuffle = random.Random(number)
            left = [(0, each) for each in shuffle.sample(list(visits), len(visits))]
            while left:
                attempt, each = left.pop(0)
                before = Moment.now()
                made = list(visit(each, shuffle))
                state = disturbance(before, Moment.now())
                warmup = number < self.warmup
                last = not state["disturbed"] or warmup or budget < 1
                facts = {
                    "round": number,
                    "warmup": warmup,
                    "visit": str(each),
                    "attempt": attempt,
                    "counts": last,
                    **state,
                }
                rows += [{**facts, **row} for row in made]
                if not last:
                    budget -= 1
                    left.append((attempt + 1, each))
                    if not quiet_within(_WAIT_AT_MOST):
                        budget = 0
            self.store.write(self.table, pd.DataFrame(rows))
            reporter.advance(note)


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that estimates are made of: no warm-up, and the last attempt at each visit."""
    return rows[~rows["warmup"] & rows["counts"]]


_LEAST_ROUNDS = 3  # undisturbed ones, of which an estimate can be made without the others


class ByRound:
    """Seconds by round, of rows that count: what is compared is compared within a round.

    Args:
        rows: of one part; several of a kind in a round (repeats) become their median.
        columns: that tell apart what is compared; a key is a value of them, or a tuple.
        value: the column that is compared.
    """

    def __init__(self, rows: pd.DataFrame, columns: list[str], value: str = "seconds") -> None:
        rows = counted(rows)
        found = [
            part.pivot_table(index="round", columns=columns, values=value, aggfunc="median", sort=False)
            for part in (rows, rows[~rows["disturbed"]])
        ]
        self._all, self._quiet = ({key: column.to_numpy() for key, column in table.items()} for table in found)

    @property
    def keys(self) -> list[Any]:
        return list(self._all)

    def __call__(self, *keys: Any) -> tuple[np.ndarray, ...]:
        """The values of each key in the rounds that have them all, undisturbed if there are enough such rounds."""
        found = _complete([self._all[key] for key in keys])
        if all(key in self._quiet for key in keys):
            quiet = _complete([self._quiet[key] for key in keys])
            found = quiet if quiet.shape[1] >= min(_LEAST_ROUNDS, found.shape[1]) else found
        return tuple(found)

    def milliseconds(self, key: Any, count: int = 1) -> Value:
        """Of one of the `count` things that took the seconds together."""
        return location(self(key)[0]).times(1e3 / count)

    def over(self, key: Any, other: Any) -> Value:
        """How many times as long one key takes as another."""
        return ratio(*self(key, other))


def _complete(values: list[np.ndarray]) -> np.ndarray:
    """(keys, rounds that have them all)"""
    table = np.array(values)
    return table[:, ~np.isnan(table).any(axis=0)]


def effort(rows: pd.DataFrame) -> dict[str, int]:
    """How many visits a table holds, how many of them were made `again`, and how many that count are `disturbed`."""
    visits = rows.drop_duplicates(["visit", "round", "attempt"])
    kept = counted(visits)
    return {
        "visits": len(visits),
        "again": int((visits["attempt"] > 0).sum()),
        "disturbed": int(kept["disturbed"].sum()),
    }
