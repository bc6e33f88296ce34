"""Batch inference on this machine: throughput, memory, nodes that are killed, an object store, cost of shards."""

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.experiments.scale.archives import TAR_LINES, link_files, read_archive
from bench.experiments.scale.model import Run
from bench.experiments.scale.object_store import BUCKET, object_store
from seqocr.batch import engines
from seqocr.batch.runner import predict_batch

QUICK = "tiny"  # weights where only rows are counted
_TARS = 4  # tar files of a timed run
_KILLS = 20
_UNPACKED = 3000  # images that are files of their own
_NODE_MEMORY = 150_000_000  # bytes of a node's object store: Ray allows no less than half of that
# Files of a run that the cost model is fitted on, and images in a shard; and the same of a run to be predicted.
_FITTED = (("0000000*.png", 10), ("000000*.png", 500), ("000000*.png", 20), ("00000*.png", 1000))
_PREDICTED = ("00000[12]*.png", 250)


def predict(source: str, out: Path, workers: int, size: int = TAR_LINES, weights: str | None = None) -> Run:
    """A whole run, whatever `out` holds."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    summary = predict_batch(source, str(out), partial(engines.local, workers=workers), weights, "", size)
    return Run(summary.lines, summary.shards, workers, time.perf_counter() - start)


def predict_archives(archives: Path, work: Path, workers: int) -> Run:
    """The run that is timed with one worker and two."""
    return predict(f"{archives}/lines-0000[0-{_TARS - 1}].tar", work / "timed", workers)


def measure_costs(archives: Path, work: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Runs over images that are files of their own; and bytes of a line and of its row."""
    images = _unpack(archives, work / "images", _UNPACKED)
    rows = [
        {"fitted": fitted, **asdict(predict(f"{images}/{pattern}", work / "costs", 2, size))}
        for fitted, (pattern, size) in [*((True, each) for _ in range(2) for each in _FITTED), (False, _PREDICTED)]
    ]
    lines, parts = [*images.iterdir()], [*(work / "costs").glob("part-*.parquet")]
    line, row = (sum(path.stat().st_size for path in paths) for paths in (lines, parts))
    return rows, {"bytes_a_line": line / len(lines), "bytes_a_row": row / rows[-1]["lines"]}


def _unpack(archives: Path, folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count // TAR_LINES):
        for name, content in read_archive(archives / f"lines-{number:05d}.tar"):
            (folder / name).write_bytes(content)
    return folder


def measure_memory(archives: Path, work: Path, lines: int) -> dict[str, Any]:
    """A run over so many lines, and the most memory of a worker and of the process that gives out the work."""
    links = link_files(sorted(archives.iterdir())[: lines // TAR_LINES], work / f"first-{lines}")
    with _watch_memory() as most:
        run = predict(f"{links}/*.tar", work / f"out-{lines}", 2, weights=QUICK)
    return {"lines": run.lines, "seconds": run.seconds, **most}


@contextmanager
def _watch_memory() -> Iterator[dict[str, float]]:
    """Peak megabytes of this process, and of any of its descendants."""
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


def measure_kills(archives: Path, work: Path, lines: int) -> dict[str, Any]:
    """Ray on three nodes of one core each; at random moments one of them is killed, and another one joins."""
    from ray.cluster_utils import Cluster

    out, expected = work / "killed", work / f"out-{lines}"
    shutil.rmtree(out, ignore_errors=True)
    if not expected.exists():
        measure_memory(archives, work, lines)
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _NODE_MEMORY}
    cluster: Any = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
    nodes = [cluster.add_node(**node) for _ in range(3)]
    chance, kills = random.Random(0), 0
    # How many files there are when the next node is killed.
    moments = sorted(chance.uniform(0.02, 0.9) * lines / TAR_LINES for _ in range(_KILLS))
    command = [sys.executable, "-m", "seqocr", "predict-batch", f"{archives}/lines-*.tar", "--out", str(out)]
    command += ["--weights", QUICK, "--engine", "ray", "--address", cluster.address, "--workers", "3"]
    start = time.perf_counter()
    try:
        with subprocess.Popen(command) as predicting:
            while predicting.poll() is None:
                time.sleep(0.2)
                if moments and len(list(out.glob("part-*"))) >= moments[0]:
                    time.sleep(chance.uniform(0, 2))
                    cluster.remove_node(nodes.pop(chance.randrange(len(nodes))), allow_graceful=False)
                    nodes.append(cluster.add_node(**node))
                    moments, kills = moments[1:], kills + 1
        if predicting.returncode:
            raise RuntimeError(f"batch inference ended with {predicting.returncode}")
    finally:
        cluster.shutdown()
    return {"kills": kills, **compare_rows(expected, out), "seconds": time.perf_counter() - start}


def measure_object_store(archives: Path, work: Path) -> Iterator[dict[str, Any]]:
    """Tar files, and images that are files of their own, from an object store, against the same from a folder."""
    images = sorted(_unpack(archives, work / "images", _UNPACKED).iterdir())
    return compare_with_store({"tar": sorted(archives.glob("lines-0000*.tar")), "images": images}, work)


def compare_with_store(sources: dict[str, list[Path]], work: Path) -> Iterator[dict[str, Any]]:
    """Read the same files, by name, from a folder and from an object store, with two workers: a row for each source."""
    read = partial(predict_batch, engine=partial(engines.local, workers=2), weights=QUICK, head="", size=1000)
    with object_store() as store:
        for name, files in sources.items():
            links, key = link_files(files, work / f"files-{name}"), f"{BUCKET}/{name}"
            here, fetched = (work / f"{place}-{name}" for place in ("here", "store"))
            for each in (here, fetched):
                shutil.rmtree(each, ignore_errors=True)
            store.put([str(path) for path in files], [f"{key}/{path.name}" for path in files])
            local = read(str(links), str(here))
            remote = read(f"s3://{key}", f"s3://{BUCKET}/read-{name}")
            store.get(f"{BUCKET}/read-{name}/", f"{fetched}/", recursive=True)
            row = {"source": name, "files": len(files), "lines": remote.lines}
            row |= {"here_seconds": local.seconds, "store_seconds": remote.seconds}
            found = compare_rows(here, fetched, wording=False)
            yield row | {what: found[what] for what in ("lost", "doubled", "different")}


def compare_rows(expected: Path, out: Path, wording: bool = True) -> dict[str, int]:
    """Compare the Parquet files of two runs.

    Args:
        wording: problems must have the same words: those of a folder and of an object store have not.

    Returns:
        lines expected, rows there are, and how many are lost, doubled and different.
    """
    from pyarrow import parquet

    a, b = (
        [row for path in sorted(folder.glob("part-*.parquet")) for row in parquet.read_table(path).to_pylist()]
        for folder in (expected, out)
    )
    if not wording:
        for row in (*a, *b):
            row["problem"] = row["problem"] is not None
    names_a, names_b = [row["file_name"] for row in a], [row["file_name"] for row in b]
    rows = dict(zip(names_a, a, strict=True))
    return {
        "lines": len(a),
        "rows": len(b),
        "lost": len(set(names_a) - set(names_b)),
        "doubled": len(names_b) - len(set(names_b)),
        "different": sum(rows.get(row["file_name"]) != row for row in b) + (names_a != names_b),
    }
