"""Several processes that train together over torch.distributed; one process alone is a world of size 1.

`torchrun` and `accelerate launch` tell each process its rank (RANK), its rank on its machine (LOCAL_RANK), how many
there are (WORLD_SIZE), and the address where they meet (MASTER_ADDR, MASTER_PORT).
"""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from seqocr.errors import InputError, RankError

_MEETING_SECONDS, _REPORTING_SECONDS = 60.0, 3.0
# The main process alone may train teachers, or load a data set. One that ends is noticed at once, however long this is.
_COLLECTIVE_TIMEOUT = timedelta(hours=12)
_LOST = "another process of this training has ended: start them again, and they go on from the last saved state"


def launched() -> int:
    """How many processes were launched together, whether or not they have met.

    Raises:
        InputError: WORLD_SIZE is no number.
    """
    return _environ("WORLD_SIZE", 1)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    return rank() == 0


def is_local_main() -> bool:
    """Whether this process is the first on its machine."""
    return world_size() == 1 or _environ("LOCAL_RANK") == 0


def own_part(count: int) -> range:
    """Which of so many shards are this process's.

    Raises:
        InputError: they cannot be divided evenly.
    """
    if count % world_size():
        raise InputError(f"--shards {count}: give a multiple of {world_size()}, the number of processes")
    each = count // world_size()
    return range(rank() * each, (rank() + 1) * each)


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Within the block, this process trains with those that were launched with it, if any, and only the main one
    prints.

    Args:
        device: "cpu" or "cuda". Processes on one machine get a GPU each.

    Yields:
        the device of this process.

    Raises:
        InputError: the launcher's variables are no numbers, or there are fewer GPUs than processes.
        RankError: the processes do not meet, one of them has ended, or the block raises an InputError or OSError.
    """
    if (size := launched()) == 1:
        yield device
        return
    number, store = _environ("RANK"), None
    try:
        store = _meet(_rendezvous(), number, size)
        with ExitStack() as stack:
            if number > 0:
                nowhere = stack.enter_context(Path(os.devnull).open("w"))
                stack.enter_context(redirect_stdout(nowhere))
                stack.enter_context(redirect_stderr(nowhere))
            if device == "cuda":
                device = _own_gpu(_environ("LOCAL_RANK"))
            # Counts and losses are on the CPU, gradients where the weights are.
            backend = "cpu:gloo,cuda:nccl" if device != "cpu" else "gloo"
            dist.init_process_group(backend, store=store, rank=number, world_size=size, timeout=_COLLECTIVE_TIMEOUT)
            try:
                yield device
            finally:
                dist.destroy_process_group()
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        raise RankError(str(error), _reports(store, number, size)) from error
    except RuntimeError as error:
        if not _means_lost_process(error):
            raise
        raise RankError(_LOST, _reports(store, number, size)) from error


def reduce_sum(numbers: list[float]) -> list[float]:
    """The sums over all processes, in float64. Waits for all."""
    if world_size() == 1:
        return numbers
    tensor = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(tensor)
    return tensor.tolist()


def share_out(tensors: list[torch.Tensor], function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replace tensors, the same in all processes, by what a function makes of each; every process does its part."""
    if world_size() == 1 or not tensors:
        for tensor in tensors:
            tensor.copy_(function(tensor))
        return
    flat = torch.zeros(sum(tensor.numel() for tensor in tensors), device=tensors[0].device)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for i in range(rank(), len(tensors), world_size()):
        parts[i].copy_(function(tensors[i]).flatten())
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def gather(number: float) -> list[float]:
    """Each process's number, by rank. Waits for all."""
    numbers = [0.0] * world_size()
    numbers[rank()] = number
    return reduce_sum(numbers)


def barrier() -> None:
    reduce_sum([0.0])


def agree_to_stop(received: int | None) -> int | None:
    """The signal to stop that this process or any other has received (SIGTERM for another's); None if none has."""
    if not any(gather(float(received is not None))):
        return None
    return received or signal.SIGTERM


@contextmanager
def first(is_first: bool) -> Iterator[None]:
    """Some processes go through the block before the others, which then find the files that the first have written."""
    if not is_first:
        barrier()
    yield
    if is_first:
        barrier()


def _environ(name: str, default: int | None = None) -> int:
    value = os.environ.get(name, default)
    try:
        return int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{name}={value or ''}: start several processes with torchrun, which sets it") from None


def _own_gpu(local_rank: int) -> str:
    if local_rank >= (count := torch.cuda.device_count()):
        raise InputError(f"process {local_rank} of this machine has no GPU, there are {count}: start one per GPU")
    torch.cuda.set_device(local_rank)
    return f"cuda:{local_rank}"


def _rendezvous() -> dist.Store:
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=_MEETING_SECONDS)))
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{launched()} processes cannot meet at {address} ({reason}): give an address of the first machine"
        ) from None
    return dist.PrefixStore("seqocr", store)


def _meet(store: dist.Store, number: int, size: int) -> dist.Store:
    """A part of the store for this launch alone, once all processes are there: torchrun keeps its store when it
    restarts processes, so each asks the main one under a name that was never used, and is answered with another."""
    own, launch = uuid.uuid4().hex, ""
    if number > 0:
        store.set(f"asks/{number}", own)
    end = time.monotonic() + _MEETING_SECONDS
    while time.monotonic() < end:
        if number == 0:
            for asks in (f"asks/{other}" for other in range(1, size)):
                if store.check([asks]):
                    asking = store.get(asks).decode()
                    store.delete_key(asks)
                    store.set(f"answer/{asking}", own)
            if store.add(f"came/{own}", 0) == size - 1:
                store.set(f"go/{own}", own)
                return dist.PrefixStore(own, store)
        elif not launch and store.check([f"answer/{own}"]):
            launch = store.get(f"answer/{own}").decode()
            store.add(f"came/{launch}", 1)
        elif launch and store.check([f"go/{launch}"]):
            return dist.PrefixStore(launch, store)
        time.sleep(0.05)
    raise InputError(f"not all of {size} processes have come within {_MEETING_SECONDS:.0f} seconds: start all of them")


def _reports(store: dist.Store | None, number: int, size: int) -> bool:
    """Whether to say why the training ends: the first process that fails, or, if none met, one on each machine."""
    if store is None:
        return _environ("LOCAL_RANK", 0) == 0
    try:
        first_to_fail = store.add("failed", 1) == 1
        if number == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":  # the store ends with this process
            end = time.monotonic() + _REPORTING_SECONDS
            while store.add("failed", 0) < size and time.monotonic() < end:
                time.sleep(0.05)
        return first_to_fail
    except RuntimeError:  # the process that held the store is gone
        return True


def _means_lost_process(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone. Some of gloo's errors have no class of their own."""
    known = (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)
    return isinstance(error, known) or "gloo" in str(error)
