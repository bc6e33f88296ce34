"""Files on any file system of fsspec: this machine's, or an object store."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from seqocr.errors import InputError
from seqocr.files import replacing, shown

CONCURRENT = 64  # files that are requested ahead from a remote file system
_CONNECTIONS = 16  # to one that takes a connection per request
_MOST_WAITING = 64_000_000  # bytes of files that wait to be read; those under way come on top
_TRIES = 4  # of a file that a remote system does not give
_PAUSE = 1.0  # seconds before the second try, twice as many before the next


def file_system(url: str) -> tuple[Any, str]:
    """A file system, and a path on it; InputError if there is no such file system, or the package it needs is not
    installed."""
    try:
        import fsspec
    except ImportError as error:
        raise InputError("fsspec is not installed, which this needs: pip install 'seqocr[scale]'") from error
    try:
        fs, path = fsspec.core.url_to_fs(url)
        return fs, str(path)
    except (ImportError, ValueError) as error:
        raise InputError(f"{shown(url)} cannot be reached ({one_line(error)})") from error


def is_local(fs: Any) -> bool:
    """Whether a file system of fsspec is that of this machine."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def absolute(url: str) -> str:
    """The one spelling of a place. A local path is from the root on, since processes elsewhere have other working
    directories, and without links, but for that which a file may be."""
    fs, path = file_system(url)
    if not is_local(fs):
        return url.rstrip("/")
    place = Path(path)
    return str(place.resolve() if place.is_dir() else place.parent.resolve() / place.name)


def fetch(fs: Any, paths: Sequence[str]) -> dict[str, bytes | FileNotFoundError]:
    """The bytes of files, by their paths (see `fetch_ahead`)."""
    return dict(zip(paths, fetch_ahead(fs, paths), strict=True))


def fetch_ahead(fs: Any, paths: Iterable[str]) -> Iterator[bytes | FileNotFoundError]:
    """The bytes of files, in order; a missing one is an exception. Other errors are raised after `_TRIES`.

    While the caller is at work with one file, those that follow are requested: `CONCURRENT` of them, and none as long
    as those that wait for the caller have `_MOST_WAITING` bytes.
    """
    opened = _by_thread(fs)
    todo, waiting = iter(paths), deque[Future[bytes | FileNotFoundError]]()
    pool = ThreadPoolExecutor(CONCURRENT if fs.async_impl else _CONNECTIONS, "fetch")
    try:
        while True:
            room = CONCURRENT - len(waiting) if _size(waiting) < _MOST_WAITING else 0
            waiting.extend(pool.submit(_fetch, opened, path) for path in islice(todo, room))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _by_thread(fs: Any) -> Callable[[], Any]:
    """What gives each thread a file system: one that is not asynchronous is often one connection, for one request at
    a time."""
    if fs.async_impl:
        return lambda: fs
    own = threading.local()

    def opened() -> Any:
        if not hasattr(own, "fs"):
            own.fs = type(fs)(*fs.storage_args, **fs.storage_options, skip_instance_cache=True)
        return own.fs

    return opened


def _fetch(opened: Callable[[], Any], path: str) -> bytes | FileNotFoundError:
    error = Exception(path)
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        (found,) = opened().cat_ranges([path], None, None, on_error="return")  # unlike `cat`, it takes no patterns
        if isinstance(found, bytes | FileNotFoundError):
            return found
        error = found
    raise error


def _size(waiting: Iterable[Future[bytes | FileNotFoundError]]) -> int:
    """Bytes of those files that are there."""
    there = (each.result() for each in waiting if each.done() and not each.exception())
    return sum(len(each) for each in there if isinstance(each, bytes))


def list_names(folder: str) -> set[str]:
    """Names of the files in a folder; none where there is no folder. InputError if it cannot be listed."""
    fs, root = file_system(folder)
    try:
        fs.invalidate_cache()  # others write there
        return {PurePosixPath(name).name for name in fs.ls(root, detail=False)} if fs.exists(root) else set()
    except Exception as error:  # every file system has its own kinds
        raise InputError(f"{shown(folder)} cannot be used ({error}): give another folder") from error


def write_file(folder: str, name: str, content: bytes) -> None:
    """Write a file, whole or not at all; InputError if it cannot be written."""
    fs, path = file_system(f"{folder.rstrip('/')}/{name}")
    try:
        if is_local(fs):
            with replacing(Path(path)) as temporary:
                temporary.write_bytes(content)
        else:
            fs.pipe_file(path, content)  # object stores show what is written when all of it is there
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{shown(folder)}/{name} cannot be written ({error}): give a place that can be") from error


def delete_file(folder: str, name: str) -> None:
    fs, path = file_system(f"{folder.rstrip('/')}/{name}")
    try:
        fs.rm_file(path)
    except Exception as error:  # every file system has its own kinds
        raise InputError(f"{shown(folder)}/{name} cannot be deleted ({error}): delete it yourself") from error


def one_line(error: Exception) -> str:
    """What an exception says, in one line."""
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    return shown(lines[0]) if lines else type(error).__name__
