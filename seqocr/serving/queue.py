"""A bounded queue whose items are processed in batches, requests in turn. What does not fit is refused at once: see
`QueueFull`."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):
    """There is no room for a request's items: none of them is taken. Over HTTP: 429 with Retry-After.

    Attributes:
        seconds: until there is likely to be room.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the queue is full: try again in {seconds:.0f} s")
        self.seconds = seconds


class Stopped(Exception):
    """The queue was stopped before all of a request's items were processed. Over HTTP: 503."""


@dataclass
class _Request(Generic[Item, Result]):
    """Items submitted together."""

    items: deque[Item]  # that wait, in order
    since: float  # when they were submitted, by `time.perf_counter`
    future: Future[list[tuple[Result, float]]]
    results: list[tuple[Result, float] | Exception] = field(default_factory=list)  # of those processed, in order
    missing: int = 0  # results


class BatchingQueue(Generic[Item, Result]):
    """One thread that processes whatever waits, up to `max_batch` items at once.

    It never waits for a batch to fill: a lone item is processed at once, and under load batches fill by themselves
    while the one before is processed. Requests take turns: a batch takes an item of each before a second one of any.
    Methods may be called from any thread.

    Args:
        process: a batch of items to one result each; an exception in place of a result concerns that item alone.
        max_waiting: items that may wait or be in process; a request for more is refused.
    """

    def __init__(
        self, process: Callable[[list[Item]], Sequence[Result | Exception]], max_batch: int, max_waiting: int
    ) -> None:
        self._process, self._max_batch, self.max_waiting = process, max_batch, max_waiting
        # Called after each batch with its number of items and the seconds it took.
        self.on_batch: Callable[[int, float], None] = lambda items, seconds: None
        self._requests: deque[_Request[Item, Result]] = deque()  # with items that wait; the next one's turn first
        self._in_process: list[_Request[Item, Result]] = []
        self._changed = threading.Condition()
        self._waiting, self._rate, self._closed = 0, 100.0, False
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that wait or are in process."""
        return self._waiting

    def submit(self, items: Sequence[Item]) -> Future[list[tuple[Result, float]]]:
        """Add items to the queue: all of them, or none (`QueueFull`).

        Returns:
            for each item its result and the seconds since it was submitted. An item's exception becomes the future's.
            A future that is cancelled in time takes its items back.
        """
        request = _Request[Item, Result](deque(items), time.perf_counter(), Future(), missing=len(items))
        if not items:
            request.future.set_result([])
            return request.future
        with self._changed:
            if self._closed:
                raise Stopped
            if self._waiting + len(items) > self.max_waiting:
                raise QueueFull(max(1.0, self._waiting / self._rate))
            self._waiting += len(items)
            self._requests.append(request)
            self._changed.notify()
        return request.future

    def close(self, seconds: float | None = None) -> None:
        """Process what still waits, then end; return after `seconds` in any case."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def stop(self) -> None:
        """Take no more items, and give up all requests that are not finished: they fail with `Stopped`. What is in
        process is not waited for."""
        with self._changed:
            self._closed = True
            self._waiting -= sum(len(request.items) for request in self._requests)
            given_up = [*self._requests, *self._in_process]
            self._requests.clear()
            self._changed.notify()
        for request in given_up:
            self._finish(request, Stopped())

    def _run(self) -> None:
        while batch := self._next_batch():
            start = time.perf_counter()
            try:
                results = self._process([item for _, item in batch])
            except Exception as error:  # for those who wait, not for this thread
                results = [error] * len(batch)
            end = time.perf_counter()
            self._rate = 0.9 * self._rate + 0.1 * len(batch) / (end - start)
            self.on_batch(len(batch), end - start)
            with self._changed:
                self._waiting -= len(batch)
            for (request, _), result in zip(batch, results, strict=True):
                request.results.append(result if isinstance(result, Exception) else (result, end - request.since))
                request.missing -= 1
                if not request.missing:
                    self._finish(request, next((x for x in request.results if isinstance(x, Exception)), None))

    def _finish(self, request: _Request[Item, Result], error: Exception | None) -> None:
        """Give a request its results, or an exception, unless it is finished already."""
        with self._changed:  # `stop` is called by other threads
            if request.future.done() or not request.future.set_running_or_notify_cancel():
                return
            if error is not None:
                request.future.set_exception(error)
            else:
                request.future.set_result([each for each in request.results if isinstance(each, tuple)])

    def _next_batch(self) -> list[tuple[_Request[Item, Result], Item]]:
        """Items that wait, with their requests, without those of cancelled ones; empty after `close`."""
        batch: list[tuple[_Request[Item, Result], Item]] = []
        with self._changed:
            while not batch:
                self._changed.wait_for(lambda: self._requests or self._closed)
                if not self._requests:
                    break
                while self._requests and len(batch) < self._max_batch:
                    request = self._requests.popleft()
                    if request.future.cancelled():
                        self._waiting -= len(request.items)
                        continue
                    batch.append((request, request.items.popleft()))
                    if request.items:
                        self._requests.append(request)
            self._in_process = [request for request, _ in batch]
        return batch
