"""Reading and writing files of users.

A file is written whole or not at all: a kill at any moment leaves either the old content or the new. A file that cannot
be written, and JSON that cannot be read, is an `InputError`. What is damaged later is known by its SHA-256: of a file
(`file_sum`), kept beside it, or of content that holds its own (`seal`).
"""

import hashlib
import json
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seqocr.errors import InputError

if sys.platform != "win32":
    import fcntl

MOST_JSON = 100_000_000  # bytes of a JSON file that is read; that of a large tokenizer has a tenth

UNSEALED = "0" * 64  # the value of "sha256", in JSON or in the header of safetensors, until the content is sealed
_SEAL = re.compile(rb'"sha256": ?"([0-9a-f]{64})"')

# Control characters, line separators, and lone surrogates, which stand for bytes of a name that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def shown(name: object) -> str:
    r"""A file's name, or other text, in printable form, on one line.

    Control characters are written as in Python (`\n`, `\t`, `\x1b`), and bytes that are not UTF-8 as `\xff`.
    """

    def escape(found: re.Match[str]) -> str:
        code = ord(found[0])
        if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode makes these of bytes that are not UTF-8
            code -= 0xDC00
        return chr(code).encode("unicode_escape").decode()

    return _UNPRINTABLE.sub(escape, str(name))


@contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{shown(path)} cannot be written ({error.strerror or error}): give a place that can be, with room left"
        ) from error


@contextmanager
def _parents(folder: Path, keep: bool = True) -> Iterator[None]:
    """Create a folder and those above it. New ones are removed again after an exception, or without `keep`."""
    new = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        keep = False
        raise
    finally:
        for part in [] if keep else new:
            with suppress(OSError):  # others may have written there
                part.rmdir()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an exception. InputError if
    it cannot be written."""
    if not path.name:
        raise InputError(f"{str(path)!r} is not a file name: give one")
    temporary = _temporary(path, os.getpid())
    with _input_errors(path), _parents(path.parent):
        try:
            yield temporary
            _share(temporary)
            _sync(temporary)
            temporary.replace(path)
            with suppress(OSError):  # not every file system syncs folders
                _sync(path.parent)
        finally:
            with suppress(OSError):  # a name that is too long: then it was never there
                temporary.unlink(missing_ok=True)


def _share(file: Path) -> None:
    """Make a file as readable as the umask allows: some libraries, such as safetensors, give it to its owner alone."""
    if not file.is_file():
        return
    probe = file.with_name(f"{file.name[:100]}.mode")  # Python tells the umask only by changing it for all threads
    try:
        probe.touch()
        file.chmod(stat.S_IMODE(probe.stat().st_mode))
    finally:
        probe.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """To disk, so that a name never stands for less than its content, not even after a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(pattern: Path) -> None:
    """Remove temporary files that killed processes left of `replacing`, for a pattern such as folder/part-*.csv.

    Only where no process writes there any more.
    """
    for left in pattern.parent.glob(_temporary(pattern, "*").name):
        left.unlink(missing_ok=True)


def _temporary(path: Path, process: object) -> Path:
    # The suffix comes last: pandas and matplotlib choose the format by it.
    return path.with_name(f".{path.stem}.{process}.tmp{path.suffix}")


@contextmanager
def replacing_all(folder: Path) -> Iterator[Path]:
    """Give a temporary folder; move its files to `folder` when the block ends without an exception.

    `config.json` goes last: a folder without it is not complete. InputError if they cannot be written.
    """
    with (
        _input_errors(folder),
        _parents(folder),
        tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp", ignore_cleanup_errors=True) as temporary,
    ):
        yield Path(temporary)
        for file in sorted(Path(temporary).iterdir(), key=lambda file: file.name == "config.json"):
            _share(file)
            file.replace(folder / file.name)


def writable(folder: Path) -> None:
    """Check that files can be written to a folder, before long work begins. Leaves nothing behind. InputError if they
    cannot be, or its name is not UTF-8, which safetensors and tokenizers could not open again."""
    if any(0xD800 <= ord(character) < 0xE000 for character in str(folder)):
        raise InputError(f"{shown(folder)} cannot be written (its name is not UTF-8): give another")
    with _input_errors(folder), _parents(folder, keep=False), tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"0")


def read_json(path: Path, what: str = "JSON that can be read", remedy: str = "write or copy it again") -> Any:
    """The content of a JSON file.

    Args:
        what: for error messages: what the file should be; remedy: what to do if it is not.

    Raises:
        InputError: it is missing, not a file (a pipe), larger than `MOST_JSON`, not JSON, or nested too deep.
    """
    if not os.path.isfile(path):  # noqa: PTH113 (Path's raises an error for a name that is too long)
        raise InputError(f"{shown(path)} is missing: {remedy}")
    try:
        if (size := path.stat().st_size) > MOST_JSON:
            raise ValueError(f"it has {size:,} bytes, at most {MOST_JSON:,} are read")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # UnicodeDecodeError and JSON's are ValueErrors
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{shown(path)} is not {what} ({reason}): {remedy}") from error


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, table: Any) -> None:
    """Write a pandas table, without its index."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


@contextmanager
def exclusive(folder: Path, seconds: float = 8.0) -> Iterator[None]:
    """Hold a folder for the block, as one process at a time can. Made where there is none.

    Args:
        seconds: to wait for it: workers of a process that was killed hold it until they notice.

    Raises:
        InputError: another process holds it, or it cannot be written.
    """
    with _input_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # has no such locks
        yield
        return
    handle, end = os.open(folder, os.O_RDONLY), time.monotonic() + seconds
    try:
        while not _lock(handle):
            if time.monotonic() > end:
                raise InputError(
                    f"another process writes to {shown(folder)}: wait until it ends, or give another --out"
                )
            time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or of those that macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def file_sum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(content: bytes) -> bytes:
    """The content with its own SHA-256 in the place of `UNSEALED`, the first value of a key "sha256"."""
    found = _SEAL.search(content)
    if found is None:
        raise ValueError("no place for a seal: give a key sha256 whose value is UNSEALED")
    return content[: found.start(1)] + _sum_around(found) + content[found.end(1) :]


def is_sealed(content: bytes) -> bool:
    """Whether content is, to the bit, what `seal` gave."""
    found = _SEAL.search(content)
    return found is not None and found[1] == _sum_around(found)


def _sum_around(found: re.Match[bytes]) -> bytes:
    """SHA-256, in hexadecimal, of content that is not sealed."""
    content = memoryview(found.string)
    digest = hashlib.sha256(content[: found.start(1)])
    digest.update(UNSEALED.encode())
    digest.update(content[found.end(1) :])
    return digest.hexdigest().encode()
