"""The command line. One file per command; `app` lists them."""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from seqocr.errors import InputError, RankError, missing_extra
from seqocr.files import shown

INTERRUPTED, TERMINATED, CLOSED = 130, 143, 141  # 128 and the number of SIGINT, SIGTERM and SIGPIPE
_MESSAGES = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}


def run(command: Callable[[], Any]) -> NoReturn:
    """Run a command line and exit. The one place where an error, interruption or closed pipe becomes at most one line.

    2 after bad input or wrong usage, 130 after Ctrl-C, 143 after SIGTERM, 141 when nobody reads what is printed.
    """
    with _one_voice():
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        for chatty in ("httpx", "httpx2", "matplotlib", "fontTools"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # where the locale has no such character
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        try:
            code = _exit_code(command)
        finally:
            signal.signal(signal.SIGTERM, before)
        if code in _MESSAGES:
            print(_MESSAGES[code], file=sys.stderr)
    sys.exit(code)


@contextmanager
def _one_voice() -> Iterator[None]:
    """Of torchrun's processes only the first on each machine prints. Tracebacks of all stay visible."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _exit_code(command: Callable[[], Any]) -> int:
    if sys.stdout is None:
        print("error: standard output is closed: redirect it, such as to /dev/null", file=sys.stderr)
        return 2
    try:
        try:
            command()
        finally:
            sys.stdout.flush()  # here, where an error can still be reported
    except SystemExit as stop:
        # typer and rich exit with 1 where nobody reads their output.
        return _discarding(CLOSED) if stop.code == 1 else int(stop.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _discarding(CLOSED)
    except ModuleNotFoundError as error:
        if (message := missing_extra(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 2
    except InputError as error:
        # Of several processes any may report it, also one that is silent otherwise.
        if not isinstance(error, RankError) or error.speaks:
            to = sys.__stderr__ if isinstance(error, RankError) else sys.stderr
            print("error:", "\n".join(map(shown, str(error).split("\n"))), file=to)
        return 2
    except OSError as error:  # a full disk, a folder that may not be read
        print(f"error: {shown(error)}", file=sys.stderr)
        return _discarding(2)
    return 0


def _discarding(code: int) -> int:
    """The exit code, after discarding output that is still buffered: Python would try to write it, and complain."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return code


def main() -> NoReturn:
    def command() -> None:
        from seqocr.cli.app import app  # here, so that an interrupt while it loads ends as any other

        app()

    run(command)
