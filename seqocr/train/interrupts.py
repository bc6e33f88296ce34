"""Stopping on Ctrl-C (SIGINT) or SIGTERM without leaving a step half done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Defer the first signal to stop, which the function yielded returns, or None; a second one is obeyed."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    replaced = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():  # elsewhere Python cannot listen
        replaced = {}
    received: list[int] = []

    def restore() -> None:
        for number, handler in replaced.items():
            signal.signal(number, handler)

    def record(number: int, _: object) -> None:
        received.append(number)
        restore()

    for number in replaced:
        signal.signal(number, record)
    try:
        yield lambda: received[0] if received else None
    finally:
        restore()


def obey(number: int) -> NoReturn:
    """Stop as the signal would have, with clean-up.

    Raises:
        KeyboardInterrupt: for SIGINT.
        SystemExit: for others, with the exit code that a shell gives them.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
