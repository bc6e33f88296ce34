from __future__ import annotations

import threading
from typing import Any

import pytest

from seqocr.serving.batcher import Batcher


def as_texts(numbers: list[int]) -> list[str]:
    return [str(number) for number in numbers]


class Held:
    """A reader that waits until it is let go, and notes its batches."""

    def __init__(self) -> None:
        self.busy, self.go, self.sizes = threading.Event(), threading.Event(), list[int]()

    def __call__(self, numbers: list[int]) -> list[str]:
        self.sizes.append(len(numbers))
        self.busy.set()
        assert self.go.wait(30)
        return as_texts(numbers)


@pytest.mark.parametrize("max_batch", [1, 4, 64])
def test_a_lone_request_is_read_at_once_and_the_rest_as_they_wait(max_batch: int) -> None:
    read, results = Held(), dict[Any, str]()
    batcher = Batcher(read, lambda tokens, done: results.update(zip(tokens, done, strict=True)), max_batch)  # type: ignore[union-attr]
    batcher.submit("first", 200)
    assert read.busy.wait(30)
    for i in range(10):
        batcher.submit(i, i)
    read.go.set()
    batcher.close()
    assert results == {"first": "200", **{i: str(i) for i in range(10)}}
    full, rest = divmod(10, max_batch)
    assert read.sizes == [1, *[max_batch] * full, *([rest] if rest else [])]


def test_an_error_is_handed_to_those_it_concerns_and_the_others_are_read() -> None:
    def read(numbers: list[int]) -> list[str]:
        if 7 in numbers:
            raise ValueError("seven")
        return as_texts(numbers)

    results: dict[Any, Any] = {}

    def finished(tokens: list[Any], done: list[str] | Exception) -> None:
        results.update(dict.fromkeys(tokens, done) if isinstance(done, Exception) else zip(tokens, done))  # noqa: B905

    batcher = Batcher(read, finished, max_batch=1)
    for i in (6, 7, 8):
        batcher.submit(i, i)
    batcher.close()
    assert isinstance(results[7], ValueError)
    assert (results[6], results[8]) == ("6", "8")
