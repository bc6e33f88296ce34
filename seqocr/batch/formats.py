"""Line images in the files of a source: images, tar files as WebDataset has them, Parquet with a column of bytes.

Each function yields one image after another: its name, and the line or why there is none. Where an archive is broken,
that is said in place of the rest of it. What the file system does not give is an exception: it says nothing of an
image, and may be otherwise later.
"""

import errno
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

from PIL import Image

from seqocr.batch.storage import is_local, one_line
from seqocr.data.images import open_line, suffixes
from seqocr.errors import InputError
from seqocr.files import shown

MAX_BYTES = 100_000_000  # of an image file: what has more is a mistake
_CONCURRENT = 64  # files that are requested at once from a remote file system
_ROWS = 64  # of Parquet, in memory at once
_TRIES = 4  # of a file that a remote system does not give
_ENDED = "seqocr_ended"
_BROKEN = (tarfile.TarError, EOFError, zlib.error)

NamedLine = tuple[str, "Image.Image | str"]


def read_images(fs: Any, files: Sequence[tuple[str, str]]) -> Iterator[NamedLine]:
    """Images that are files of their own, each given by its path and name."""
    if is_local(fs):
        for path, name in files:
            yield name, _open(Path(path), path)
        return
    for start in range(0, len(files), _CONCURRENT):
        some = files[start : start + _CONCURRENT]
        contents = _fetch(fs, [path for path, _ in some])
        for path, name in some:
            content = contents[path]
            missing = f"{name} does not exist: give a PNG or JPEG"
            yield name, missing if isinstance(content, Exception) else _decode(content, name)


def _fetch(fs: Any, paths: list[str]) -> dict[str, bytes | Exception]:
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


def read_tar(fs: Any, path: str, name: str) -> Iterator[NamedLine]:
    """Images of a tar file; its other members are passed over."""
    known, last = suffixes(), "its beginning"
    try:
        with fs.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as tar:
            for member in tar:
                link = member.islnk() or member.issym()
                if not (member.isfile() or link) or PurePosixPath(member.name).suffix.lower() not in known:
                    continue
                image = f"{name}/{shown(member.name)}"
                if link:
                    yield image, f"{image} is a link to {shown(member.linkname)}: give the image itself"
                elif member.size > MAX_BYTES:
                    yield image, _too_large(image, member.size)
                else:
                    content = tar.extractfile(member)
                    yield image, _decode(content.read() if content else b"", image)
                    last = shown(member.name)
            if not getattr(tar, _ENDED, False):
                raise EOFError("its end is missing")
    except _BROKEN as error:
        yield name, f"{name} cannot be read beyond {last} ({one_line(error)}): write it again"


class _Member(tarfile.TarInfo):
    """Notes on an archive that its end was met: tarfile takes a header that is cut, or broken, for an end as well."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            setattr(tar, _ENDED, True)
            raise


def read_parquet(fs: Any, path: str, name: str) -> Iterator[NamedLine]:
    """Images of Parquet; InputError unless it has one column of bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    row = 0
    try:
        with fs.open(path, "rb") as file:
            table = parquet.ParquetFile(file)
            column, names = _columns(table.schema_arrow, name)
            for batch in table.iter_batches(_ROWS, columns=[column, *([names] if names else [])]):
                for values in batch.to_pylist():
                    yield _decode_row(values, column, names, f"{name}:{row}")
                    row += 1
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise  # the file system's: Arrow's own are plain ones
        yield name, f"{name} cannot be read beyond row {row} ({one_line(error)}): write it again"


def _columns(schema: Any, name: str) -> tuple[str, str | None]:
    """The column of images, bytes or Hugging Face's struct of bytes and path, and the one that names them, if any."""
    import pyarrow.types as kinds

    def holds_bytes(kind: Any) -> bool:
        if kinds.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return kinds.is_binary(kind) or kinds.is_large_binary(kind)

    found = [field.name for field in schema if holds_bytes(field.type)]
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise InputError(f"{name} has {len(found)} columns of bytes ({listed}): give Parquet with one, of images")
    names = next((each for each in ("file_name", "__key__", "key", "id") if each in schema.names), None)
    return found[0], names


def _decode_row(row: dict[str, Any], column: str, names: str | None, place: str) -> NamedLine:
    value = row[column]
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    name = shown(row[names] if names and row[names] is not None else path or place)
    return name, _decode(data, name) if data else f"{name} has no bytes: give a PNG or JPEG"


def _decode(data: bytes, name: str) -> Image.Image | str:
    return _too_large(name, len(data)) if len(data) > MAX_BYTES else _open(data, name)


def _open(source: Path | bytes, name: str) -> Image.Image | str:
    """As `line_or_problem`, but what the file system does not give is raised."""
    try:
        return open_line(source, name)
    except InputError as error:
        cause = error.__cause__  # of a decoder's own errors, those that are OSError have no number
        if isinstance(cause, OSError) and cause.errno not in (None, errno.ELOOP):
            raise cause from None
        return str(error)


def _too_large(name: str, size: int) -> str:
    return f"{name} has {size:,} bytes: give at most {MAX_BYTES:,}"
