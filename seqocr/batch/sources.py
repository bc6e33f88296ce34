"""Where line images lie: a folder, a pattern, tar files (WebDataset) or Parquet, on any file system of fsspec."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from seqocr.batch.formats import NamedLine, read_images
from seqocr.batch.parquet_files import read_parquet
from seqocr.batch.storage import file_system, is_local, one_line
from seqocr.batch.tar_files import read_tar
from seqocr.data.images import suffixes
from seqocr.errors import InputError
from seqocr.files import is_hidden, shown

_KINDS = {".tar": "tar", ".tgz": "tar", ".gz": "tar", ".parquet": "parquet"}
_SPOKEN = {"images": "images", "tar": "tar files", "parquet": "Parquet files"}
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Shard:
    """What is read together, into one file."""

    number: int  # its place in the order of names
    kind: str  # of its files: images, tar or parquet
    names: tuple[str, ...]  # paths of its files, as their file system has them: images, or one archive
    version: str = ""  # digest of their sizes and times of writing when they were listed

    @property
    def digest(self) -> str:
        """Of the names."""
        return _digest(self.names)


@dataclass(frozen=True)
class Source:
    """What `url` names: an image, archive or folder, or a pattern for some.

    Args:
        url: a local path, or as fsspec takes it, such as s3://bucket/lines.
    """

    url: str

    @cached_property
    def _at(self) -> tuple[Any, str]:
        return file_system(self.url)

    def shards(self, size: int, out: str | None = None) -> list[Shard]:
        """All of the source, in the order of names: one archive each, or `size` images each.

        `out`, where results go, is left out: it may lie below the source. InputError if there is nothing, it cannot be
        listed, or kinds are mixed.
        """
        versions = self._listed()
        names = sorted(versions)
        if out is not None:
            fs, folder = file_system(out)
            if fs == self._at[0]:
                names = [name for name in names if not PurePosixPath(name).is_relative_to(folder)]
        kinds = Counter(_kind(name) or "images" for name in names)
        if not names:
            raise InputError(f"{shown(self.url)} holds no images, tar files or Parquet: name what does")
        if len(kinds) > 1:
            what = " and ".join(f"{count:,} {_SPOKEN[kind]}" for kind, count in kinds.most_common())
            raise InputError(f"{shown(self.url)} holds {what}: name one kind, such as '{shown(self.url)}/*.tar'")
        (kind,) = kinds
        size = size if kind == "images" else 1
        parts = [tuple(names[at : at + size]) for at in range(0, len(names), size)]
        return [
            Shard(number, kind, part, _digest([versions[name] for name in part])) for number, part in enumerate(parts)
        ]

    def lines(self, shard: Shard) -> Iterator[NamedLine]:
        """Every image of a shard, in order: its name, and the line or why there is none; InputError if the file system
        gives no answer, or Parquet has no column of images."""
        fs, files = self._at[0], [(path, self._name(path)) for path in shard.names]
        try:
            if shard.kind == "images":
                yield from read_images(fs, files)
                return
            for path, name in files:
                yield from _archive_lines(fs, shard.kind, path, name)
        except InputError:
            raise
        except Exception as error:  # every file system has its own kinds
            name = getattr(error, "filename", None) or shard.names[0]
            raise InputError(f"{shown(name)} cannot be read ({one_line(error)}): try again later") from error

    def _listed(self) -> dict[str, str]:
        """Versions of files by their paths."""
        fs, root = self._at
        try:
            if fs.isdir(root):
                found = _local_files(root) if is_local(fs) else fs.find(root, detail=True)
            elif fs.exists(root):
                return {root: _version(fs.info(root))}
            elif _MAGIC.search(root):
                found = fs.glob(root, detail=True)
            else:
                raise InputError(f"{shown(self.url)} does not exist: name a folder, files or a pattern")
        except InputError:
            raise
        except Exception as error:
            reason = f"cannot be listed ({one_line(error)}): give a place that you may read"
            raise InputError(f"{shown(self.url)} {reason}") from error
        files = {n: about for n, about in found.items() if _kind(n) and about.get("type") != "directory"}
        return {n: _version(about) for n, about in files.items() if not any(map(is_hidden, self._name(n).split("/")))}

    def _name(self, path: str) -> str:
        """A file's name: from the folder on that the source names, or the last one before its pattern begins."""
        root, file = self._at[1], PurePosixPath(path)
        if path == root:
            return shown(file.name)
        folder = root if file.is_relative_to(root) else _MAGIC.split(root)[0].rpartition("/")[0]
        return shown(file.relative_to(folder))


def _kind(name: str) -> str:
    """Of a file, by the end of its name; empty where it is of none."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".gz" and not name.lower().endswith(".tar.gz"):
        return ""
    return _KINDS.get(suffix) or ("images" if suffix in suffixes() else "")


def _local_files(root: str) -> dict[str, dict[str, Any]]:
    """As `find` of fsspec, for which a file that vanishes meanwhile is an error, and a folder that may not be listed is
    none."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    return {
        path: _local_info(path)
        for folder, _, names in os.walk(root, onerror=refuse)
        for path in (os.path.join(folder, name) for name in names)  # noqa: PTH118 (twenty times as fast)
        if _kind(path)
    }


def _local_info(path: str) -> dict[str, Any]:
    try:
        about = os.stat(path)  # noqa: PTH116 (as above)
    except OSError:
        return {}  # it is for its row to say
    return {"size": about.st_size, "mtime": about.st_mtime_ns}


def _version(about: dict[str, Any]) -> str:
    """What differs when a file is written again, of what its file system says of it."""
    times = ("ETag", "etag", "mtime", "LastModified", "updated", "created")
    return f"{about.get('size')} {next((about[name] for name in times if about.get(name)), '')}"


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()[:16]


def _archive_lines(fs: Any, kind: str, path: str, name: str) -> Iterator[NamedLine]:
    """The images of an archive; what is wrong with it is a row."""
    try:
        before = fs.info(path)
        if before["type"] == "other":  # would be waited for
            yield name, f"{name} is a pipe or device, not a file: give tar files or Parquet"
            return
        yield from (read_tar if kind == "tar" else read_parquet)(fs, path, name)
        if _version(fs.info(path)) != _version(before):
            yield name, f"{name} changed while it was read: give the same command again when it is written"
    except FileNotFoundError:
        yield name, f"{name} does not exist any more: give the same command again when it does"
