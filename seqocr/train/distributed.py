"""Several processes that train together: which of them this is, and what they tell one another.

`torchrun` and `accelerate launch` tell each its number (RANK), its number on its machine (LOCAL_RANK), how many there
are (WORLD_SIZE), and where all meet (MASTER_ADDR, MASTER_PORT).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from seqocr.errors import InputError, RankError

_TO_MEET, _TO_ASK = 60.0, 3.0  # seconds: for all to come, and for others to ask who says what went wrong
# One of them alone may train teachers, or load a data set. One that ends is noticed at once, however long this is.
_TO_WAIT = timedelta(hours=12)
_LOST = "another process of this training has ended: start them again, and they go on from what was saved last"


def started() -> int:
    """How many processes were started together, whether or not they have met.

    Raises:
        InputError: WORLD_SIZE is no number.
    """
    return _told("WORLD_SIZE", 1)


def number() -> int:
    """This process's, from 0 up; 0 where it trains alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes, and speaks for all."""
    return number() == 0


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Within the block this process trains with those that were started with it, and only the first of them prints.

    A process that was started alone stays as it is.

    Args:
        device: "cpu" or "cuda". Processes on one machine get a GPU each.

    Yields:
        the device of this process.

    Raises:
        InputError: what the launcher says is no number, or there are fewer GPUs than processes.
        RankError: the processes do not meet, one of them has ended, or what the block raises as InputError or OSError.
    """
    if started() == 1:
        yield device
        return
    rank, world = _told("RANK"), started()
    store = None
    try:
        store = _met(_meeting_place(), rank, world)
        with _quiet(rank > 0):
            if device == "cuda":
                device = _own_gpu(_told("LOCAL_RANK"))
            # Counts and losses are on the CPU, gradients where the weights are.
            backend = "cpu:gloo,cuda:nccl" if device != "cpu" else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_TO_WAIT)
            try:
                yield device
            finally:
                dist.destroy_process_group()
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        raise RankError(str(error), _fails_first(store, rank, world)) from error
    except RuntimeError as error:
        if not _is_of_another(error):
            raise
        raise RankError(_LOST, _fails_first(store, rank, world)) from error


def summed(numbers: list[float]) -> list[float]:
    """The sums over all processes. Waits for all."""
    if count() == 1:
        return numbers
    tensor = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(tensor)
    return tensor.tolist()


def all_of(value: float) -> list[float]:
    """What each process says, in order. Waits for all."""
    said = [0.0] * count()
    said[number()] = value
    return summed(said)


def wait() -> None:
    """Until all are here."""
    summed([0.0])


@contextmanager
def goes_first(one: bool) -> Iterator[None]:
    """Some processes go through the block before the others, which then find the files that those have written."""
    if not one:
        wait()
    yield
    if one:
        wait()


def is_first_here() -> bool:
    """Whether this is the first process on its machine."""
    return count() == 1 or _told("LOCAL_RANK") == 0


def _told(name: str, default: int | None = None) -> int:
    """A number that the launcher sets."""
    value = os.environ.get(name, default)
    try:
        return int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{name}={value or ''}: start several processes with torchrun, which sets it") from None


def _own_gpu(local: int) -> str:
    if local >= (there := torch.cuda.device_count()):
        raise InputError(f"process {local} of this machine has no GPU, there are {there}: start one a GPU")
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def _meeting_place() -> dist.Store:
    """
    Raises:
        InputError: nobody answers at its address.
    """
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=_TO_MEET)))
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"no meeting of {started()} processes at {where} ({reason}): give an address of theirs"
        ) from None
    return dist.PrefixStore("seqocr", store)


def _met(store: dist.Store, rank: int, world: int) -> dist.Store:
    """A part of the store for this start alone, once all processes are there.

    torchrun keeps its store when it starts processes again, with all that those before have left in it. So each asks
    the first under a name that was never used, and the first answers with another.

    Raises:
        InputError: not all have come in time.
    """
    own, start = uuid.uuid4().hex, ""
    if rank > 0:
        store.set(f"asks/{rank}", own)
    end = time.monotonic() + _TO_MEET
    while time.monotonic() < end:
        if rank == 0:
            for asks in (f"asks/{other}" for other in range(1, world)):
                if store.check([asks]):
                    asking = store.get(asks).decode()
                    store.delete_key(asks)
                    store.set(f"answer/{asking}", own)
            if store.add(f"came/{own}", 0) == world - 1:
                store.set(f"go/{own}", own)
                return dist.PrefixStore(own, store)
        elif not start and store.check([f"answer/{own}"]):
            start = store.get(f"answer/{own}").decode()
            store.add(f"came/{start}", 1)
        elif start and store.check([f"go/{start}"]):
            return dist.PrefixStore(start, store)
        time.sleep(0.05)
    raise InputError(f"not all of {world} processes have come within {_TO_MEET:.0f} seconds: start all of them")


@contextmanager
def _quiet(quiet: bool) -> Iterator[None]:
    if not quiet:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _fails_first(store: dist.Store | None, rank: int, world: int) -> bool:
    """Whether no other process has said why the training ends; of those that have not met, one a machine says it."""
    if store is None:
        return _told("LOCAL_RANK", 0) == 0
    try:
        first = store.add("failed", 1) == 1
        if rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":  # then the store ends with this one
            end = time.monotonic() + _TO_ASK
            while store.add("failed", 0) < world and time.monotonic() < end:
                time.sleep(0.05)
        return first
    except RuntimeError:  # whoever held the store is gone
        return True


def _is_of_another(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone. Some of gloo's errors have no class of their own."""
    known = (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)
    return isinstance(error, known) or "gloo" in str(error)
