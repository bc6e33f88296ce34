"""Batches drawn by a second process, while the first learns from those before."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.queues import Queue
from queue import Empty
from typing import Any

import numpy as np
import torch

from seqocr.data.material import Batch, Material
from seqocr.errors import InputError

_AHEAD = 4  # batches that wait to be learned from
_PATIENCE = 5.0  # seconds between looks at whether the process is still there


class Ahead(Material):
    """The same batches as its parts give, in the same order."""

    def batches(self, size: int, step: int = 0) -> Iterator[Batch]:
        """As `Material.batches`. The process ends with the iterator, or with this one.

        Raises:
            InputError: as there, or the process was killed.
        """
        super().batches(size, step)  # what is wrong with them is said here
        return self._drawn(size, step)

    def _drawn(self, size: int, step: int) -> Iterator[Batch]:
        context = multiprocessing.get_context("spawn")
        waiting: Queue[Any] = context.Queue(_AHEAD)
        process = context.Process(target=_draw, args=(waiting, self.parts, size, step), daemon=True, name="batches")
        process.start()
        try:
            while True:
                images, texts = _next(waiting, process)
                yield [torch.from_numpy(image) for image in images], texts
        finally:
            process.kill()
            process.join()
            waiting.close()


def _next(waiting: Queue[Any], process: Any) -> Any:
    while True:
        with contextlib.suppress(Empty):
            return waiting.get(timeout=_PATIENCE)
        if not process.is_alive():
            raise InputError(
                f"the process that draws batches ended with {process.exitcode}: is there memory enough? The same "
                "command goes on from the last save"
            )


def _draw(waiting: Queue[Any], parts: Any, size: int, step: int) -> None:
    torch.set_num_threads(1)
    for images, texts in Material(parts).batches(size, step):
        waiting.put(([np.asarray(image) for image in images], texts))
