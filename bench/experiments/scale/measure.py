"""What `python -m bench scale` measures."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from bench.core.exclusive import alone, refuse_beside_ray
from bench.experiments.scale import data_loading, object_store
from bench.experiments.scale import sections as page
from bench.experiments.scale.archives import A_TAR, linked, made
from bench.experiments.scale.model import Cluster, Cost, Run, fitted, simulated
from seqocr.batch import engines
from seqocr.batch.runner import predict_batch
from seqocr.environment import describe
from seqocr.errors import InputError
from seqocr.files import read_json, write_json

HEAD = "parallel"
QUICK = "tiny"  # weights that read where only rows are counted
_ROUNDS = 5
_TIMED = 4  # tar files of a timed run
_KILLS = 20
_UNPACKED = 3000  # images that are files of their own
_STORE = 150_000_000  # bytes of a node's object store: what Ray allows at least is half of that
# 100 million lines on 100 cores.
MANY, MACHINES, CORES = 100_000_000, 25, 4
_HOUR = 3600.0
LIVES = {"never": 1e12, "once a month": 30 * 24 * _HOUR, "once a day": 24 * _HOUR, "once an hour": _HOUR}
_AWAY = 120.0
_SEEDS = 5


@dataclass(frozen=True)
class Killed:
    """A run whose nodes were killed, beside one in which nothing was."""

    lines: int
    kills: int
    rows: int
    lost: int
    doubled: int
    different: int
    seconds: float


def missing() -> str:
    """What is to be installed, or nothing."""
    return ", ".join(name for name in ("pyarrow", "fsspec", "ray", "simpy", "s3fs", "moto") if not find_spec(name))


def run(out: Path, lines: int, work: Path) -> Path:
    """Measure, write scale.json and scale.md; returns the page's path. Cut short, it goes on where it was.

    Args:
        lines: that are read while nodes die, and at most where memory is watched.
        work: where lines are drawn, and kept, and what is read of them.

    Raises:
        InputError: something is not installed, or something else runs that would be timed too.
    """
    if names := missing():
        raise InputError(f"{names} not installed: pip install 'seqocr[scale]' s3fs 'moto[server]'")
    work = work.absolute()
    source, kept = made(work / "lines", lines), out / "scale.json"
    begun = {"environment": describe(), "lines": lines}
    found: dict[str, Any] = read_json(kept) if kept.exists() else {}
    if {name: found.get(name) for name in begun} != begun:
        found = begun
    with alone():
        for name, measure in _PARTS.items():
            if name not in found:
                refuse_beside_ray()
                found[name] = measure(source, work, found)
                write_json(kept, found)
    return page.write(out)


def read(source: str, out: Path, engine: Any, size: int = A_TAR, weights: str | None = None) -> Run:
    """A whole run, from nothing."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    summary = predict_batch(source, str(out), engine, weights, HEAD, size)
    return Run(summary.lines, summary.shards, 0, time.perf_counter() - start)


def _workers(source: Path, folder: Path, found: Any) -> list[dict[str, Any]]:
    """One worker and two, in turn, each the same lines."""
    runs = []
    for _ in range(_ROUNDS):
        for workers in (1, 2):
            done = read(f"{source}/lines-0000[0-{_TIMED - 1}].tar", folder / "timed", _local(workers))
            _say(f"{workers} workers", done.seconds)
            runs.append(asdict(replace(done, workers=workers)))
    return runs


def _local(workers: int) -> Any:
    return partial(engines.local, workers=workers)


def _model(source: Path, folder: Path, found: Any) -> dict[str, Any]:
    """The cost of reading images that are files of their own, and a run that it was not fitted on."""
    images = _unpacked(source, folder / "images", _UNPACKED)
    fits = [
        _measured(images, pattern, size, folder)
        for _ in range(2)
        for pattern, size in (("0000000*.png", 10), ("000000*.png", 500), ("000000*.png", 20), ("00000*.png", 1000))
    ]
    cost = fitted(fits)
    new = _measured(images, "00000[12]*.png", 250, folder)
    predicted = cost.seconds(new.lines, new.shards, new.workers)
    return {
        "cost": asdict(cost),
        "fitted_on": [asdict(each) for each in fits],
        "new": {**asdict(new), "predicted": predicted},
        "bytes_a_line": sum(path.stat().st_size for path in images.iterdir()) / len(list(images.iterdir())),
        "bytes_a_row": _size(folder / "timed") / new.lines,
    }


def _unpacked(source: Path, folder: Path, count: int) -> Path:
    import tarfile

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count // A_TAR):
        with tarfile.open(source / f"lines-{number:05d}.tar") as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content and member.name.endswith(".png"):
                    (folder / member.name).write_bytes(content.read())
    return folder


def _measured(images: Path, pattern: str, size: int, folder: Path) -> Run:
    done = read(f"{images}/{pattern}", folder / "timed", _local(2), size)
    _say(f"{done.lines:,} lines in {done.shards:,} shards", done.seconds)
    return replace(done, workers=2)


