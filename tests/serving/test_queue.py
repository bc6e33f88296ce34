"""The queue: batches fill by themselves, errors reach those they concern, what does not fit is refused."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from seqocr.serving.queue import BatchingQueue, QueueFull, Stopped


class Held:
    """Numbers to texts, once it is let go; notes its batches. Seven is an error of its own."""

    def __init__(self) -> None:
        self.busy, self.go, self.sizes = threading.Event(), threading.Event(), list[int]()

    def __call__(self, numbers: list[int]) -> list[str | Exception]:
        self.sizes.append(len(numbers))
        self.busy.set()
        assert self.go.wait(30)
        if 666 in numbers:
            raise KeyError("the whole batch")
        return [ValueError("seven") if number == 7 else str(number) for number in numbers]


def results(future: Any) -> list[str]:
    return [result for result, seconds in future.result(30) if seconds > 0]


@pytest.mark.parametrize("max_batch", [1, 4, 64])
def test_a_lone_item_is_processed_at_once_and_the_rest_as_they_wait(max_batch: int) -> None:
    held = Held()
    queue = BatchingQueue(held, max_batch, 100)
    first = queue.submit([200])
    assert held.busy.wait(30)
    others = [queue.submit([i, i + 1]) for i in range(20, 30, 2)]
    assert queue.waiting == 11
    held.go.set()
    queue.close()
    assert results(first) == ["200"]
    assert [results(each) for each in others] == [[str(i), str(i + 1)] for i in range(20, 30, 2)]
    full, rest = divmod(10, max_batch)
    assert held.sizes == [1, *[max_batch] * full, *([rest] if rest else [])]
    assert queue.waiting == 0


def test_an_error_is_that_of_its_request_and_the_others_are_processed() -> None:
    held = Held()
    held.go.set()
    queue = BatchingQueue(held, 64, 100)
    six, seven, eight = (queue.submit(numbers) for numbers in ([6], [1, 7], [8]))
    assert (results(six), results(eight)) == (["6"], ["8"])
    with pytest.raises(ValueError, match="seven"):
        seven.result(30)
    with pytest.raises(KeyError):
        queue.submit([666]).result(30)
    assert results(queue.submit([9])) == ["9"]
    queue.close()


def test_a_full_queue_refuses_whole_requests_until_there_is_room() -> None:
    held = Held()
    queue = BatchingQueue(held, 2, 4)
    accepted = queue.submit([1, 2, 3])
    for numbers in ([4, 5], list(range(5))):
        with pytest.raises(QueueFull, match="try again in 1 s") as full:
            queue.submit(numbers)
        assert full.value.seconds >= 1
    last = queue.submit([4])
    held.go.set()
    assert (results(accepted), results(last)) == (["1", "2", "3"], ["4"])
    assert results(queue.submit([])) == []
    queue.close()


def test_what_is_given_up_makes_room_and_is_not_processed() -> None:
    held = Held()
    queue = BatchingQueue(held, 2, 100)
    first = queue.submit([1])
    assert held.busy.wait(30)
    given_up, last = queue.submit([2] * 5), queue.submit([3])
    assert given_up.cancel()
    held.go.set()
    assert (results(first), results(last)) == (["1"], ["3"])
    queue.close()
    assert held.sizes == [1, 1]
    assert queue.waiting == 0


def test_requests_take_turns() -> None:
    held, order = Held(), list[int]()
    queue = BatchingQueue(lambda numbers: (order.extend(numbers), held(numbers))[1], 2, 100)
    first = queue.submit([1])
    assert held.busy.wait(30)
    many, few, one = queue.submit([10, 11, 12, 13]), queue.submit([20, 21]), queue.submit([30])
    held.go.set()
    queue.close()
    assert order == [1, 10, 20, 30, 11, 21, 12, 13]
    assert [results(each) for each in (first, many, few, one)] == [
        ["1"],
        ["10", "11", "12", "13"],
        ["20", "21"],
        ["30"],
    ]


def test_what_is_stopped_fails_at_once_also_what_is_in_process() -> None:
    held = Held()
    queue = BatchingQueue(held, 2, 100)
    in_process = queue.submit([1, 2, 3])
    assert held.busy.wait(30)
    waiting = queue.submit([4])
    queue.stop()
    for future in (in_process, waiting):
        with pytest.raises(Stopped):
            future.result(0)
    with pytest.raises(Stopped):
        queue.submit([5])
    held.go.set()
    queue.close()
    assert held.sizes == [2]
    assert queue.waiting == 0
