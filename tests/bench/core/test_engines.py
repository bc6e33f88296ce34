"""What runs cells, without Ray: processes of this machine, and what is ours of running them on a cluster. A stand-in of
Ray runs them here; `test_ray_engine.py` has the real one."""

from __future__ import annotations

import dataclasses
import gzip
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bench.runner as loop
import tests.cells as cells
from bench.core import engines
from bench.core.engines import LOCAL, Engine
from bench.core.experiment import Bench, Experiment, Part
from bench.core.store import Store
from bench.runner import run
from bench.study import cost, pipeline
from seqocr.cli import run as run_command
from seqocr.errors import InputError
from tests.cells import SMALL, assert_runs_cells, squared
from tests.fake_ray import Fake, WorkerCrashedError, forget

RAY = Engine("ray")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """A cluster of two machines, "one" and "two", that are this process."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    made = Fake()
    for name, module in made.installed().items():
        monkeypatch.setitem(sys.modules, name, module)
    forget()
    from bench.core import ray_engine

    monkeypatch.setattr(ray_engine, "missing", ray_engine.missing.__wrapped__)  # each machine looks for itself
    monkeypatch.setattr(ray_engine, "facts", lambda: (("torch", "2.13.0"), ("seqocr code", "abc")))
    yield made
    forget()


def nowhere() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of processes of this machine, which take seconds to start."""
    monkeypatch.setattr(engines, "_processes", partial(ThreadPoolExecutor, 2))


@pytest.fixture
def kept(threads: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., bytes]:
    """The table of a small study by an engine. Nothing is trained or read; times are measured in one round."""
    monkeypatch.setitem(pipeline.SIZES, "small", SMALL)
    monkeypatch.setitem(pipeline.COST, "small", cost.Settings(rounds=1, distributions=("luhn",), repeats=1, warmup=0))
    monkeypatch.setattr(pipeline, "alone", loop.contextlib.nullcontext)
    monkeypatch.setattr(pipeline.training, "train_base", lambda *_: None)
    monkeypatch.setattr(pipeline, "_train", cells.train)
    monkeypatch.setattr(pipeline, "_read", cells.read)

    def of(engine: Engine, name: str) -> bytes:
        folder = pipeline.run("small", tmp_path / name, tmp_path / name / "runs", engine)
        return gzip.decompress(Store(folder).file(pipeline.READINGS, ".csv.gz").read_bytes())

    return of


def test_processes_of_this_machine_run_cells() -> None:
    with LOCAL.workers() as pool:
        assert_runs_cells(pool)


def test_a_stand_in_of_ray_runs_cells(fake: Fake, tmp_path: Path) -> None:
    with RAY.workers(tmp_path / "runs") as pool:
        assert fake.is_on
        assert_runs_cells(pool)
        assert [path.name.startswith(".shared-") for path in (tmp_path / "runs").iterdir()] == [True]
    assert not fake.is_on
    assert list((tmp_path / "runs").iterdir()) == []
    assert fake.given["address"] == "local"  # a Ray of its own, that nobody else sees
    assert fake.given["include_dashboard"] is False


def test_an_engine_that_is_none() -> None:
    with pytest.raises(InputError, match="unknown engine 'dask': choose one of local, ray"):
        Engine("dask")
    with pytest.raises(InputError, match="is of a Ray cluster: add --engine ray"):
        Engine(address="10.0.0.1:6379")


def test_where_ray_is_not_installed_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: RAY.workers().__enter__())
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: ray is not installed, which this needs: pip install 'seqocr[scale]'\n"


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_an_address_at_which_nothing_answers(fake: Fake, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = kind + nowhere()
    with pytest.raises(InputError, match=f"no Ray cluster answers at {address} .*`ray start --head`"):
        Engine("ray", address).workers().__enter__()
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"no Ray cluster answers at {address} "):
        RAY.workers().__enter__()
    assert fake.given == {}


@pytest.mark.parametrize("address", ["10.0.0.1", "ray://", "host:port", ":6379"])
def test_an_address_that_is_none(fake: Fake, address: str) -> None:
    with pytest.raises(InputError, match="give HOST:PORT or ray://HOST:PORT"):
        Engine("ray", address).workers().__enter__()


def _by_machine(fake: Fake, here: Any, on_two: Any) -> Any:
    return on_two if fake.at == "two" else here