def _memory(source: Path, folder: Path, found: dict[str, Any]) -> list[dict[str, Any]]:
    """A tenth of the lines, and all: the most that a worker, and the process that gives the work, hold."""
    return [_held(source, folder, count) for count in (found["lines"] // 10, found["lines"])]


def _held(source: Path, folder: Path, lines: int) -> dict[str, Any]:
    first = linked(sorted(source.iterdir())[: lines // A_TAR], folder / f"first-{lines}")
    with _watched() as most:
        done = read(f"{first}/*.tar", folder / f"out-{lines}", _local(2), weights=QUICK)
    _say(f"{lines:,} lines", done.seconds)
    return {"lines": done.lines, "seconds": done.seconds, **most}


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Megabytes, the most there was at any moment: of this process, and of any one below it."""
    most, over, me = {"driver_mb": 0.0, "worker_mb": 0.0}, threading.Event(), psutil.Process()

    def watch() -> None:
        while not over.wait(0.5):
            most["driver_mb"] = max(most["driver_mb"], me.memory_info().rss / 1e6)
            for child in me.children(recursive=True):
                try:
                    most["worker_mb"] = max(most["worker_mb"], child.memory_info().rss / 1e6)
                except psutil.Error:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _killed(source: Path, folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Three nodes of one core each; at random moments one of them is killed, and another one joins."""
    from ray.cluster_utils import Cluster as LocalCluster

    lines, out = found["lines"], folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    more: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _STORE}
    cluster: Any = LocalCluster(initialize_head=True, head_node_args={**more, "num_cpus": 0})
    nodes = [cluster.add_node(**more) for _ in range(3)]
    chance, kills = random.Random(0), 0
    # How many files there are when the next node is killed.
    moments = sorted(chance.uniform(0.02, 0.9) * lines / A_TAR for _ in range(_KILLS))
    command = [sys.executable, "-m", "seqocr.cli", "predict-batch", f"{source}/lines-*.tar", "--out", str(out)]
    command += ["--weights", QUICK, "--head", HEAD, "--engine", "ray", "--address", cluster.address, "--workers", "3"]
    start = time.perf_counter()
    try:
        with subprocess.Popen(command) as reading:
            while reading.poll() is None:
                time.sleep(0.2)
                if moments and len(list(out.glob("part-*"))) >= moments[0]:
                    time.sleep(chance.uniform(0, 2))
                    cluster.remove_node(nodes.pop(chance.randrange(len(nodes))), allow_graceful=False)
                    nodes.append(cluster.add_node(**more))
                    moments, kills = moments[1:], kills + 1
                    _say(f"node killed: {kills}", time.perf_counter() - start)
        if reading.returncode:
            raise RuntimeError(f"reading ended with {reading.returncode}")
    finally:
        cluster.shutdown()
    return asdict(compared(folder / f"out-{lines}", out, kills, time.perf_counter() - start))


def compared(one: Path, other: Path, kills: int, seconds: float, words: bool = True) -> Killed:
    """The rows of a run against those of another one.

    Args:
        words: whether problems must be said in the same words: of a folder and of a store they are not.
    """
    from pyarrow import parquet

    a, b = (
        [row for path in sorted(folder.glob("part-*.parquet")) for row in parquet.read_table(path).to_pylist()]
        for folder in (one, other)
    )
    if not words:
        for row in (*a, *b):
            row["problem"] = row["problem"] is not None
    names_a, names_b = [row["file_name"] for row in a], [row["file_name"] for row in b]
    rows = {row["file_name"]: row for row in a}
    return Killed(
        lines=len(a),
        kills=kills,
        rows=len(b),
        lost=len(set(names_a) - set(names_b)),
        doubled=len(names_b) - len(set(names_b)),
        different=sum(rows.get(row["file_name"]) != row for row in b) + (names_a != names_b),
        seconds=seconds,
    )


def _many(source: Path, folder: Path, before: dict[str, Any]) -> list[dict[str, Any]]:
    """100 million lines, by how often machines die."""
    shards, cost = MANY // 10_000, Cost(**before["model"]["cost"])
    found = []
    for often, lives in LIVES.items():
        runs = [simulated(cost, MANY, shards, Cluster(MACHINES, CORES, lives, _AWAY), seed) for seed in range(_SEEDS)]
        found.append(
            {
                "often": often,
                "hours": [each.seconds / _HOUR for each in runs],
                "deaths": [each.deaths for each in runs],
                "again": [each.again for each in runs],
            }
        )
        _say(f"machines die {often}", runs[0].seconds)
    return found


def _store(source: Path, folder: Path, found: Any) -> list[dict[str, Any]]:
    """Tar files, and images that are files of their own, from an object store, against the same from a folder."""
    images = sorted(_unpacked(source, folder / "images", _UNPACKED).iterdir())
    sources = {"tar": sorted(source.glob("lines-0000*.tar")), "images": images}
    runs = object_store.measured(sources, folder, QUICK, HEAD)
    for each in runs:
        name = each["source"]
        same = compared(folder / f"here-{name}", folder / f"store-{name}", 0, each["store_seconds"], words=False)
        each |= {"lost": same.lost, "doubled": same.doubled, "different": same.different}
        _say(f"{same.lines:,} lines of {each['files']:,} files in a store", same.seconds)
    return runs


def _feeding(source: Path, folder: Path, found: Any) -> list[dict[str, Any]]:
    """Drawing batches beside learning from them."""
    runs = []
    for each in data_loading.measured(folder):
        runs.append(asdict(each))
        _say(f"{each.training}, {each.what}, {each.workers} workers: {each.strings:,} strings", each.seconds)
    return runs


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("part-*.parquet"))


def _say(what: str, seconds: float) -> None:
    print(f"{what}: {seconds:.1f} s", file=sys.stderr, flush=True)


# What is not timed first.
_PARTS = {
    "memory": _memory,
    "killed": _killed,
    "store": _store,
    "workers": _workers,
    "model": _model,
    "many": _many,
    "feeding": _feeding,
}
