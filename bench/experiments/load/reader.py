"""One LoadGen test of a decoding strategy in a backend: python -m bench.experiments.load.reader JSON."""

import json
import sys
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import backends
from bench.workloads.held_out import task_strings
from bench.workloads.loadgen import complete, drive
from seqocr.models.checkpoint import load_recognizer
from seqocr.serving.queue import BatchingQueue

_LINES = 1024  # different ones
_BATCH = 64


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Read the task's strings for LoadGen.

    Args:
        request: weights, heads, strategy, runtime, a folder for graphs, scenario, logs, seconds, rate and bound.
    """
    recognizer = load_recognizer(request["weights"])
    recognizer = recognizer.with_heads([name for name in request["heads"] if name in recognizer.heads]).eval()
    strings = task_strings(_LINES)
    lines: Any = strings.batch(range(len(strings)))[0]
    loaded = backends.prepare(request["runtime"], recognizer, Path(request["folder"]))
    decode, processor = loaded.strategies[request["strategy"]], recognizer.processor

    def read(images: list[torch.Tensor]) -> list[str]:
        return decode(processor(torch.stack(images))).texts

    for batch in (1, 8, _BATCH):
        read(list(lines[:batch]))
    queue: BatchingQueue[torch.Tensor, str] = BatchingQueue(read, _BATCH, max_waiting=sys.maxsize)

    def issue(query: Any, index: int) -> None:
        queue.submit([lines[index]]).add_done_callback(partial(_finish, query))

    timing = {name: request[name] for name in ("seconds", "rate", "bound")}
    try:
        return drive(issue, len(lines), request["scenario"], Path(request["logs"]), **timing)
    finally:
        queue.close()


def _finish(query: Any, future: Future[Any]) -> None:
    future.result()
    complete(query)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
