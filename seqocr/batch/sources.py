"""Where many line images lie: a folder, a pattern, tar files (WebDataset) or Parquet, on any file system of fsspec."""

from __future__ import annotations

import errno
import hashlib
import re
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Self

from PIL import Image

from seqocr.data.images import open_line, suffixes
from seqocr.errors import InputError
from seqocr.files import shown

MOST_BYTES = 100_000_000  # of an image file: what has more is a mistake
_TOGETHER = 64  # files that are asked for at once, where each has to be waited for
_ROWS = 64  # of Parquet, in memory at once
_TRIES = 4  # of a file that a remote system does not give
_KINDS = {".tar": "tar", ".tgz": "tar", ".gz": "tar", ".parquet": "parquet"}
_SPOKEN = {"images": "images", "tar": "tar files", "parquet": "Parquet files"}
_MAGIC = re.compile(r"[*?\[]")
_ENDED = "seqocr_ended"
_BROKEN = (tarfile.TarError, EOFError, zlib.error)

SearchResult = tuple[str, "Image.Image | str"]  # an image's name, and the line or why there is none


@dataclass(frozen=True)
class Shard:
    """What is read together, into one file.

    Attributes:
        number: its place in the order of names.
        kind: of its files: images, tar or parquet.
        names: paths of its files, as their file system has them: images, or one archive.
    """

    number: int
    kind: str
    names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the names."""
        return hashlib.sha256("\0".join(self.names).encode(errors="surrogateescape")).hexdigest()[:16]


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

    @property
    def is_local(self) -> bool:
        return on_this_machine(self._at[0])

    def shards(self, size: int, out: str | None = None) -> list[Shard]:
        """All, in the order of names: an archive each, or `size` images each.

        Args:
            out: a folder that does not count, as fsspec takes it: where results go, perhaps below the source.

        Raises:
            InputError: nothing is there, it may not be listed, or kinds are mixed.
        """
        names = self._listed()
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
        return [Shard(number, kind, part) for number, part in enumerate(parts)]

    def lines(self, shard: Shard) -> Iterator[SearchResult]:
        """Every image of a shard, in order.

        What is wrong with an image, or with an archive from some place on, is said in place of a line.

        Raises:
            InputError: the file system gives no answer, or Parquet has no column of images.
        """
        try:
            yield from {"images": self._images, "tar": self._tar, "parquet": self._parquet}[shard.kind](shard.names)
        except InputError:
            raise
        except Exception as error:  # every file system has its own kinds
            name = getattr(error, "filename", None) or shard.names[0]
            raise InputError(f"{shown(name)} cannot be read ({_said(error)}): try again later") from error

    def _listed(self) -> list[str]:
        fs, root = self._at
        try:
            if fs.isdir(root):
                # What may not be listed must not be left out in silence. Remote systems refuse by themselves.
                found = fs.find(root, on_error="raise") if self.is_local else fs.find(root)
            elif fs.exists(root):
                return [root]
            elif _MAGIC.search(root):
                found = [name for name, about in fs.glob(root, detail=True).items() if about["type"] != "directory"]
            else:
                raise InputError(f"{shown(self.url)} does not exist: name a folder, files or a pattern")
        except InputError:
            raise
        except Exception as error:  # every file system has its own kinds
            raise InputError(
                f"{shown(self.url)} cannot be listed ({_said(error)}): give a place that you may read"
            ) from error
        return sorted(name for name in found if _kind(name))

    def _key(self, name: str) -> str:
        """A file's name, from the folder on that the source names, or the last one before its pattern begins."""
        root, path = self._at[1], PurePosixPath(name)
        if name == root:
            return shown(path.name)
        folder = root if path.is_relative_to(root) else _MAGIC.split(root)[0].rpartition("/")[0]
        return shown(path.relative_to(folder))

    def _images(self, names: Sequence[str]) -> Iterator[SearchResult]:
        if self.is_local:
            for name in names:
                yield self._key(name), _opened(Path(name), name)
            return
        for at in range(0, len(names), _TOGETHER):
            some = list(names[at : at + _TOGETHER])
            given = self._fetched(some)
            for name in some:
                yield self._key(name), _line(self._key(name), given[name])

    def _fetched(self, names: list[str]) -> dict[str, bytes | Exception]:
        """The bytes of files; a missing one is an exception. Whatever else goes wrong is tried again, then raised."""
        found: dict[str, bytes | Exception] = {}
        for attempt in range(_TRIES):
            left = [name for name in names if not isinstance(found.get(name), bytes | FileNotFoundError)]
            if not left:
                break
            if attempt:
                time.sleep(0.5 * 2**attempt)
            # Whole. Unlike `cat`, it takes no name for a pattern.
            found |= zip(left, self._at[0].cat_ranges(left, None, None, on_error="return"), strict=True)
        for each in found.values():
            if isinstance(each, Exception) and not isinstance(each, FileNotFoundError):
                raise each
        return found

    def _tar(self, names: Sequence[str]) -> Iterator[SearchResult]:
        """Images of tar files, as WebDataset has them; its texts and other files are passed over."""
        known = suffixes()
        for name in names:
            key, last = self._key(name), "its beginning"
            try:
                with (
                    self._at[0].open(name, "rb") as file,
                    tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as tar,
                ):
                    for member in tar:
                        link = member.islnk() or member.issym()
                        if not (member.isfile() or link) or PurePosixPath(member.name).suffix.lower() not in known:
                            continue
                        image = f"{key}/{shown(member.name)}"
                        if link:
                            yield image, f"{image} is a link to {shown(member.linkname)}: give the image itself"
                            continue
                        if member.size > MOST_BYTES:
                            yield image, _too_large(image, member.size)
                            continue
                        content = tar.extractfile(member)
                        yield image, _line(image, content.read() if content else b"")
                        last = shown(member.name)
                    if not getattr(tar, _ENDED, False):
                        raise EOFError("its end is missing")
            except _BROKEN as error:
                yield key, f"{key} cannot be read beyond {last} ({_said(error)}): write it again"

    def _parquet(self, names: Sequence[str]) -> Iterator[SearchResult]:
        import pyarrow as pa
        from pyarrow import parquet

        for name in names:
            key, row = self._key(name), 0
            try:
                with self._at[0].open(name, "rb") as file:
                    table = parquet.ParquetFile(file)
                    column, named = _columns(table.schema_arrow, key)
                    for batch in table.iter_batches(_ROWS, columns=[column, *([named] if named else [])]):
                        for value in batch.to_pylist():
                            yield _of_row(value, column, named, f"{key}:{row}")
                            row += 1
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
                    raise  # the file system's: Arrow's own are plain ones
                yield key, f"{key} cannot be read beyond row {row} ({_said(error)}): write it again"


