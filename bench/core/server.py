"""Start a program that serves HTTP, wait until it answers, and end it."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

import psutil

_STARTS = 60.0  # seconds that it may take to start, and to end


@contextmanager
def serving(command: Sequence[str], ready: str, quiet: bool = False) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server for the length of the block, which gets its port and its process.

    Args:
        command: with {port} where the port goes.
        ready: path that answers once it is ready, such as /readyz.
        quiet: drop its log.

    Raises:
        RuntimeError: it ended or was not ready in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    filled = [part.format(port=port) for part in command]
    log = subprocess.DEVNULL if quiet else None
    with subprocess.Popen(filled, stdout=subprocess.DEVNULL, stderr=log) as process:
        try:
            _wait(process, " ".join(filled), f"http://127.0.0.1:{port}{ready}")
            yield port, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STARTS)


def _wait(process: subprocess.Popen[bytes], name: str, url: str) -> None:
    end = time.monotonic() + _STARTS
    while time.monotonic() < end:
        try:
            urlopen(url, timeout=5).close()
            return
        except (URLError, OSError):
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}") from None
            time.sleep(0.1)
    raise RuntimeError(f"{name} was not ready after {_STARTS:.0f} s")
