"""The loop: every part that is missing or of other code is measured, what is not timed first."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import torch

from bench.experiment import PRESETS, Bench, Experiment, Part
from bench.experiments import experiments
from bench.store import Store, now
from seqocr.checkpoints import load_recognizer
from seqocr.data.folder import LineFolder
from seqocr.errors import InputError
from seqocr.progress import progress
from seqocr.shipped import READER, SHIPPED


def prepared(
    preset: str, results: Path, device: str, weights: Path | None = None, real: Path | None = None, skip: bool = False
) -> Bench:
    """A bench whose store is the run of this preset on this machine, begun or new.

    Args:
        weights: of a recognizer to evaluate in place of the shipped ones.
        real: folder of labelled lines; skip: leave out those that cannot be used.

    Raises:
        InputError: there is no such preset, or weights or lines cannot be read.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown bench preset {preset!r}: choose one of {', '.join(PRESETS)}")
    task, reader, folder = weights or SHIPPED, weights or READER, None
    if weights is not None or real is not None:
        recognizer = load_recognizer(reader)
        if real is not None:
            folder = LineFolder(real, charset=recognizer.charset, max_length=recognizer.max_length, skip=skip)
    about = {
        "weights": str(weights) if weights else "shipped",
        "real": f"{folder.directory.resolve().name}, {len(folder)} lines" if folder else None,
    }
    store = Store.open(results, preset, device, about)
    return Bench(store, torch.device(device), task, reader, folder)


def run(preset: str, bench: Bench, again: bool = False) -> None:
    """Measure what a preset wants and the store has not, and say why anything is measured a second time."""
    with _alone():  # before anything that another bench measures is deleted
        _measure_missing(preset, bench, again)


def _measure_missing(preset: str, bench: Bench, again: bool) -> None:
    store = bench.store
    todo: list[tuple[Experiment, Part]] = []
    parts = [(experiment, part) for experiment in experiments() for part in experiment.parts(preset, bench)]
    for experiment, part in sorted(parts, key=lambda each: each[0].is_timed(each[1])):
        depends = experiment.depends(part)
        if again or not store.finished(part.name, depends):
            store.add_facts("run", finished=None)
            if changed := store.begin(part.name, depends, again):
                print(f"{part.name}: measured again, because of changes in {', '.join(changed)}")
            todo.append((experiment, part))
    if todo:
        with progress(f"bench {preset}", sum(part.steps for _, part in todo)) as reporter:

            def measure(experiment: Experiment, part: Part) -> None:
                before = reporter.done
                experiment.measure(part, bench, reporter)
                reporter.advance(part.name, part.steps - (reporter.done - before))  # what an earlier run had done of it
                store.finish(part.name)

            with _workers(bench):
                for experiment, part in todo:
                    if not experiment.is_timed(part):
                        measure(experiment, part)
            for experiment, part in todo:
                if experiment.is_timed(part):
                    measure(experiment, part)
    if todo or not store.facts("run")["finished"]:
        store.add_facts("run", finished=now())


@contextlib.contextmanager
def _workers(bench: Bench) -> Iterator[None]:
    """A process a core, for what is not timed."""
    pools: list[ProcessPoolExecutor] = []

    def started() -> Executor:
        if not pools:
            cores = torch.get_num_threads()
            context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
            pools.append(
                ProcessPoolExecutor(cores, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
            )
        return pools[0]

    bench.workers = started if bench.device.type == "cpu" else None
    try:
        yield
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
        bench.workers = None


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two benches on one machine would time each other.

    Raises:
        InputError: another one is running.
    """
    path = Path(tempfile.gettempdir()) / f"seqocr-bench-{os.getuid()}.lock"
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                "another bench is running on this machine, and each would time the other: wait until it ends"
            ) from None
        yield
