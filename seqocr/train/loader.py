"""Batches in shards: each process reads only its own of each batch, perhaps in workers ahead of the step. A shard's
lines are a function of (seed, step, shard), whoever reads it."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seqocr.data.mixture import Chunk, DataMixture, read_chunks
from seqocr.data.processor import Processor
from seqocr.errors import InputError


class Part(NamedTuple):
    """Lines that are learned together.

    Attributes:
        pixels: pixel_values (B, 3, H, W) float32; texts: B.
        seen: pixel_values (B, 3, H', W') of a teacher of features, if there is one.
    """

    pixels: torch.Tensor
    texts: list[str]
    seen: torch.Tensor | None = None


Shard = list[Part]  # several where lines of like width go together (see `Fit.parts`)
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class ShardedBatches(IterableDataset[list[Shard]]):
    """Some shards of each batch, from a step on, without end. In one of n workers: of every nth batch.

    Args:
        size: lines in a batch, over all shards.
        own: numbers of the shards to read, of so many `shards`.
        processor: resizes images here, so that a GPU need not wait for it; teacher: that of a teacher of features.

    Raises:
        InputError: batches of this size cannot be read, or not be cut into so many shards.
    """

    def __init__(
        self,
        mixture: DataMixture,
        size: int,
        own: range,
        shards: int,
        step: int,
        processor: Processor,
        teacher: Processor | None = None,
    ) -> None:
        mixture.schedule(size)
        if size % (multiple := shards * mixture.weight):
            levels = f" of each of {mixture.weight} levels" if mixture.weight > 1 else ""
            raise InputError(f"batch_size {size}: give a multiple of {multiple}, for {shards} shards{levels}")
        self.mixture, self.size, self.own, self.shards = mixture, size, own, shards
        self.step, self.processor, self.teacher = step, processor, teacher

    def __iter__(self) -> Iterator[list[Shard]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for chunks in islice(self.mixture.schedule(self.size, self.step), number, None, workers):
            yield [self._read(chunks, shard) for shard in self.own]

    def _read(self, chunks: Sequence[Chunk], shard: int) -> Shard:
        sized = [(lines, indices, len(indices) // self.shards) for lines, indices in chunks]
        images, texts = read_chunks((lines, indices[shard * n : (shard + 1) * n]) for lines, indices, n in sized)
        return [self._part([images[i] for i in p], [texts[i] for i in p]) for p in self.processor.parts(images)]

    def _part(self, images: list[Any], texts: list[str]) -> Part:
        return Part(self.processor(images), texts, self.teacher(images) if self.teacher else None)


@contextmanager
def loading(batches: ShardedBatches, workers: int) -> Iterator[Iterator[list[Shard]]]:
    """The batches, one after another.

    Args:
        workers: processes that read them ahead; 0: this process reads each one when it is needed.

    Raises:
        InputError: as raised in a worker, or a worker was ended from outside.
    """
    if workers == 0:
        yield iter(batches)
        return
    # A forked worker shares the digits with this process, and need not load anything. It uses no GPU.
    context = "fork" if sys.platform == "linux" else None
    more: dict[str, Any] = {"worker_init_fn": _leave_process_group, "multiprocessing_context": context}
    loader = DataLoader(_CaughtErrors(batches), batch_size=None, num_workers=workers, **more)
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # until workers have left the process group
        try:
            items = iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield map(_raise_errors, items)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            f"a process that loads batches was ended from outside ({str(error).strip()}): is there memory for "
            f"{workers} --workers?"
        ) from error


class _CaughtErrors(IterableDataset[Any]):
    """Batches, or the InputError that ended them: raised in a worker it would come with a traceback in its message."""

    def __init__(self, batches: ShardedBatches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[Shard] | InputError]:
        try:
            yield from self.batches
        except InputError as error:
            yield error


def _raise_errors(item: list[Shard] | InputError) -> list[Shard]:
    if isinstance(item, InputError):
        raise item
    return item


def _leave_process_group(_: int) -> None:
    """In a worker: signals to stop, sent to the whole process group, are for the process that trains."""
    os.setpgid(0, 0)
    while pending := signal.sigpending() & _STOP_SIGNALS:
        signal.sigwait(pending)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
