"""Pools of processes on this machine."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


def pool(workers: int, begin: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Processes that end when this one does, even if it is killed.

    Args:
        begin: called first in each.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(begin,))


@contextmanager
def pool_for(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool within the block, for tasks that may be cut short: an exception, or an order to end, does not wait for
    those that run."""
    others = multiprocessing.active_children()
    found = pool(workers)
    try:
        yield found
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        found.shutdown(cancel_futures=True)


def _begin(begin: Callable[[], object] | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    """Otherwise a worker would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
