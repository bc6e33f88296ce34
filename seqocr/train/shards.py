"""Batches in shards: each process draws only its own lines of each batch, perhaps ahead of the step.

A shard is the same lines whoever draws it: they are a function of (seed, step, shard).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seqocr.data.mixture import DataMixture, Stream
from seqocr.data.processor import Processor
from seqocr.errors import InputError

Shard = tuple[torch.Tensor, list[str]]  # pixel_values (B, 3, H, W) float32, and B texts
_TO_STOP = {signal.SIGINT, signal.SIGTERM}


class ShardStream:
    """One shard of each batch of a stream, as a stream of smaller batches.

    Args:
        lines: the whole stream.
        size: lines of its batches.
        shard, shards: which part of each batch, and of how many.
        wanted: of each batch in turn, whether it is drawn; one that is not comes empty.
    """

    def __init__(self, lines: Stream, size: int, shard: int, shards: int, wanted: Iterator[bool]) -> None:
        self.lines, self.size, self.shard, self.shards, self.wanted = lines, size, shard, shards, wanted

    def __len__(self) -> int:
        return len(self.lines) // self.size * (self.size // self.shards)

    def at_epoch(self, epoch: int) -> ShardStream:
        return ShardStream(self.lines.at_epoch(epoch), self.size, self.shard, self.shards, self.wanted)

    @property
    def about(self) -> dict[str, Any]:
        return self.lines.about

    def batch(self, indices: range) -> tuple[Any, list[str]]:
        if not next(self.wanted):
            return [], []
        start = indices.start * self.shards + self.shard * len(indices)
        return self.lines.batch(range(start, start + len(indices)))


class Shards(IterableDataset[list[Shard]]):
    """Some shards of each batch, from a step on, for ever. In a worker: of every so many batches.

    Args:
        material: that batches of `size` are drawn from.
        own: the shards, of `shards`.
        step: to begin with.
        processor: brings images to the encoder's size, here and not where a GPU would wait for it.

    Raises:
        InputError: batches of this size cannot be cut into so many shards.
    """

    def __init__(
        self, material: DataMixture, size: int, own: range, shards: int, step: int, processor: Processor
    ) -> None:
        if size % (multiple := shards * material.weight):
            raise InputError(f"batch_size {size}: give a multiple of {multiple}, for {_counted(shards, material)}")
        self.material, self.size, self.own, self.shards = material, size, own, shards
        self.step, self.processor = step, processor

    def __iter__(self) -> Iterator[list[Shard]]:
        worker = get_worker_info()
        turn, turns = (worker.id, worker.num_workers) if worker else (0, 1)
        shards = [self._cut(shard, turn, turns).batches(self.size // self.shards, self.step) for shard in self.own]
        for batches in islice(zip(*shards, strict=True), turn, None, turns):
            yield [(self.processor(images), texts) for images, texts in batches]

    def _cut(self, shard: int, turn: int, turns: int) -> DataMixture:
        parts = []
        for part in self.material.parts:
            share = self.size // self.material.weight * part.weight
            wanted = cycle([i == turn for i in range(turns)])
            parts.append(replace(part, train=ShardStream(part.train, share, shard, self.shards, wanted)))
        return DataMixture(parts)


@contextmanager
def drawn(shards: Shards, workers: int) -> Iterator[Iterator[list[Shard]]]:
    """Each step's shards in turn.

    Args:
        workers: processes that draw them ahead of the step; 0: they are drawn when they are asked for.

    Raises:
        InputError: what a worker meets, or a worker was ended from outside.
    """
    if workers == 0:
        yield iter(shards)
        return
    # A forked worker shares the digits with this process, and need not load anything. It uses no GPU.
    context = "fork" if sys.platform == "linux" else None
    loader = DataLoader(
        _Told(shards),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_left_alone,
        multiprocessing_context=context,
    )
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_STOP)  # until a worker has left the group of processes
        try:
            batches = iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield map(_checked, batches)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            f"a process that draws batches was ended from outside ({str(error).strip()}): is there memory for "
            f"{workers} --workers?"
        ) from error


class _Told(IterableDataset[Any]):
    """Batches, or the InputError that ended them: raised in a worker it would come with a traceback in its message."""

    def __init__(self, batches: Shards) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[Shard] | InputError]:
        try:
            yield from self.batches
        except InputError as error:
            yield error


def _checked(found: list[Shard] | InputError) -> list[Shard]:
    if isinstance(found, InputError):
        raise found
    return found


def _as_it_is(batch: Any) -> Any:
    return batch


def _left_alone(_: int) -> None:
    """In a worker: signals to stop are for the process that trains, which first ends its step. They are sent to its
    whole group, from a terminal as by torchrun."""
    os.setpgid(0, 0)
    while sent := signal.sigpending() & _TO_STOP:
        signal.sigwait(sent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_STOP)


def _counted(shards: int, material: DataMixture) -> str:
    levels = f" of each of {material.weight} levels" if material.weight > 1 else ""
    return f"{shards} shards{levels}"
