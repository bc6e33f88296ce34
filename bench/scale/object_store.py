"""Reading from an object store and into it: S3's interface, served on this machine by moto."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from seqocr.many import engines
from seqocr.many.run import read_many

_BUCKET = "archive"
_STARTS = 60.0  # seconds that the store has for it


def measured(sources: dict[str, list[Path]], folder: Path, weights: str, head: str) -> list[dict[str, Any]]:
    """The same files from a folder and from the store, by two workers.

    Args:
        sources: files, by what they are called.
        folder: where what was read lies in the end: in `here-NAME` from the folder, in `store-NAME` from the store.

    Returns:
        of each source, its name, the lines, and the seconds of both.
    """
    found = []
    read = partial(read_many, engine=partial(engines.local, workers=2), weights=weights, head=head, size=1000)
    with served() as store:
        for name, files in sources.items():
            own, kept = folder / f"files-{name}", f"{_BUCKET}/{name}"
            here, fetched = (folder / f"{place}-{name}" for place in ("here", "store"))
            for each in (own, here, fetched):
                shutil.rmtree(each, ignore_errors=True)
            own.mkdir(parents=True)
            for path in files:
                (own / path.name).symlink_to(path.resolve())
            store.put([str(path) for path in files], [f"{kept}/{path.name}" for path in files])
            local = read(str(own), str(here))
            remote = read(f"s3://{kept}", f"s3://{_BUCKET}/read-{name}")
            store.get(f"{_BUCKET}/read-{name}/", f"{fetched}/", recursive=True)
            found.append({"source": name, "files": len(files), "lines": remote.lines})
            found[-1] |= {"here_seconds": local.seconds, "store_seconds": remote.seconds}
    return found


@contextmanager
def served() -> Iterator[Any]:
    """An empty store with one bucket, which this process and those below it reach as S3.

    Yields:
        the file system, of s3fs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    access = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen(command, **quiet) as server,
        patch.dict(os.environ, {**access, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}),
    ):
        try:
            _answers(port)
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()
            store = s3fs.S3FileSystem()
            store.mkdir(_BUCKET)
            yield store
        finally:
            server.kill()


def _answers(port: int) -> None:
    end = time.monotonic() + _STARTS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
