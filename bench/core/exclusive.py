"""A clock wants a machine to itself: what refuses to time beside something else."""

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from seqocr.errors import InputError


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two benches on one machine would time each other.

    Raises:
        InputError: another one is running.
    """
    with (Path(tempfile.gettempdir()) / f"seqocr-bench-{os.getuid()}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError("another bench is running on this machine: wait until it ends") from None
        yield


def refuse_beside_ray() -> None:
    """A machine of a Ray cluster works whenever the cluster wants it to.

    Raises:
        InputError: this machine is one of a cluster's, or this process is connected to a cluster.
    """
    if found := ray_nodes():
        raise InputError(
            f"Ray runs on this machine (process {found[0]}), and its work would be timed too: end it (`ray stop`), "
            "then run the same command again. What is measured stays"
        )
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        raise InputError("this process is connected to a Ray cluster: time in one that is not")


def ray_nodes() -> list[int]:
    """Processes on this machine that are nodes of a Ray cluster."""
    return [process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "raylet"]
