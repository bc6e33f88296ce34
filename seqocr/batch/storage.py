"""Files on any file system of fsspec: this machine's, or an object store."""

import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from seqocr.errors import InputError
from seqocr.files import replacing, shown

CONCURRENT = 64  # files that are requested at once from a remote file system
_TRIES = 4  # of a file that a remote system does not give


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


def fetch(fs: Any, paths: Sequence[str]) -> dict[str, bytes | Exception]:
    """The bytes of files; a missing one is an exception. Whatever else goes wrong is tried again, then raised."""
    found: dict[str, bytes | Exception] = {}
    for attempt in range(_TRIES):
        left = [path for path in paths if not isinstance(found.get(path), bytes | FileNotFoundError)]
        if not left:
            break
        if attempt:
            time.sleep(0.5 * 2**attempt)
        # Whole. Unlike `cat`, it takes no name for a pattern.
        found |= zip(left, fs.cat_ranges(left, None, None, on_error="return"), strict=True)
    for each in found.values():
        if isinstance(each, Exception) and not isinstance(each, FileNotFoundError):
            raise each
    return found


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
