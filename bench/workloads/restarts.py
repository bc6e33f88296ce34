"""Times over restarts of the process: what is compared is compared within a restart, whose rows are JSON lines."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import torch

from bench.core.timer import ByRound, Moment, clock, disturbance
from seqocr.statistics import Value, location, ratio


def print_rounds(works: Mapping[str, Callable[[], int]], batch: int, rounds: int, shuffle: random.Random) -> None:
    """Print one row per strategy and round: seconds, passes, and what disturbed them. A first round is not counted.

    Args:
        works: read a batch and return the decoder passes made, by strategy; timed in another order each round.
    """
    for number in range(1 + rounds):
        for name in shuffle.sample([*works], len(works)):
            before = Moment.now()
            passes, timing = clock(works[name], torch.device("cpu"))
            row = {"strategy": name, "batch": batch, "round": number - 1, "passes": passes, **timing}
            if number:
                print(json.dumps({**row, **disturbance(before, Moment.now())}), flush=True)


def restart(module: ModuleType, arguments: list[str], number: int) -> pd.DataFrame:
    """Rows that a module prints, run in a new process with these arguments and the restart's number.

    Raises:
        RuntimeError: it failed; the message has what it said.
    """
    command = [sys.executable, "-m", module.__name__, *arguments, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return pd.DataFrame(map(json.loads, done.stdout.splitlines())).assign(restart=number, warmup=False, counts=True)


class ByRestart:
    """Times of strategies, of rows that `restart` gives: the unit of replication is the restart."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._restarts = [ByRound(of_restart, ["strategy"]) for _, of_restart in rows.groupby("restart")]

    def milliseconds(self, strategy: str, count: int = 1) -> Value:
        """Of one of the `count` things that are read together; of each restart, the median of its rounds counts."""
        medians = [np.median(each(strategy)[0]) for each in self._restarts]
        return location(medians).times(1e3 / count)

    def over(self, strategy: str, other: str) -> Value:
        """How many times as long as another strategy takes, in the same rounds of the same restart."""
        found = [each(strategy, other) for each in self._restarts]
        return ratio([np.median(one / two) for one, two in found], np.ones(len(found)))
