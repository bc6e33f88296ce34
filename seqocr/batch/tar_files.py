"""Line images in tar files as WebDataset has them, damaged ones too: what is lost is said."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, Self, cast

from seqocr.batch.formats import MAX_BYTES, NamedLine, decode, too_large
from seqocr.batch.storage import one_line
from seqocr.data.images import suffixes
from seqocr.files import shown

_GZIP = b"\x1f\x8b"
_AT_END = 8  # empty reads behind the end of a file, after which what asks for more is wrong about its size
_MOST_HEADER = 2**20  # bytes of a long name or of a pax header
_MOST_ZEROS = 2 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE  # bytes of an archive's end, with what fills its last record
_HEADERS = tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_BROKEN = (tarfile.TarError, EOFError, ValueError, zlib.error, gzip.BadGzipFile)


def read_tar(fs: Any, path: str, name: str) -> Iterator[NamedLine]:
    """Images of a tar file, also of several one after the other; its other members are passed over.

    Behind damage the next header is looked for; a row in place of what is lost says so.
    """
    known, last = suffixes(), "its beginning"
    try:
        with fs.open(path, "rb") as file, _open(file) as tar:
            while (member := tar.next()) is not None:
                if tar.is_damaged_before(member):
                    yield name, f"{name} is damaged between {last} and {shown(member.name)}: write it again"
                tar.zeros = tar.junk = 0
                link, last = member.islnk() or member.issym(), shown(member.name)
                if not (member.isfile() or link) or PurePosixPath(member.name).suffix.lower() not in known:
                    continue
                image = f"{name}/{last}"
                if link:
                    yield image, f"{image} is a link to {shown(member.linkname)}: give the image itself"
                elif member.size > MAX_BYTES:
                    yield image, too_large(image, member.size)
                else:
                    content = tar.extractfile(member)
                    yield image, decode(content.read() if content else b"", image)
            tar.check_end()
    except _BROKEN as error:
        yield name, f"{name} cannot be read beyond {last} ({one_line(error)}): write it again"


def _open(file: Any) -> "_Archive":
    compressed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    # `tarfile` would take the first of several gzip streams for all, and no notice of their checksums.
    stream = _Stream(gzip.GzipFile(fileobj=file) if compressed else file)
    return _Archive.open(fileobj=cast(IO[bytes], stream), mode="r|" if compressed else "r|*")


class _Stream:
    """A file for `tarfile`, which would read behind its end for ever to reach the size that a header claims."""

    def __init__(self, file: Any) -> None:
        self._file, self._empty = file, 0

    def read(self, size: int) -> bytes:
        content: bytes = self._file.read(size)
        self._empty = 0 if content else self._empty + 1
        if self._empty > _AT_END:
            raise EOFError("it is shorter than its headers say")
        return content


class _Member(tarfile.TarInfo):
    """Notes on an archive what stands where a header should."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _HEADERS and found.size > _MOST_HEADER):
            raise _invalid("impossible size")
        return found

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        assert isinstance(tar, _Archive)
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks these
            tar.zeros += 1
            raise
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            tar.junk += 1
            raise


def _invalid(reason: str) -> Exception:
    return cast(Exception, tarfile.InvalidHeaderError(reason))  # type: ignore[attr-defined]


class _Archive(tarfile.TarFile):
    """Looks for the next header where none is.

    Attributes:
        zeros, junk: blocks of zeros and of what is no header since the last member.
    """

    tarinfo = _Member
    ignore_zeros = True
    zeros = junk = 0
    _failed = -1  # position of the last header that contradicts itself

    def next(self) -> tarfile.TarInfo | None:
        while True:
            try:
                return super().next()
            except (tarfile.ReadError, ValueError):  # ValueError: of the maps of sparse files
                position = cast(Any, self.fileobj).tell()
                if position <= self._failed:
                    raise
                self.offset = self._failed = position
                self.junk += 1

    def is_damaged_before(self, member: tarfile.TarInfo) -> bool:
        """Whether more than the end of another archive lies before a member."""
        ended = self.zeros >= 2 and member.offset % tarfile.RECORDSIZE == 0
        return self.junk > 0 or (self.zeros > 0 and not ended)

    def check_end(self) -> None:
        """Raise an EOFError if this is not where an archive ends."""
        if not self.zeros:
            raise EOFError("its end is missing")
        if self.junk:
            raise EOFError("what follows is no archive")
        if self.zeros * tarfile.BLOCKSIZE > _MOST_ZEROS:
            raise EOFError("more zeros follow than an archive ends with")
