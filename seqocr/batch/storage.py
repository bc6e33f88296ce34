"""Files on any file system of fsspec: this machine's, or an object store."""

from pathlib import Path, PurePosixPath
from typing import Any

from seqocr.errors import InputError
from seqocr.files import replacing, shown


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
    """As it is, but a local path from the root on: processes elsewhere have other working directories."""
    fs, path = file_system(url)
    return path if is_local(fs) else url


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


def one_line(error: Exception) -> str:
    """What an exception says, in one line."""
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    return shown(lines[0]) if lines else type(error).__name__