class _Member(tarfile.TarInfo):
    """Notes on an archive that its end was met: tarfile takes a header that is cut, or broken, for an end as well."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            setattr(tar, _ENDED, True)
            raise


def file_system(url: str) -> tuple[Any, str]:
    """A file system, and a path on it.

    Raises:
        InputError: there is none of such a name, or what it takes is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise InputError("fsspec is not installed, which this takes: pip install 'seqocr[scale]'") from error
    try:
        fs, path = fsspec.core.url_to_fs(url)
        return fs, str(path)
    except (ImportError, ValueError) as error:
        raise InputError(f"{shown(url)} cannot be reached ({_said(error)})") from error


def absolute(url: str) -> str:
    """As it is, but a local path from the root on: processes elsewhere have working folders of their own."""
    fs, path = file_system(url)
    return path if on_this_machine(fs) else url


def on_this_machine(fs: Any) -> bool:
    """Whether a file system of fsspec is that of this machine."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _kind(name: str) -> str:
    """Of a file, by the end of its name; empty where it is of none."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".gz" and not name.lower().endswith(".tar.gz"):
        return ""
    return _KINDS.get(suffix) or ("images" if suffix in suffixes() else "")


def _opened(source: Path | bytes, name: str) -> Image.Image | str:
    """The line, or what is wrong with the image.

    Raises:
        OSError: the file system gives no answer. That says nothing of the image, and may be otherwise later.
    """
    try:
        return open_line(source, name)
    except InputError as error:
        cause = error.__cause__  # of a decoder's own errors, those that are OSError have no number
        if isinstance(cause, OSError) and cause.errno not in (None, errno.ELOOP):
            raise cause from None
        return str(error)


def _line(name: str, data: bytes | Exception) -> Image.Image | str:
    if isinstance(data, Exception):
        return f"{name} does not exist: give a PNG or JPEG"
    if len(data) > MOST_BYTES:
        return _too_large(name, len(data))
    return _opened(data, name)


def _too_large(name: str, size: int) -> str:
    return f"{name} has {size:,} bytes: give at most {MOST_BYTES:,}"


def _columns(schema: Any, name: str) -> tuple[str, str | None]:
    """The column of images, bytes or Hugging Face's struct of bytes and path, and the one that names them, if any.

    Raises:
        InputError: there is no such column, or more than one.
    """
    import pyarrow.types as kinds

    def holds_bytes(kind: Any) -> bool:
        if kinds.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))

    found = [field.name for field in schema if holds_bytes(field.type)]
    if len(found) != 1:
        raise InputError(
            f"{name} has {len(found)} columns of bytes ({', '.join(found) or 'none'}): give Parquet with one, of images"
        )
    named = next((each for each in ("file_name", "__key__", "key", "id") if each in schema.names), None)
    return found[0], named


def _of_row(row: dict[str, Any], column: str, named: str | None, place: str) -> SearchResult:
    value = row[column]
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    name = shown(row[named] if named and row[named] is not None else path or place)
    if not data:
        return name, f"{name} has no bytes: give a PNG or JPEG"
    return name, _line(name, data)


def _said(error: Exception) -> str:
    """What an exception says, in one line."""
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    return shown(lines[0]) if lines else type(error).__name__
