"""Reading as a service does it: requests come one at a time, the encoder likes batches."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")


class Batcher(Generic[Item, Read]):
    """One thread that reads whatever waits, up to `max_batch` lines at once.

    It never waits for a batch to fill: a lone request is read at once, and under load batches fill by themselves while
    the one before is being read.

    Args:
        read: items, such as line images, to what is said of all of them.
        finished: called with the requests' tokens and what was read, from the batcher's thread; with an exception in
            place of the latter where `read` raised one.
        max_batch: items read at once, at most.
    """

    def __init__(
        self,
        read: Callable[[list[Item]], Read],
        finished: Callable[[list[Any], Read | Exception], None],
        max_batch: int = 64,
    ) -> None:
        self._read, self._finished, self._max_batch = read, finished, max_batch
        self._waiting: queue.SimpleQueue[tuple[Any, Item] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, token: Any, item: Item) -> None:
        """Ask for an item to be read; returns at once."""
        self._waiting.put((token, item))

    def close(self) -> None:
        """Read what still waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._take()) is not None:
            tokens, items = [token for token, _ in batch], [item for _, item in batch]
            try:
                result: Read | Exception = self._read(items)
            except Exception as error:
                result = error
            self._finished(tokens, result)

    def _take(self) -> list[tuple[Any, Item]] | None:
        """What waits, at least one request; None after `close`."""
        first = self._waiting.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < self._max_batch:
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._waiting.put(None)  # for the next call
                break
            batch.append(following)
        return batch
