"""Where cells run: in processes of this machine, or on a Ray cluster.

A cell is a call that is not timed and needs nothing but its arguments, the code, the digits and files. What it writes
is the same each time, and whole or not there, so it can be run again.
"""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from seqocr.errors import InputError
from seqocr.processes import pool

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Attributes:
    name: one of `ENGINES`.
    address: of a Ray cluster, such as 10.0.0.1:6379 or ray://10.0.0.1:10001; none: $RAY_ADDRESS, or else a Ray of its
        own on this machine, that ends with the work.

    Raises:
        InputError: there is no such engine, or an address without Ray.
    """

    name: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise InputError(f"unknown engine {self.name!r}: choose one of {', '.join(ENGINES)}")
        if self.address is not None and self.name != "ray":
            raise InputError(f"address {self.address!r} is of a Ray cluster: add --engine ray, or leave it out")

    @property
    def times(self) -> bool:
        """Whether a clock may follow: not beside Ray."""
        return self.name == "local"

    def workers(self, folder: Path | None = None, files: Sequence[Path] = ()) -> AbstractContextManager[Executor]:
        """What runs cells; those that have not begun at the end are dropped.

        Args:
            folder: that cells read and write; files: that they read.

        Raises:
            InputError: no cluster answers, or a machine of it lacks the folder, a file, or this code.
        """
        if self.times:
            return _processes()
        from bench.core import ray_engine  # it takes Ray

        return ray_engine.workers(self.address, folder, files)


LOCAL = Engine()


@contextlib.contextmanager
def _processes() -> Iterator[Executor]:
    """One a core, a thread each: more threads would wait for each other."""
    with pool(torch.get_num_threads(), partial(torch.set_num_threads, 1)) as cells:
        try:
            yield cells
        finally:
            cells.shutdown(cancel_futures=True)
