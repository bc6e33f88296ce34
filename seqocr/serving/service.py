"""Reads lines for many clients at once: readers that are loaded when first used, behind bounded queues."""

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any

from PIL import Image

from seqocr.errors import InputError, MissingExtraError
from seqocr.files import read_json
from seqocr.inference.load import load
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import chosen_head, predict
from seqocr.inference.prediction import Prediction, ReadOptions
from seqocr.inference.sessions import core_count
from seqocr.inference.shipped import graphs_path, weights_path
from seqocr.serving.queue import BatchingQueue

_Line = tuple[Image.Image, ReadOptions]
_OUTPUTS = ("slots", "ctc", "tokens")  # of heads
_CONSTRAINED = "constrained"
_PART = 16  # lines that one thread reads at once


class Service:
    """Reads line images. Methods may be called from any thread.

    Lines wait in lanes, so that none waits for work of another kind: one per output of heads, and one for constrained
    decoding, whose searches can take seconds.

    Args:
        weights, device, engine: as of `load`.
        max_batch: lines read at once, at most.
        max_waiting: lines that may wait or be in process in one lane; requests for more are refused (`QueueFull`).

    Attributes:
        default_head: that reads where a request names none (`seqocr.inference.predict.default_head`).
        lanes: the queue of each lane, by name.

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
    ) -> None:
        # PyTorch's threads only wait for each other awake while there are no more of them than cores, and each Python
        # thread that uses it gets as many of its own: a small model then takes half as long again. So one uses it.
        self._pytorch = ThreadPoolExecutor(1, thread_name_prefix="pytorch")
        self._load = lambda head: self._pytorch.submit(load, weights, head, device, engine).result()
        self._readers: dict[str, Any] = {}
        self._loading, self._complete = threading.Lock(), False  # whether all decoding strategies have been loaded
        first = self._load("")
        self._closing = list[Callable[[], None]]()
        self.default_head, self.charset = chosen_head(first, ""), str(first.charset)
        self._declared = tuple(dict.fromkeys((*_head_names(weights), *self._add(first))))
        self._pools, self.lanes = list[ThreadPoolExecutor](), dict[str, BatchingQueue[_Line, Prediction]]()
        for name in (*_OUTPUTS, _CONSTRAINED):
            # Where a search can take long, few lines are begun at once: the next ones are those of others, and there
            # is a core for lines that take no search.
            at_once = max_batch if name == "slots" else min(max_batch, max(1, core_count() // 2))
            pool = ThreadPoolExecutor(min(core_count(), at_once), thread_name_prefix=f"{name} lines")
            self._pools.append(pool)
            self.lanes[name] = BatchingQueue(partial(self._predict, pool), at_once, max_waiting)

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads, and of other decoding strategies, that can be used here."""
        can_load = find_spec("torch") is not None
        return tuple(dict.fromkeys((*self._readers, *(name for name in self._declared if can_load))))

    def has_loaded(self, head: str) -> bool:
        return head in self._readers

    def reader(self, head: str) -> Any:
        """Exported graphs of a head, or another decoding strategy, where there are some, else weights; loaded when
        first used. InputError if there is no such head, or it takes a package that is not installed."""
        if head not in self._readers:  # who uses what is loaded does not wait for what is being loaded
            with self._loading:
                if head not in self._readers:
                    self._add(self._reader_with(head))
            if head not in self._readers:
                raise InputError(f"no head {head!r}: choose one of {', '.join(self.heads)}")
        return self._readers[head]

    def _reader_with(self, head: str) -> Any:
        """That of a declared head, else that of all decoding strategies; None if it cannot be loaded."""
        if head not in self._declared and self._complete:
            return None
        try:
            self._complete = self._complete or head not in self._declared
            return self._load(head if head in self._declared else None)
        except MissingExtraError:
            if head in self._declared:
                raise
            return None

    def _add(self, reader: Any) -> tuple[str, ...]:
        """Note which decoding strategies a reader has; the names of its heads."""
        if reader is None:
            return ()
        if isinstance(reader, OnnxRecognizer):
            reader = reader.with_threads(1)  # see `_predict_together`
        for name in (*reader.heads, *reader.decode_functions()):
            self._readers.setdefault(name, reader)
        return tuple(reader.heads)

    @property
    def waiting(self) -> int:
        """Lines that wait or are being read."""
        return sum(lane.waiting for lane in self.lanes.values())

    @property
    def full(self) -> bool:
        """Whether the lane of the default head takes no more lines."""
        lane = self._lane(ReadOptions(self.default_head))
        return lane.waiting >= lane.max_waiting

    def submit(self, images: Sequence[Image.Image], options: ReadOptions) -> Future[list[tuple[Prediction, float]]]:
        """Read grey line images: for each its prediction, and the seconds since it was submitted.

        Raises:
            QueueFull: there is no room for all of them: none is accepted.
            InputError: there is no such head.
            Stopped: the service was stopped.
        """
        self.reader(options.head)  # loaded here, not by the thread that reads for all
        return self._lane(options).submit([(image, options) for image in images])

    def _lane(self, options: ReadOptions) -> BatchingQueue[_Line, Prediction]:
        if options.constraint is not None:
            return self.lanes[_CONSTRAINED]
        if options.charset:
            return self.lanes["ctc"]
        heads = self.reader(options.head).heads
        return self.lanes[heads[options.head].output if options.head in heads else "tokens"]  # as a pair of heads has

    def close(self) -> None:
        """Read what still waits, then end."""
        for lane in self.lanes.values():
            lane.close()
        for pool in (*self._pools, self._pytorch):
            pool.shutdown()
        for close in self._closing:
            close()

    def on_close(self, close: Callable[[], None]) -> None:
        """Have something closed with this."""
        self._closing.append(close)

    def stop(self) -> None:
        """Give up what still waits (`Stopped`); what is being read is not waited for."""
        for lane in self.lanes.values():
            lane.stop()

    def _predict(self, pool: Executor, lines: list[_Line]) -> list[Prediction | Exception]:
        """Lines with the same options are read together; an error of some is not that of others."""
        results: dict[int, Prediction | Exception] = {}
        for options in dict.fromkeys(options for _, options in lines):
            places = [i for i, (_, other) in enumerate(lines) if other == options]
            images = [lines[i][0] for i in places]
            try:
                predictions = self._predict_together(pool, images, options)
            except Exception:  # one by one: of which line it is
                predictions = [self._predict_alone(image, options) for image in images]
            results |= zip(places, predictions, strict=True)
        return [results[i] for i in range(len(lines))]

    def _predict_together(
        self, pool: Executor, images: list[Image.Image], options: ReadOptions
    ) -> Sequence[Prediction | Exception]:
        reader = self.reader(options.head)
        if not isinstance(reader, OnnxRecognizer):
            return self._predict_here(images, options)
        if reader.rounds_by_batch or not options.is_plain:  # a prediction must not depend on who else asks
            return list(pool.map(partial(self._predict_alone, options=options), images))
        size = min(_PART, math.ceil(len(images) / core_count()))
        parts = [images[start : start + size] for start in range(0, len(images), size)]

        def work(part: list[Image.Image]) -> list[Prediction]:
            return predict(reader, part, options)

        return [each for part in pool.map(work, parts) for each in part]

    def _predict_alone(self, image: Image.Image, options: ReadOptions) -> Prediction | Exception:
        """Of one line; an error is its request's, such as that of a constraint which the head cannot write."""
        try:
            return self._predict_here([image], options)[0]
        except Exception as error:
            return error

    def _predict_here(self, images: list[Image.Image], options: ReadOptions) -> list[Prediction]:
        """All at once; by PyTorch in its thread, unless a search may take long, for which nobody is to wait."""
        reader = self.reader(options.head)
        if isinstance(reader, OnnxRecognizer) or not options.is_plain:
            return predict(reader, images, options)
        return self._pytorch.submit(predict, reader, images, options).result()


def _head_names(weights: str | None) -> tuple[str, ...]:
    """What the configs of weights and of their exported graphs name; empty where they are of another kind."""
    paths = dict.fromkeys(folder / "config.json" for folder in (weights_path(weights), graphs_path(weights)))
    configs = [read_json(path) for path in paths if path.is_file()]
    return tuple(dict.fromkeys(name for config in configs for name in config.get("heads", ())))
