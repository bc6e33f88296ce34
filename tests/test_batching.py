from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from seqocr.batching import Batcher
from seqocr.models.base import Decoded


def decoded(images: torch.Tensor) -> Decoded:
    return Decoded([str(int(image[0, 0])) for image in images], torch.ones(len(images)), passes=1)


def line(value: int) -> torch.Tensor:
    return torch.full((2, 3), value, dtype=torch.uint8)


class Held:
    """A reader that waits until it is let go, and notes its batches."""

    def __init__(self) -> None:
        self.busy, self.go, self.sizes = threading.Event(), threading.Event(), list[int]()

    def __call__(self, images: torch.Tensor) -> Decoded:
        self.sizes.append(len(images))
        self.busy.set()
        assert self.go.wait(30)
        return decoded(images)


@pytest.mark.parametrize("max_batch", [1, 4, 64])
def test_a_lone_request_is_read_at_once_and_the_rest_as_they_wait(max_batch: int) -> None:
    read, results = Held(), dict[Any, str]()
    batcher = Batcher(read, lambda tokens, done: results.update(zip(tokens, done.texts, strict=True)), max_batch)  # type: ignore[union-attr]
    batcher.submit("first", line(200))
    assert read.busy.wait(30)
    for i in range(10):
        batcher.submit(i, line(i))
    read.go.set()
    batcher.close()
    assert results == {"first": "200", **{i: str(i) for i in range(10)}}
    full, rest = divmod(10, max_batch)
    assert read.sizes == [1, *[max_batch] * full, *([rest] if rest else [])]


def test_an_error_is_handed_to_those_it_concerns_and_the_others_are_read() -> None:
    def read(images: torch.Tensor) -> Decoded:
        if (images == 7).any():
            raise ValueError("seven")
        return decoded(images)

    results: dict[Any, Any] = {}

    def finished(tokens: list[Any], done: Decoded | Exception) -> None:
        results.update(dict.fromkeys(tokens, done) if isinstance(done, Exception) else zip(tokens, done.texts))  # noqa: B905

    batcher = Batcher(read, finished, max_batch=1)
    for i in (6, 7, 8):
        batcher.submit(i, line(i))
    batcher.close()
    assert isinstance(results[7], ValueError)
    assert (results[6], results[8]) == ("6", "8")
