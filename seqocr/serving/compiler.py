"""Constraints of strangers. A short pattern can take minutes to compile, so a process of its own compiles them, and is
granted some CPU time for each."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.constraints import build_constraint
from seqocr.errors import InputError
from seqocr.processes import pool
from seqocr.serving.queue import QueueFull

_SECONDS = 1.0  # of CPU time
_MOST_STATES = 5_000
_MOST_BYTES = 2_000_000_000  # of the process's address space, most of which libraries reserve
_MOST_WAITING = 8  # constraints; more are refused until there is room
_KEPT = 16  # automata


class ConstraintCompiler:
    """Compiles constraints one after another, in a process that is started when first needed. Methods may be called
    from any thread."""

    def __init__(self) -> None:
        self._lock, self._waiting = threading.RLock(), 0  # a future that is done calls `_done` at once
        self._pool: ProcessPoolExecutor | None = None
        self._submit = lru_cache(_KEPT)(self._submit_new)

    def submit(self, charset: str, pattern: str | None, check: str | None) -> Future[Automaton]:
        """As `build_constraint`. The same arguments give the same automaton, so that their lines are batched; of a
        constraint that cannot be used the error is kept as well.

        Returns:
            the automaton, or an InputError of `build_constraint`, or one that says that it takes more time or states
            than is granted to strangers; a BrokenProcessPool if the process ended.

        Raises:
            QueueFull: too many constraints wait.
        """
        with self._lock:
            return self._submit(charset, pattern, check)

    def _submit_new(self, charset: str, pattern: str | None, check: str | None) -> Future[Automaton]:
        if self._waiting >= _MOST_WAITING:
            raise QueueFull(max(1.0, _SECONDS * self._waiting))
        if self._pool is None:
            self._pool = pool(1, limit_memory)
        future = self._pool.submit(compile_constraint, charset, pattern, check)
        self._waiting += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Automaton]) -> None:
        with self._lock:
            self._waiting -= 1
            if future.cancelled() or isinstance(future.exception(), BrokenProcessPool):
                self._pool = None  # the next constraint starts another process
                self._submit.cache_clear()

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)


class _TimeIsUp(BaseException):
    """Not an Exception: those of a pattern's parser are caught."""


def compile_constraint(charset: str, pattern: str | None, check: str | None) -> Automaton:
    """In the process: as `build_constraint`, within limits."""
    name = f"pattern {pattern!r}" if pattern is not None else f"check {check!r}"
    too_long = f"{name} takes too long to compile: make it simpler, with fewer nested repetitions"
    try:
        with _cpu_limit(_SECONDS):
            automaton = build_constraint(charset, pattern=pattern, check=check)
    except (_TimeIsUp, MemoryError, RecursionError):
        raise InputError(too_long) from None
    if automaton is None:
        raise InputError("no constraint: give a pattern or a check")
    if (states := len(automaton.final)) > _MOST_STATES:
        raise InputError(f"{name} has {states:,} states: make it simpler, at most {_MOST_STATES:,} are accepted")
    return automaton


@contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """Raise `_TimeIsUp` after so much CPU time of this process: how busy the machine is makes no difference."""

    def end(*_: Any) -> None:
        raise _TimeIsUp

    signal.signal(signal.SIGPROF, end)
    # And again, until it has ended: raised in a destructor, an exception is only printed.
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds / 4)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory() -> None:
    """In the process, first of all."""
    with suppress(ImportError, ValueError, OSError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
