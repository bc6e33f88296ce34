"""Cells on a real Ray: the tables of a run without it, also where a worker or a machine is killed."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.core.engines import LOCAL, Engine
from bench.core.store import Store
from bench.study import pipeline
from seqocr.errors import InputError
from seqocr.train.state import STATE, is_finished
from tests.cells import SMALL, assert_runs_cells, dies_once

ray = pytest.importorskip("ray")
HERE = Path(__file__).parent
RAY = Engine("ray")
pytestmark = pytest.mark.skipif("SEQOCR_SCALE" not in os.environ, reason="`make test-scale` runs these")


@pytest.fixture(autouse=True)
def _a_ray_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))  # workers find the tests' cells
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)  # workers, also where tests have a thread each
    monkeypatch.setitem(pipeline.SIZES, "small", SMALL)
    monkeypatch.setattr(pipeline, "_measure_cost", lambda *_: None)


def table(folder: Path) -> bytes:
    return gzip.decompress(Store(folder).file(pipeline.READINGS, ".csv.gz").read_bytes())


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a run without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pipeline.SIZES, "small", SMALL)
        patch.setattr(pipeline, "_measure_cost", lambda *_: None)
        out = tmp_path_factory.mktemp("local")
        return table(pipeline.run("small", out, out / "runs", LOCAL))


def working() -> list[psutil.Process]:
    """Workers of this process's Ray that are at a cell."""
    found = []
    for each in psutil.Process().children(recursive=True):
        try:
            if "ray::_cell" in " ".join(each.cmdline()):
                found.append(each)
        except psutil.Error:
            continue
    return found


def test_the_cells_of_killed_workers_are_run_again(expected: bytes, tmp_path: Path) -> None:
    runs, killed = tmp_path / "runs", []

    def kill() -> None:
        """All that trains, once, as soon as a training has begun."""
        while not killed:
            if any(path.parent.name != "base" for path in runs.glob(f"*/{STATE}")):
                for worker in working():
                    worker.kill()
                    killed.append(worker.pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    pipeline.run("small", tmp_path, runs, RAY)
    killer.join(1)
    assert killed
    assert table(tmp_path / "study-small") == expected
    assert not list(runs.glob(f"*/{STATE}"))


SCRIPT = """
import sys
from pathlib import Path
from tests.cells import SMALL
from bench.core.engines import Engine
from bench.study import pipeline
from seqocr.cli import run
pipeline.SIZES["small"] = SMALL
run(lambda: pipeline.run("small", Path(sys.argv[1]), Path(sys.argv[1]) / "runs", Engine("ray")))
"""


def test_after_ctrl_c_what_is_finished_stays_and_the_rest_is_made(expected: bytes, tmp_path: Path) -> None:
    # With a signal handler of its own, even where whoever runs the tests ignores Ctrl-C.
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + SCRIPT
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.PIPE, text=True, cwd=HERE.parent
    ) as process:
        deadline = time.monotonic() + 120
        trained = [tmp_path / "runs" / name for name in ("uniform-seed0", "lexicon-20-seed0")]
        while not any(map(is_finished, trained)) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted"), said
    assert not Store(tmp_path / "study-small").has(pipeline.READINGS), "the interrupt came too late to show anything"
    (done,) = [path for path in trained if is_finished(path)][:1]
    before = (done / "model.safetensors").stat().st_mtime_ns
    pipeline.run("small", tmp_path, tmp_path / "runs", LOCAL)
    assert table(tmp_path / "study-small") == expected
    assert (done / "model.safetensors").stat().st_mtime_ns == before


@pytest.fixture
def cluster() -> Iterator[tuple[ray.cluster_utils.Cluster, str]]:
    """Two machines, as far as Ray knows."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        made.add_node(num_cpus=1)
        yield made, made.address
    finally:
        made.shutdown()


def test_a_cluster_runs_cells_and_a_cell_of_a_dead_worker_again(
    cluster: tuple[ray.cluster_utils.Cluster, str], tmp_path: Path
) -> None:
    _, address = cluster
    with Engine("ray", address).workers(tmp_path / "runs") as pool:
        assert_runs_cells(pool)
        assert pool.submit(dies_once, tmp_path / "tries").result() == 2


def test_an_address_of_something_else(tmp_path: Path) -> None:
    """It listens, but never answers."""
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(InputError, match=f"no Ray cluster answers at {address}"):
            Engine("ray", address).workers().__enter__()
    assert time.monotonic() - began < 40


def test_the_command_says_in_one_line_that_nothing_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "study", "--preset", "smoke", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--runs", str(tmp_path / "runs"), "--engine", "ray", "--address", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        cwd=HERE.parent,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Ray cluster answers at 127.0.0.1:1 (")
    assert done.stderr.count("\n") == 1
