"""Times over restarts of the process: what is compared is compared within a restart, whose rows are JSON lines."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch

from bench.core.timer import Moment, clock, disturbance


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
