"""Reading from an object store and into it: S3's interface, served on this machine by moto."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.experiments.scale.archives import linked
from bench.experiments.serving.measure import Server, serving
from seqocr.batch import engines
from seqocr.batch.runner import predict_batch

BUCKET = "archive"
_COMMAND = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"]
_MOTO = Server("moto", _COMMAND, path="/", alive="/moto-api/", quiet=True)


def measured(sources: dict[str, list[Path]], folder: Path, weights: str, head: str) -> list[dict[str, Any]]:
    """The same files from a folder and from the store, by two workers.

    Args:
        sources: files, by what they are called.
        folder: where what was read lies in the end: in `here-NAME` from the folder, in `store-NAME` from the store.

    Returns:
        of each source, its name, the lines, and the seconds of both.
    """
    found = []
    read = partial(predict_batch, engine=partial(engines.local, workers=2), weights=weights, head=head, size=1000)
    with served() as store:
        for name, files in sources.items():
            own, kept = linked(files, folder / f"files-{name}"), f"{BUCKET}/{name}"
            here, fetched = (folder / f"{place}-{name}" for place in ("here", "store"))
            for each in (here, fetched):
                shutil.rmtree(each, ignore_errors=True)
            store.put([str(path) for path in files], [f"{kept}/{path.name}" for path in files])
            local = read(str(own), str(here))
            remote = read(f"s3://{kept}", f"s3://{BUCKET}/read-{name}")
            store.get(f"{BUCKET}/read-{name}/", f"{fetched}/", recursive=True)
            found.append({"source": name, "files": len(files), "lines": remote.lines})
            found[-1] |= {"here_seconds": local.seconds, "store_seconds": remote.seconds}
    return found


@contextmanager
def served() -> Iterator[Any]:
    """An empty store with one bucket, which this process and those below it reach as S3.

    Yields:
        the file system, of s3fs.
    """
    access = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    with (
        serving(_MOTO) as (port, _),
        patch.dict(os.environ, {**access, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}),
    ):
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        store = s3fs.S3FileSystem()
        store.mkdir(BUCKET)
        yield store
