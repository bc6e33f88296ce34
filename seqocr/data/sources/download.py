"""What fetching a file and checking it have in common, whatever the data set."""

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
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


def npm_pack(packages: Sequence[str], scratch: Path, seconds: int = SECONDS_TO_ANSWER) -> list[Path]:
    """Download tarballs of npm packages (name@version) to `scratch`, from the registry that npm is set to.

    Args:
        seconds: for one package; the call may take 12 times as long.

    Raises:
        RuntimeError: there is no npm, or it failed. Other errors are those of `subprocess.run`.
    """
    if shutil.which("npm") is None:
        raise RuntimeError("npm is not installed")
    command = ["npm", "pack", *packages, "--silent", f"--fetch-timeout={seconds * 1000}", "--fetch-retries=0"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=12 * seconds)
    archives = list(scratch.glob("*.tgz"))
    if done.returncode != 0 or not archives:
        raise RuntimeError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()[-200:] or 'no package came'}")
    return archives


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
