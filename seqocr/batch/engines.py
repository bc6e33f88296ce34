"""Engines run a job on shards: processes of this machine, or Ray. They yield each outcome as soon as they have it."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from typing import Any

from seqocr.batch.ray_cluster import connected, last_line
from seqocr.batch.shards import Job, Outcome
from seqocr.batch.sources import Shard
from seqocr.errors import InputError
from seqocr.inference.sessions import core_count
from seqocr.processes import pool_for

_AHEAD = 3  # shards per worker that wait in its queue
_KILLS = 3  # in a row, without a finished shard between them
_RETRIES = 10  # of a shard on Ray whose workers or machines die; Ray would go on for ever


def local(job: Job, shards: Sequence[Shard], workers: int | None = None) -> Iterator[Outcome]:
    """One process per core. Where one is killed, the shards that were being read are read again. InputError if
    processes are killed again and again."""
    left, kills = {shard.number: shard for shard in shards}, 0
    while left:
        try:
            for outcome in _by_pool(job, list(left.values()), workers or core_count()):
                del left[outcome.number]
                kills = 0
                yield outcome
        except BrokenProcessPool:
            kills += 1
            if kills == _KILLS:
                raise InputError(
                    f"a process that reads was killed {_KILLS} times, at {next(iter(left.values())).names[0]} or near: "
                    "give fewer --workers, or more memory; the same command goes on from here"
                ) from None


def _by_pool(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Outcome]:
    todo, running = iter(shards), set[Future[Outcome]]()
    with pool_for(workers) as readers:
        while True:
            for shard in todo:
                running.add(readers.submit(job, shard))
                if len(running) >= workers * _AHEAD:
                    break
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def on_ray(
    job: Job, shards: Sequence[Shard], workers: int | None = None, address: str | None = None
) -> Iterator[Outcome]:
    """Actors of Ray Data, one per core of the cluster. What a node was reading when it died is read again elsewhere.
    InputError if Ray is not installed, or no cluster answers."""
    with connected(address, workers or core_count()) as ray:
        from ray.data import ActorPoolStrategy, DataContext, from_items

        context = DataContext.get_current()
        context.enable_progress_bars = False  # ours is shown
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        most = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        items = from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `max_task_retries` has no successor yet
            read = items.map(
                _Actor,
                fn_constructor_args=[job],
                compute=ActorPoolStrategy(min_size=1, max_size=most),
                num_cpus=1,
                max_task_retries=_RETRIES,
            )
        try:
            for row in read.iter_rows():
                yield Outcome(**row)
        except ray.exceptions.RayError as error:
            raise InputError(
                f"the Ray cluster failed ({last_line(error)}): check that its machines run, with memory for one "
                "reader per core. What was finished stays: the same command goes on from there"
            ) from error


class _Actor:
    """A process of the cluster, which keeps the graphs that it loads with its first shard."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return asdict(self.job(Shard(**{**row, "names": tuple(row["names"])})))
