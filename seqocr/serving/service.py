"""Reads lines for many clients at once: readers that are loaded when first used, behind a bounded queue."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from PIL import Image

from seqocr.errors import InputError
from seqocr.files import read_json
from seqocr.inference.load import load_reader
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import Prediction, ReadOptions, chosen_head, predict
from seqocr.inference.sessions import core_count
from seqocr.inference.shipped import graphs_path, weights_path
from seqocr.serving.queue import BatchingQueue

_Line = tuple[Image.Image, ReadOptions]


class Service:
    """Reads line images. Methods may be called from any thread.

    Args:
        weights, device, engine: as of `load_reader`.
        max_batch: lines read at once, at most.
        max_waiting: lines that may wait or be in process; requests for more are refused (`QueueFull`).

    Attributes:
        heads: names of the heads that can be used.
        default_head: that reads where a request names none (`seqocr.inference.predict.default_head`).

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
        self._load = lambda head: load_reader(weights, head, device, engine)
        self._readers: dict[str, Any] = {}
        self._loading = threading.Lock()
        first = self._load("")
        self.default_head, self.charset = chosen_head(first, ""), str(first.charset)
        self.heads = tuple(dict.fromkeys((*_head_names(weights), *self._add(first))))
        self._pool = ThreadPoolExecutor(core_count(), thread_name_prefix="lines")
        self.queue: BatchingQueue[_Line, Prediction] = BatchingQueue(self._predict, max_batch, max_waiting)

    def reader(self, head: str) -> Any:
        """Exported graphs of a head where there are some, else weights; loaded when first used. InputError if there is
        no such head."""
        if head not in self.heads:
            raise InputError(f"no head {head!r}: choose one of {', '.join(self.heads)}")
        if head not in self._readers:  # who uses what is loaded does not wait for what is being loaded
            with self._loading:
                if head not in self._readers:
                    self._add(self._load(head))
        return self._readers[head]

    def _add(self, reader: Any) -> tuple[str, ...]:
        if isinstance(reader, OnnxRecognizer):
            reader = reader.with_threads(1)  # see `_predict_together`
        for head in reader.heads:
            self._readers.setdefault(head, reader)
        return tuple(reader.heads)

    def submit(self, images: Sequence[Image.Image], options: ReadOptions) -> Future[list[tuple[Prediction, float]]]:
        """Read grey line images: for each its prediction, and the seconds since it was submitted.

        Raises:
            QueueFull: there is no room for all of them: none is accepted.
            InputError: there is no such head.
        """
        self.reader(options.head)  # loaded here, not by the thread that reads for all
        return self.queue.submit([(image, options) for image in images])

    def close(self) -> None:
        """Read what still waits, then end."""
        self.queue.close()
        self._pool.shutdown()

    def _predict(self, lines: list[_Line]) -> list[Prediction | Exception]:
        """Lines with the same options are read together; an error of some is not that of others."""
        results: dict[int, Prediction | Exception] = {}
        for options in dict.fromkeys(options for _, options in lines):
            places = [i for i, (_, other) in enumerate(lines) if other == options]
            try:
                predictions = self._predict_together([lines[i][0] for i in places], options)
            except Exception as error:
                predictions = [error] * len(places)
            results |= zip(places, predictions, strict=True)
        return [results[i] for i in range(len(lines))]

    def _predict_together(self, images: list[Image.Image], options: ReadOptions) -> Sequence[Prediction | Exception]:
        reader = self.reader(options.head)
        if not isinstance(reader, OnnxRecognizer):
            return predict(reader, images, options)
        # Line by line, each on one thread: an int8 graph rounds by all that it is given at once, and a prediction must
        # not depend on who else asks.
        return list(self._pool.map(lambda image: predict(reader, [image], options)[0], images))


def _head_names(weights: str | None) -> tuple[str, ...]:
    """What the configs of weights and of their exported graphs name; empty where they are of another kind."""
    paths = dict.fromkeys(folder / "config.json" for folder in (weights_path(weights), graphs_path(weights)))
    configs = [read_json(path) for path in paths if path.is_file()]
    return tuple(dict.fromkeys(name for config in configs for name in config.get("heads", ())))
