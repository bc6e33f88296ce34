"""What fetching a file and checking it have in common, whatever the data set."""

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS_TO_ANSWER = 10  # a mirror or registry that has not answered by then counts as absent


@contextmanager
def sockets_time_out() -> Iterator[None]:
    """urllib, which torchvision downloads with, waits for ever on a silent mirror unless told otherwise."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def fault(path: Path, checksum: str) -> str:
    """What keeps a file from being used; empty if it is there with this checksum: SHA-256, or MD5 where torchvision
    knows no other."""
    kind = "MD5" if len(checksum) == 32 else "SHA-256"
    if not os.path.isfile(path):  # noqa: PTH113 (Path's raises an error for a name that is too long)
        return f"{path.name} is missing"
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind.lower().replace("-", "")).hexdigest()
            size = file.tell()
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    if found == checksum:
        return ""
    return f"{path.name} is corrupt or truncated ({size:,} bytes, {kind} {found} not {checksum})"


def last_line(error: Exception) -> str:
    """Of what an exception says, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
