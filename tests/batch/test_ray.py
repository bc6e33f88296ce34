"""The same on Ray: a Ray of its own, and a cluster whose nodes die."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra 'scale' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'scale' is not installed")
from seqocr.batch import engines
from seqocr.batch.shards import Job
from seqocr.errors import InputError
from tests.batch.deadly import Deadly
from tests.batch.test_batch import many_lines, rows, run

STORE = 80_000_000  # bytes
pytestmark = pytest.mark.skipif("SEQOCR_SCALE" not in os.environ, reason="`make test-scale` runs these")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many_lines(tmp_path_factory.mktemp("ray") / "lines", 240)


@pytest.fixture(scope="module")
def wanted(lines: Path) -> Any:
    out = lines.parent / "here"
    run(lines, out, size=4)
    return rows(out)


def test_a_ray_of_its_own(lines: Path, wanted: Any, tmp_path: Path) -> None:
    import ray

    run(lines, tmp_path / "out", partial(engines.on_ray, workers=2), size=40)
    assert rows(tmp_path / "out") == wanted
    assert not ray.is_initialized()


def test_a_node_that_dies_takes_nothing_with_it(lines: Path, wanted: Any, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE})
    nodes, out = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)], tmp_path / "out"
    command = [sys.executable, "-m", "seqocr", "predict-batch", str(lines), "--out", str(out), "--shard", "4"]
    try:
        with subprocess.Popen([*command, "--engine", "ray", "--address", cluster.address]) as reading:
            while reading.poll() is None and not list(out.glob("part-*")):
                time.sleep(0.05)
            assert reading.poll() is None
            cluster.remove_node(nodes[0], allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
        assert reading.returncode == 0
    finally:
        cluster.shutdown()
    assert len(list(out.glob("part-*"))) == 60
    assert rows(out) == wanted


def test_an_address_where_no_cluster_is(lines: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "):
        run(lines, tmp_path / "out", partial(engines.on_ray, address="127.0.0.1:1"))
    assert time.monotonic() - start < 30


def test_a_shard_that_kills_its_worker_each_time_is_an_error(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # workers find `tests.batch.deadly`
    monkeypatch.setattr(engines, "_RETRIES", 2)

    def deadly(job: Job, shards: Any) -> Any:
        return engines.on_ray(Deadly(**vars(job)), shards, workers=2)

    with pytest.raises(InputError, match="the Ray cluster failed"):
        run(lines, tmp_path / "out", deadly, size=40)
    assert run(lines, tmp_path / "out", size=40).before >= 1
