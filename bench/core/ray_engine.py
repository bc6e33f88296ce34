"""Cells on a Ray cluster, as Ray Core's tasks. The cell of a worker or machine that died is run again on another.

A machine runs cells only if it has this code, these versions and digits, and the same files: results are then those of
a run on this machine. Each process makes sure of that before its first cell, and every machine at the beginning.
"""

import contextlib
import hashlib
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import bench
import seqocr
from seqocr.batch.ray_cluster import connected, last_line
from seqocr.data.sources.datasets import data_root, load_digits_or_validation
from seqocr.errors import InputError
from seqocr.files import file_sum, writable

_RETRIES = 5  # of a cell whose worker died. One that kills its worker each time is the cause itself
_CHECKED = 180.0  # seconds that a machine has to start a process, load torch and look at its files
_ENDS = 30.0  # seconds for cells to save how far they have come
_PACKAGES = ("torch", "torchvision", "transformers", "numpy", "pandas", "scipy")


@dataclass(frozen=True)
class Wanted:
    """What a machine must have.

    Attributes:
        facts: name and value of all that results depend on.
        data: folder of the digits here; a machine without it looks where its own settings say.
        files: paths and digests.
        folder: to write to.
    """

    facts: tuple[tuple[str, str], ...]
    data: str
    files: tuple[tuple[str, str], ...]
    folder: str | None


@contextlib.contextmanager
def workers(address: str | None, folder: Path | None, files: Sequence[Path]) -> Iterator[Executor]:
    """See `Engine.workers`."""
    with connected(address, torch.get_num_threads()), contextlib.ExitStack() as stack:
        if folder is not None:
            files = [*files, stack.enter_context(_probe(folder))]
        digests = tuple((str(path.absolute()), _digest(path)) for path in files)
        wanted = Wanted(facts(), str(data_root().absolute()), digests, str(folder.absolute()) if folder else None)
        _check_machines(wanted)
        cells = Cells(wanted)
        try:
            yield cells
        finally:
            cells.shutdown(cancel_futures=True)


class Cells(Executor):
    """Ray's tasks as an `Executor`: one core and one thread each."""

    def __init__(self, wanted: Wanted) -> None:
        self._task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_cell)
        self._wanted = wanted
        self._refs: list[Any] = []

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # whether it runs is Ray's to know
        ref = self._task.remote(self._wanted, work, arguments, more)
        self._refs.append(ref)
        ref.future().add_done_callback(partial(_hand_over, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if not self._refs:
            return
        _, left = ray.wait(self._refs, num_returns=len(self._refs), timeout=0 if cancel_futures else None)
        for ref in left:
            ray.cancel(ref)  # a training that runs saves its state, as after Ctrl-C
        if wait and left:
            ray.wait(left, num_returns=len(left), timeout=_ENDS)


def _cell(
    wanted: Wanted, work: Callable[..., Any], arguments: tuple[Any, ...], more: dict[str, Any]
) -> tuple[Any, InputError | None]:
    """What a cell gives, or what is wrong with its input: Ray would make a page of that."""
    try:
        if problem := missing(wanted):
            raise InputError(f"{platform.node()} {problem}")
        return work(*arguments, **more), None
    except InputError as error:
        return None, error


def _hand_over(future: Future[Any], done: Future[Any]) -> None:
    error, result = done.exception(), None
    if error is None:
        result, error = done.result()
    elif not isinstance(error, RayTaskError):  # else a mistake in the code: with the traceback of the worker
        error = InputError(
            f"a cell was given up after {1 + _RETRIES} tries ({last_line(error)}): see that machines have memory "
            "for a cell a core, then run the same command again. What is finished stays"
        )
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


@cache
def missing(wanted: Wanted) -> str:
    """What keeps this process from running cells as the one that asks would; empty if nothing does."""
    torch.set_num_threads(1)
    if Path(wanted.data).is_dir():
        os.environ["SEQOCR_DATA"] = wanted.data
    own = dict(facts())
    for name, value in wanted.facts:
        if own[name] != value:
            return f"has {name} {own[name]}, but {value} is asked for: install the same on all machines"
    for path, digest in wanted.files:
        if _digest(Path(path)) != digest:
            shared = "use a folder that all machines share, at the same path"
            return f"does not see what {Path(path).parent} holds here: {shared}"
    try:
        if wanted.folder is not None:
            writable(Path(wanted.folder))
    except InputError as error:
        return f"cannot write to the shared folder: {error}"
    return ""


def facts() -> tuple[tuple[str, str], ...]:
    """Name and value of all that a cell's result depends on, besides its arguments and files."""
    packages = {name: version(name) for name in _PACKAGES}
    digits = load_digits_or_validation("test")
    drawn = f"{digits.split}:{hashlib.sha256(digits.images.numpy().tobytes()).hexdigest()[:8]}"
    return tuple({"Python": platform.python_version(), **packages, "seqocr code": _code(), "digits": drawn}.items())


@cache
def _code() -> str:
    """The digest of this project's code and weights."""
    found = hashlib.sha256()
    for package in (bench, seqocr):
        root = Path(str(package.__file__)).parent
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.safetensors")]):
            found.update(path.relative_to(root).as_posix().encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:8]


def _digest(path: Path) -> str:
    try:
        return file_sum(path)
    except OSError:
        return ""


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    """A file whose name and content no other folder has."""
    token = secrets.token_hex(8)
    path = folder / f".shared-{token}"
    writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(token, encoding="utf-8")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _check_machines(wanted: Wanted) -> None:
    """
    Raises:
        InputError: a machine that would run cells cannot, or none would.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise InputError("no machine of the cluster has a core for cells: start one with `ray start --num-cpus`")
    check = ray.remote(num_cpus=0, max_retries=1)(_missing)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        asked[name] = check.options(scheduling_strategy=there).remote(wanted)
    for name, ref in asked.items():
        try:
            problem = ray.get(ref, timeout=_CHECKED)
        except RayError as error:
            problem = f"cannot run cells ({last_line(error)}): install the same seqocr there"
        if problem:
            raise InputError(f"{name} {problem}")


def _missing(wanted: Wanted) -> str:
    return missing(wanted)
