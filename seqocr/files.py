"""Files that people give and get.

What is written is whole or not there at all: a kill at any moment leaves either the old content or the new. What
cannot be written, and JSON that cannot be read, is an `InputError`.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqocr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MOST_JSON = 100_000_000  # bytes of a JSON file that is read; a large tokenizer's has a tenth of that

# Control characters, line separators, and lone surrogates: Python has those for the bytes of a name that is no UTF-8.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(name: object) -> str:
    r"""A file's name, or other text, as it is printed: on one line, and whatever its bytes are.

    Control characters are written as in Python (`\n`, `\t`, `\x1b`), and bytes that are no UTF-8 as `\xff`.
    """
    return _UNSHOWN.sub(lambda found: _escaped(found[0]), str(name))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode makes these of bytes that are no UTF-8
        code -= 0xDC00
    return _ESCAPES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


@contextmanager
def _answered(path: Path) -> Iterator[None]:
    """Turn what the system says against writing to `path` into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{shown(path)} cannot be written ({error.strerror or error}): give a place that can be, with room left"
        ) from error


@contextmanager
def _made(folder: Path, keep: bool = True) -> Iterator[None]:
    """Make a folder and those above it. Those that were missing go again after an exception, or without `keep`."""
    missing: list[Path] = []
    kept = False
    try:
        for part in (*reversed(folder.parents), folder):
            if not part.exists():
                part.mkdir(exist_ok=True)
                missing.append(part)
        yield
        kept = keep
    finally:
        for part in [] if kept else reversed(missing):
            with suppress(OSError):  # others may have written there
                part.rmdir()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an exception.

    Raises:
        InputError: it cannot be written.
    """
    if not path.name:
        raise InputError(f"{str(path)!r} is no name of a file: give one")
    temporary = _temporary(path, os.getpid())
    with _answered(path), _made(path.parent):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            with suppress(OSError):  # of a name too long: then it was never there
                temporary.unlink(missing_ok=True)


def sweep(pattern: Path) -> None:
    """Remove what processes that were killed had begun to write, by `replacing`, to files of a pattern such as
    folder/part-*.csv. Only where nobody writes them any more."""
    for left in pattern.parent.glob(_temporary(pattern, "*").name):
        left.unlink(missing_ok=True)


def _temporary(path: Path, process: object) -> Path:
    # The suffix stays last: pandas and matplotlib choose the format by it.
    return path.with_name(f".{path.stem}.{process}.tmp{path.suffix}")


@contextmanager
def replacing_all(folder: Path) -> Iterator[Path]:
    """Give a temporary folder; move its files to `folder` when the block ends without an exception.

    `config.json` goes last: it tells what a folder holds.

    Raises:
        InputError: they cannot be written.
    """
    with (
        _answered(folder),
        _made(folder),
        tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp", ignore_cleanup_errors=True) as temporary,
    ):
        yield Path(temporary)
        for file in sorted(Path(temporary).iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(folder / file.name)


def writable(folder: Path) -> None:
    """Make sure that files can be written to a folder, before what takes long begins. Leaves nothing behind.

    Raises:
        InputError: they cannot, or its name is no UTF-8, which safetensors and tokenizers could not open again.
    """
    if any(0xD800 <= ord(character) < 0xE000 for character in str(folder)):
        raise InputError(f"{shown(folder)} cannot be written (its name is no UTF-8): give another")
    with _answered(folder), _made(folder, keep=False), tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"0")


def read_json(path: Path, what: str = "JSON that can be read", remedy: str = "write or copy it again") -> Any:
    """What a JSON file holds.

    Args:
        what: the file is meant to be, and what to do where it is not: for the message.

    Raises:
        InputError: it is missing, no file (a pipe), larger than `MOST_JSON`, no JSON, or nested too deep.
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


def write_csv(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
