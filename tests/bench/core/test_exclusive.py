"""A clock starts only on a machine that it has to itself."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.core import exclusive as alone
from seqocr.errors import InputError


@pytest.fixture
def raylet(tmp_path: Path) -> Iterator[int]:
    """A process of the name that a node of a Ray cluster has."""
    (tmp_path / "raylet").symlink_to("/bin/sh")
    with subprocess.Popen([tmp_path / "raylet", "-c", "read line"], stdin=subprocess.PIPE) as process:
        for _ in range(100):
            if process.pid in alone.ray_nodes():
                break
            time.sleep(0.05)
        yield process.pid
        process.kill()


def test_a_clock_does_not_start_beside_ray(raylet: int) -> None:
    assert raylet in alone.ray_nodes()
    with pytest.raises(
        InputError, match=r"Ray runs on this machine \(process \d+\).*`ray stop`.*What is measured stays"
    ):
        alone.refuse_beside_ray()


def test_two_that_want_the_machine_to_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.core.exclusive.tempfile.gettempdir", lambda: str(tmp_path))
    with alone.alone(), pytest.raises(InputError, match="another bench is running"), alone.alone():
        pass
    with alone.alone():
        pass