def test_a_machine_with_another_version_is_named(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bench.core import ray_engine

    for name, value in (("torch", "2.12.1"), ("seqocr code", "def")):
        has = {"torch": "2.13.0", "seqocr code": "abc"}
        there = tuple({**has, name: value}.items())
        monkeypatch.setattr(ray_engine, "facts", partial(_by_machine, fake, tuple(has.items()), there))
        with pytest.raises(InputError, match=rf"^two \(127.0.0.1\) has {name} {value}, but {has[name]} is asked for"):
            RAY.workers(tmp_path).__enter__()
        assert not fake.is_on
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_the_shared_folder_is_named(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bench.core import ray_engine

    digest = ray_engine._digest
    monkeypatch.setattr(ray_engine, "_digest", lambda path: "" if fake.at == "two" else digest(path))
    with pytest.raises(InputError, match=rf"^two \(127.0.0.1\) does not see what {tmp_path} holds here: use a folder"):
        RAY.workers(tmp_path).__enter__()


def test_machines_without_cores_are_asked_nothing(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bench.core import ray_engine

    monkeypatch.setattr(ray_engine, "missing", lambda wanted: "has nothing" if fake.at == "two" else "")
    fake.machines["two"] = 0
    with RAY.workers() as pool:
        assert pool.submit(squared, 3).result() == 9
    fake.machines["one"] = 0
    with pytest.raises(InputError, match="no machine of the cluster has a core for cells"):
        RAY.workers().__enter__()


def test_a_cell_whose_workers_all_die_is_one_clear_error(fake: Fake) -> None:
    def killed() -> None:
        raise WorkerCrashedError("The worker died unexpectedly while executing this task.")

    with (
        RAY.workers() as pool,
        pytest.raises(InputError, match=r"given up after 6 tries \(The worker died .*What is finished stays"),
    ):
        pool.submit(killed).result()


def test_the_study_by_both_is_the_same_and_only_one_times_it(
    fake: Fake, kept: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = kept(LOCAL, "local")
    assert Store(tmp_path / "local" / "study-small").facts(cost.TABLE)["finished"]
    capsys.readouterr()
    assert kept(RAY, "ray") == table
    assert "left to time" in capsys.readouterr().out
    assert not Store(tmp_path / "ray" / "study-small").facts(cost.TABLE)
    # Ray after local, and local after Ray: nothing is made again, and what is missing is added.
    for name in ("_train", "_read"):
        monkeypatch.setattr(pipeline, name, lambda *_: pytest.fail("made again"))
    assert kept(RAY, "local") == table
    assert "left to time" not in capsys.readouterr().out
    assert kept(LOCAL, "ray") == table
    assert Store(tmp_path / "ray" / "study-small").facts(cost.TABLE)["finished"]


def test_the_studys_times_wait_until_no_ray_runs(kept: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.core.exclusive.ray_nodes", lambda: [7])
    with pytest.raises(InputError, match=r"Ray runs on this machine \(process 7\)"):
        kept(LOCAL, "local")
    made = Store(tmp_path / "local" / "study-small")
    assert made.has(pipeline.READINGS)
    assert not made.facts(cost.TABLE)


@dataclasses.dataclass(frozen=True)
class Numbers:
    most: int = 3


class Read(Experiment):
    """Squares, by whatever runs cells."""

    name, timed = "read", False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part("read", Numbers())]

    def measure(self, part: Part, bench: Bench, reporter: Any) -> None:
        made.append(part.name)
        assert bench.workers is not None
        futures = [bench.workers.submit(squared, number) for number in range(part.settings.most)]
        bench.store.write(part.name, pd.DataFrame({"number": [future.result() for future in futures]}))


class Clock(Read):
    """What is timed."""

    name, timed = "clock", True

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return [Part("clock", Numbers())]

    def measure(self, part: Part, bench: Bench, reporter: Any) -> None:
        made.append(part.name)
        assert bench.workers is None
        bench.store.write(part.name, pd.DataFrame({"number": [1]}))


made: list[str] = []


@pytest.fixture
def two(threads: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """A bench of one part that is read and one that is timed."""
    made.clear()
    monkeypatch.setattr(loop, "experiments", lambda: [Clock(), Read()])
    monkeypatch.setattr(loop, "alone", loop.contextlib.nullcontext)
    store = Store(tmp_path / "raw")
    store.write_facts("run", {"preset": "smoke", "finished": None})
    return Bench(store)


def test_what_is_timed_is_left_by_ray_and_added_by_a_run_without(fake: Fake, two: Bench) -> None:
    assert run("smoke", two, engine=RAY) == ["clock"]
    assert made == ["read"]
    assert two.store.read("read")["number"].tolist() == [0, 1, 4]
    assert not two.store.facts("run")["finished"]
    assert not fake.is_on
    assert run("smoke", two, engine=RAY) == ["clock"]
    assert run("smoke", two) == []
    assert made == ["read", "clock"]
    assert two.store.facts("run")["finished"]
    assert run("smoke", two, engine=RAY) == []
    assert run("smoke", two, engine=RAY, again=True) == []  # what it can measure; times stay
    assert made == ["read", "clock", "read"]
    assert two.store.facts("clock")["finished"]
    assert two.store.facts("run")["finished"]


def test_ray_after_a_run_without_it_has_nothing_to_do(fake: Fake, two: Bench) -> None:
    assert run("smoke", two) == []
    assert run("smoke", two, engine=RAY) == []
    assert made == ["read", "clock"]
    assert fake.given == {}


def test_what_is_timed_does_not_start_beside_ray_and_nothing_is_lost(
    two: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("smoke", two)
    monkeypatch.setattr("bench.core.exclusive.ray_nodes", lambda: [7])
    with pytest.raises(InputError, match="Ray runs on this machine"):
        run("smoke", two, again=True)
    assert made == ["read", "clock"]
    assert two.store.facts("clock")["finished"]
    assert two.store.has("read")
    assert run("smoke", two) == []  # nothing is left to time


def test_a_dead_address_loses_nothing(fake: Fake, two: Bench, kept: Any, tmp_path: Path) -> None:
    run("smoke", two)
    dead = Engine("ray", nowhere())
    with pytest.raises(InputError, match="no Ray cluster answers"):
        run("smoke", two, again=True, engine=dead)
    assert two.store.has("read")
    assert two.store.facts("run")["finished"]
    runs = Store(tmp_path / "runs")
    runs.add_facts("study", depends={**pipeline.depends(SMALL), "reading": "of other code"})
    runs.write("readings-a", pd.DataFrame({"a": [1]}))
    with pytest.raises(InputError, match="no Ray cluster answers"):
        pipeline.run("small", tmp_path, runs.folder, dead)
    assert runs.has("readings-a")


def test_the_help_names_the_engines() -> None:
    for command in ("run", "study"):
        done = subprocess.run(
            [sys.executable, "-m", "bench", command, "--help"], capture_output=True, text=True, check=True
        )
        assert "--engine" in done.stdout
        assert "--address" in done.stdout
