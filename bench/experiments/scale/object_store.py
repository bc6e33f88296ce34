"""An object store: S3's interface, served on this machine by moto."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from bench.core.server import serving

BUCKET = "archive"
_MOTO = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"]


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
