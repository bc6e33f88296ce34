"""Being told to stop, by Ctrl-C (SIGINT) or by the system (SIGTERM), without leaving a step half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noted() -> Iterator[Callable[[], int | None]]:
    """Within the block, a signal to stop is noted, not obeyed; a second one is obeyed.

    Yields:
        the signal there was, or None.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():  # elsewhere Python cannot listen
        heard = {}
    noted: list[int] = []

    def restore() -> None:
        for number, handler in heard.items():
            signal.signal(number, handler)

    def note(number: int, _: object) -> None:
        noted.append(number)
        restore()

    for number in heard:
        signal.signal(number, note)
    try:
        yield lambda: noted[0] if noted else None
    finally:
        restore()


def obey(number: int) -> NoReturn:
    """Stop as the signal would have, cleaning up on the way.

    Raises:
        KeyboardInterrupt: for SIGINT.
        SystemExit: for others, with the exit code that a shell gives them.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
