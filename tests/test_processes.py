"""Pools of processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import time

from seqocr.processes import pool_for


def test_a_pool_that_is_told_to_end_does_not_wait_for_its_tasks() -> None:
    others, start = multiprocessing.active_children(), time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), pool_for(1) as processes:
        task = processes.submit(time.sleep, 600)
        while not task.running():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert time.monotonic() - start < 60
    assert multiprocessing.active_children() == others
