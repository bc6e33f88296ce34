"""Files of object stores are requested ahead: many at once, in order, within bounds, whatever fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fsspec", reason="the extra 'scale' is not installed")
import fsspec

from seqocr.batch import storage
from seqocr.batch.sources import Source
from seqocr.errors import InputError
from tests.batch.slow_store import SlowStore
from tests.batch.test_batch import BROKEN, EXAMPLES

PATHS = [f"/lines/{i:03}.png" for i in range(48)]


@pytest.fixture
def store() -> Iterator[Any]:
    fsspec.register_implementation("slow", SlowStore, clobber=True)
    fs = fsspec.filesystem("slow")
    for i, path in enumerate(PATHS):
        fs.pipe_file(path, EXAMPLES[i % len(EXAMPLES)].read_bytes())
    yield fs
    SlowStore.reset()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PAUSE", 0.0)


def test_requests_overlap_and_order_is_kept(store: Any) -> None:
    found = list(storage.fetch_ahead(store, PATHS))
    assert found == [EXAMPLES[i % len(EXAMPLES)].read_bytes() for i in range(len(PATHS))]
    assert 4 <= SlowStore.most_at_once <= 16
    assert sorted(SlowStore.requested) == PATHS  # each once


def test_what_follows_is_requested_while_a_line_is_read(store: Any) -> None:
    lines = Source("slow://lines").lines(Source("slow://lines").shards(100)[0])
    next(lines)
    _wait(lambda: len(SlowStore.requested) == len(PATHS))
    assert len(list(lines)) == len(PATHS) - 1


def test_only_so_many_are_requested_ahead(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CONCURRENT", 8)
    contents = storage.fetch_ahead(store, PATHS)
    for read in range(1, 6):
        next(contents)
        _wait(lambda read=read: len(SlowStore.requested) >= read + 7)
        time.sleep(0.02)
        assert len(SlowStore.requested) == read + 7


def test_only_so_many_bytes_wait(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CONCURRENT", 8)
    monkeypatch.setattr(storage, "_MOST_WAITING", 1)
    contents = storage.fetch_ahead(store, PATHS)
    next(contents)
    time.sleep(0.05)
    for read in range(2, 9):  # those eight that were requested at first
        next(contents)
        assert len(SlowStore.requested) == 8, read
    assert len(list(contents)) == len(PATHS) - 8


def test_errors_are_rows_in_their_places(store: Any, no_pause: None) -> None:
    shards = Source("slow://lines").shards(100)
    store.pipe_file(PATHS[5], BROKEN)
    store.rm_file(PATHS[7])
    SlowStore.failures = {PATHS[9]: 2}
    lines = list(Source("slow://lines").lines(shards[0]))
    assert [name for name, _ in lines] == [path.removeprefix("/lines/") for path in PATHS]
    problems = {name: line for name, line in lines if isinstance(line, str)}
    assert set(problems) == {"005.png", "007.png"}
    assert problems["007.png"] == "007.png does not exist: give a PNG or JPEG"
    assert SlowStore.requested.count(PATHS[9]) == 3
    assert np.asarray(lines[6][1]).any()


def test_a_store_that_keeps_failing_ends_the_shard(store: Any, no_pause: None) -> None:
    SlowStore.failures = {PATHS[30]: 99}
    lines = Source("slow://lines").lines(Source("slow://lines").shards(100)[0])
    assert len([next(lines) for _ in range(30)]) == 30
    with pytest.raises(InputError, match="slow down"):
        next(lines)
    assert SlowStore.requested.count(PATHS[30]) == 4


def test_nothing_is_requested_behind_the_end(store: Any) -> None:
    contents = storage.fetch_ahead(store, PATHS)
    next(contents)
    contents.close()
    _wait(lambda: not any(each.name.startswith("fetch") for each in threading.enumerate()))
    assert len(SlowStore.requested) < len(PATHS)


def _wait(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited 5 seconds")
