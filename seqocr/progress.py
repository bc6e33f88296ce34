"""Progress of long work: on a terminal a bar with the time left, elsewhere a plain line now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 15.0


class Reporter:
    """Reports finished units of work."""

    def __init__(self, title: str, total: int, done: int, bar: Progress | None) -> None:
        self.title, self.total, self.done, self._bar = title, total, done, bar
        self._start, self._first, self._last_line = time.monotonic(), done, 0.0
        self._task = bar.add_task(title, total=total, completed=done, note="") if bar else None

    def advance(self, note: str = "", steps: int = 1) -> None:
        """`steps` more units are finished; `note` describes the current state."""
        self.done += steps
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, note=note)
            return
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or self.done >= self.total:
            self._last_line = now
            left = (now - self._start) / max(1, self.done - self._first) * (self.total - self.done)
            clock = timedelta(seconds=round(left))
            print(f"{self.title}: {self.done}/{self.total}, {clock} left  {note}", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Print a line that stays, above the bar."""
        if self._bar is not None:
            self._bar.console.print(line)
        else:
            print(line, file=sys.stderr, flush=True)


class Silent(Reporter):
    """Reports nothing, where another process does."""

    def __init__(self) -> None:
        super().__init__("", 0, 0, None)

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.done += steps

    def say(self, line: str) -> None: ...


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Reporter]:
    """Report on `total` units of work, `done` of which were finished in an earlier run."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Reporter(title, total, done, None)
        return
    clocks = TimeElapsedColumn(), "left", TimeRemainingColumn()
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), *clocks, "{task.fields[note]}")
    with Progress(*columns, console=console) as bar:
        yield Reporter(title, total, done, bar)
