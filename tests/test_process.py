"""The command line as a process: what it loads, and how it ends."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image


def test_help_needs_nothing_heavy() -> None:
    seen = "import sys; from seqocr.cli.app import app; print({'torch', 'pandas', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True).stdout == "set()\n"


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """`seqocr read` of so many images, in a process of its own."""
    image, folder = tmp_path / "line.png", tmp_path / "lines"
    Image.new("L", (84, 28)).save(image)
    folder.mkdir()

    def start(count: int, stdout: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        for number in range(count):
            (folder / f"{number}.png").hardlink_to(image)
        command = [sys.executable, "-m", "seqocr", "read", str(folder)]
        # Even where whoever runs the tests ignores it.
        heeded = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
        pipes: Any = {"stdout": stdout, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heeded}
        return subprocess.Popen([*command, "--batch", "1"], **pipes)

    return start


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")]
)
def test_reading_that_is_told_to_stop_says_so(started: Any, number: int, code: int, said: str) -> None:
    with started(5000) as process:
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate()
    assert (process.returncode, err) == (code, said)


def test_reading_for_nobody_ends_without_a_word(started: Any) -> None:
    with started(5000) as process:
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (141, "")


def test_reading_onto_a_full_disk_says_so(started: Any) -> None:
    with Path("/dev/full").open("w") as full, started(1, full) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (2, "error: [Errno 28] No space left on device\n")


def test_what_is_not_installed_is_named_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    """As in an environment with nothing but what reading exported graphs takes."""
    program = """
import sys
for name in ("torch", "torchvision", "transformers", "pandas", "scipy", "safetensors"):
    sys.modules[name] = None
sys.argv = ["seqocr", *sys.argv[1:]]
from seqocr.cli import main
main()
"""
    for command in (["train", "--out", str(tmp_path / "run")], ["eval", "--out", str(tmp_path / "eval")]):
        done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is not installed, which this needs: pip install 'seqocr[train]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_workers_end_with_a_process_that_is_killed() -> None:
    program = """
import multiprocessing, time
from seqocr.processes import pool
workers = pool(2)
for _ in range(2):
    workers.submit(time.sleep, 600)
print(*(each.pid for each in multiprocessing.active_children()), flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        process.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 60
    while not all(map(_has_ended, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _has_ended(process: psutil.Process) -> bool:
    """Also where nothing reaps it, as in a container without an init process."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
