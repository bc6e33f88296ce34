"""Batch inference from an object store and into it: S3's interface, served on this machine by moto."""

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

from bench.core.server import serving
from bench.experiments.scale.archives import link_files
from seqocr.batch import engines
from seqocr.batch.runner import predict_batch

BUCKET = "archive"
_MOTO = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"]


def compare_with_folder(sources: dict[str, list[Path]], folder: Path, weights: str) -> Iterator[dict[str, Any]]:
    """Read the same files from a folder and from the store, with two workers.

    Args:
        sources: files by name.
        folder: gets the predictions: `here-NAME` from the folder, `store-NAME` from the store.

    Yields:
        for each source its name, files, lines, and seconds of both.
    """
    read = partial(predict_batch, engine=partial(engines.local, workers=2), weights=weights, head="", size=1000)
    with object_store() as store:
        for name, files in sources.items():
            links, key = link_files(files, folder / f"files-{name}"), f"{BUCKET}/{name}"
            here, fetched = (folder / f"{place}-{name}" for place in ("here", "store"))
            for each in (here, fetched):
                shutil.rmtree(each, ignore_errors=True)
            store.put([str(path) for path in files], [f"{key}/{path.name}" for path in files])
            local = read(str(links), str(here))
            remote = read(f"s3://{key}", f"s3://{BUCKET}/read-{name}")
            store.get(f"{BUCKET}/read-{name}/", f"{fetched}/", recursive=True)
            row = {"source": name, "files": len(files), "lines": remote.lines}
            yield {**row, "here_seconds": local.seconds, "store_seconds": remote.seconds}


@contextmanager
def object_store() -> Iterator[Any]:
    """An empty store with one bucket, which this process and its children reach as S3.

    Yields:
        the file system, of s3fs.
    """
    access = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    with (
        serving(_MOTO, "/moto-api/", quiet=True) as (port, _),
        patch.dict(os.environ, {**access, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}),
    ):
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        store = s3fs.S3FileSystem()
        store.mkdir(BUCKET)
        yield store
