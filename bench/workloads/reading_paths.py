"""What the paths to a prediction cost beside the work itself: ratios that show time spent in plain Python.

Needs the extra "serve". Nothing goes over the network: requests are handed to the application.
"""

import asyncio
import base64
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from fastapi import FastAPI
from PIL import Image

from bench.workloads.timed_models import TASK_LENGTH
from seqocr.data.images import line_or_problem
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.image_files import predict_files
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import chosen_head, predict
from seqocr.inference.prediction import ReadOptions
from seqocr.inference.shipped import graphs_path
from seqocr.serving.app import create_app
from seqocr.serving.service import Service

_WEIGHTS = "tiny"  # whose graphs take so little that what comes on top shows
_LINES = 16  # predicted together
_SCOPE = {
    **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
    **{"method": "POST", "path": "/v1/read", "raw_path": b"/v1/read", "query_string": b""},
    **{"headers": [(b"content-type", b"application/json")], "client": ("test", 1), "server": ("test", 1)},
}


def ratios(rounds: int, warmup: int) -> dict[str, float]:
    """Medians over interleaved rounds, of the shipped graphs on one thread.

    Returns:
        `request`: of a line through routes, service and queue, over opening and predicting it with the library;
        `predict` and `predict_files`: of a batch of lines, over decoding their pixel values alone.
    """
    service = Service(_WEIGHTS)
    try:
        with TemporaryDirectory() as folder:
            seconds = asyncio.run(_measure(create_app(service), Path(folder), rounds + warmup))
    finally:
        service.close()
    library, request, decode, together, files = np.array(seconds)[warmup:].T
    found = {"request": request / library, "predict": together / decode, "predict_files": files / decode}
    return {name: float(np.median(each)) for name, each in found.items()}


async def _measure(app: FastAPI, folder: Path, rounds: int) -> list[list[float]]:
    """Seconds by round: of the library, a request, decoding alone, `predict` and `predict_files`."""
    reader = OnnxRecognizer(graphs_path(_WEIGHTS)).with_threads(1)
    lines = [
        Image.fromarray(line.numpy()) for line in SequenceMNIST(embedded_digits(), TASK_LENGTH).batch(range(_LINES))[0]
    ]
    paths = [folder / f"{i}.png" for i in range(_LINES)]
    for path, line in zip(paths, lines, strict=True):
        line.save(path)
    data, pixel_values = paths[0].read_bytes(), reader.encode(lines)
    decode = reader.decode_functions()[chosen_head(reader, "")]
    body = json.dumps({"images": [base64.b64encode(data).decode()]}).encode()
    as_requested = ReadOptions(symbols=True)
    works = (
        lambda: decode(pixel_values).confidences,
        lambda: predict(reader, lines),
        lambda: list(predict_files(reader, paths)),
    )
    found = []
    for _ in range(rounds):
        times = [time.perf_counter()]
        predict(reader, [line_or_problem(data, "a line")], as_requested)
        times.append(time.perf_counter())
        await _request(app, body)
        times.append(time.perf_counter())
        for work in works:
            work()
            times.append(time.perf_counter())
        found.append(np.diff(times).tolist())
    return found


async def _request(app: FastAPI, body: bytes) -> None:
    answer: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        answer.append(message)

    await app(dict(_SCOPE), receive, send)
    assert answer[0]["status"] == 200, answer
