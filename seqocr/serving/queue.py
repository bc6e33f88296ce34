"""A queue of lines to be read, with an end, and the thread that reads it in batches."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from seqocr.cli.options import load_quickly
from seqocr.errors import InputError
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import Answer, ReadOptions, answers
from seqocr.serving.batcher import Batcher

DEFAULT_HEAD = "parallel"
_ALL_HEADS = ("ar", "parallel", "ctc")


class QueueFull(Exception):
    """As many lines wait as may.

    Attributes:
        seconds: after which there is likely room.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"as many lines wait as may: ask again in {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Served:
    """A line's answer, and how it came about.

    Attributes:
        answer: what was read.
        waited, reading: seconds in the queue, and in the batch that it was read with.
    """

    answer: Answer
    waited: float
    reading: float


@dataclass
class _Request:
    """Lines that were asked for together, and what is known of them."""

    asked: ReadOptions
    served: list[Served | Exception | None]
    left: int
    future: Future[list[Served]]
    since: float  # of `time.perf_counter`


@dataclass(frozen=True)
class _Line:
    image: Image.Image
    request: _Request
    place: int

    @property
    def asked(self) -> ReadOptions:
        return self.request.asked


class _OneByOne:
    """Graphs that look at each line by itself, a thread a line.

    An int8 graph rounds by all that it is given at once, and an answer must not depend on who else asks.
    """

    def __init__(self, reader: OnnxRecognizer, pool: ThreadPoolExecutor) -> None:
        reader.threads = 1
        self._reader, self._pool = reader, pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def log_probs(self, images: Sequence[Image.Image], head: str) -> np.ndarray:
        """As `QuickReader.log_probs`."""
        return np.concatenate(list(self._pool.map(lambda image: self._reader.log_probs([image], head), images)))


class Service:
    """Reads lines for many who ask at once. Its methods may be called from any thread.

    Args:
        weights: as `--weights`: a directory, or the name of shipped weights.
        max_batch: lines read at once, at most.
        max_waiting: lines that may wait; whoever asks for more is told to come back.
        device, engine: as of the command line.
        on_batch: called after each batch with the number of its lines and the seconds that it took.

    Raises:
        InputError: the weights cannot be used.
    """

    def __init__(
        self,
        weights: str | None = None,
        *,
        max_batch: int = 64,
        max_waiting: int = 512,
        device: str = "auto",
        engine: str = "onnxruntime",
        on_batch: Callable[[int, float], None] = lambda lines, seconds: None,
    ) -> None:
        self.max_waiting, self.on_batch = max_waiting, on_batch
        self._load = lambda head: load_quickly(weights, head, device, engine)
        self._readers: dict[str, Any] = {}
        self._loading = threading.Lock()
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="lines")
        self._first = self.reader(DEFAULT_HEAD)
        self._waiting, self._rate, self._counting = 0, 100.0, threading.Lock()
        self._batcher: Batcher[_Line, list[Served | Exception | None]] = Batcher(self._read, self._finished, max_batch)

    @property
    def charset(self) -> str:
        """The symbols that can be read."""
        return str(self._first.charset)

    @property
    def waiting(self) -> int:
        """Lines that wait, or are being read."""
        return self._waiting

    def reader(self, head: str) -> Any:
        """What reads with a head: graphs where there are some, or else weights, loaded when first asked for.

        Raises:
            InputError: no such head comes with these weights.
        """
        if head not in _ALL_HEADS:
            raise InputError(f"no head {head!r}: choose one of {', '.join(_ALL_HEADS)}")
        if head not in self._readers:  # who asks for what is loaded does not wait for what is being loaded
            with self._loading:
                if head not in self._readers:
                    self._add(self._load(head))
        if head not in self._readers:
            raise InputError(f"no head {head!r} in these weights: they have {', '.join(self._readers)}")
        return self._readers[head]

    def _add(self, reader: Any) -> None:
        if isinstance(reader, OnnxRecognizer):
            reader = _OneByOne(reader, self._pool)
        for head in reader.heads:
            self._readers.setdefault(head, reader)

    def submit(self, images: Sequence[Image.Image], asked: ReadOptions) -> Future[list[Served]]:
        """Ask for grey line images to be read; all of them are taken, or none.

        Raises:
            QueueFull: there is no room for so many.
            InputError: no such head comes with these weights.
        """
        self.reader(asked.head)  # loaded here, not by the thread that reads for all
        count = len(images)
        with self._counting:
            if self._waiting + count > self.max_waiting:
                raise QueueFull(max(1.0, self._waiting / self._rate))
            self._waiting += count
        request = _Request(asked, [None] * count, count, Future(), time.perf_counter())
        if not count:
            request.future.set_result([])
        for place, image in enumerate(images):
            line = _Line(image, request, place)
            self._batcher.submit(line, line)
        return request.future

    def close(self) -> None:
        """Read what still waits, then end."""
        self._batcher.close()
        self._pool.shutdown()

    def _read(self, lines: list[_Line]) -> list[Served | Exception | None]:
        """What was read of each line; None where whoever asked has gone."""
        start = time.perf_counter()
        found: dict[int, Answer | Exception] = {}
        together: dict[tuple[Any, ...], list[int]] = {}  # the lines of each kind of question
        for i, line in enumerate(lines):
            asked = line.asked
            if not line.request.future.cancelled():
                together.setdefault((asked.head, id(asked.form), asked.top, asked.width, asked.places), []).append(i)
        for of in together.values():
            asked = lines[of[0]].asked
            try:
                found |= zip(of, answers(self.reader(asked.head), [lines[i].image for i in of], asked), strict=True)
            except Exception as error:  # for those who asked this; the others are answered
                found |= dict.fromkeys(of, error)
        took = time.perf_counter() - start
        if found:
            self._rate = 0.9 * self._rate + 0.1 * len(found) / took
            self.on_batch(len(found), took)
        return [
            Served(answer, start - line.request.since, took) if isinstance(answer, Answer) else answer
            for line, answer in zip(lines, map(found.get, range(len(lines))), strict=True)
        ]

    def _finished(self, lines: list[_Line], read: list[Served | Exception | None] | Exception) -> None:
        with self._counting:
            self._waiting -= len(lines)
        for i, line in enumerate(lines):
            request = line.request
            request.served[line.place] = read if isinstance(read, Exception) else read[i]
            request.left -= 1
            if request.left == 0 and request.future.set_running_or_notify_cancel():
                wrong = [each for each in request.served if isinstance(each, Exception)]
                if wrong:
                    request.future.set_exception(wrong[0])
                else:
                    request.future.set_result([each for each in request.served if isinstance(each, Served)])
