"""Constraints of strangers: compiled apart, within limits, and each once."""

from __future__ import annotations

import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from seqocr.errors import InputError
from seqocr.serving import compiler
from seqocr.serving.compiler import ConstraintCompiler, compile_constraint
from seqocr.serving.queue import QueueFull

DIGITS = "0123456789"


class FakePool:
    """Notes what it is given; nothing is compiled."""

    def __init__(self) -> None:
        self.futures = list[Future[Any]]()

    def submit(self, *_: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]

    def shutdown(self, **_: Any) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    pool = FakePool()
    monkeypatch.setattr(compiler, "pool", lambda workers, begin: pool)
    return pool


@pytest.mark.parametrize("pattern", [r"((\d{1,20}){1,20}){1,20}", r"\d{1,4000000000}"])
def test_a_pattern_is_granted_some_cpu_time(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_SECONDS", 0.1)
    start = time.process_time()
    with pytest.raises(InputError, match="takes too long to compile: make it simpler"):
        compile_constraint(DIGITS, pattern, None)
    assert time.process_time() - start < 1


def test_states_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_MOST_STATES", 10)
    assert len(compile_constraint(DIGITS, r"\d{9}", None).final) == 10
    with pytest.raises(InputError, match="has 11 states: make it simpler, at most 10"):
        compile_constraint(DIGITS, r"\d{10}", None)


def test_the_same_constraint_is_compiled_once(fake: FakePool) -> None:
    constraints = ConstraintCompiler()
    first, second = (constraints.submit(DIGITS, r"\d", None) for _ in range(2))
    assert first is second
    first.set_exception(InputError("wrong"))  # as final as an automaton
    assert constraints.submit(DIGITS, r"\d", None) is first
    assert len(fake.futures) == 1


def test_a_process_that_ended_is_no_verdict_on_the_pattern(fake: FakePool) -> None:
    constraints = ConstraintCompiler()
    constraints.submit(DIGITS, r"\d", None).set_exception(BrokenProcessPool())
    assert not constraints.submit(DIGITS, r"\d", None).done()
    assert len(fake.futures) == 2


def test_more_constraints_than_can_wait_are_refused(fake: FakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_MOST_WAITING", 2)
    constraints = ConstraintCompiler()
    futures = [constraints.submit(DIGITS, rf"\d{{{n}}}", None) for n in (1, 2)]
    with pytest.raises(QueueFull):
        constraints.submit(DIGITS, r"\d{3}", None)
    futures[0].set_result(None)
    assert not constraints.submit(DIGITS, r"\d{3}", None).done()


def test_a_process_compiles() -> None:
    constraints = ConstraintCompiler()
    try:
        assert len(constraints.submit(DIGITS, r"\d{3}", "luhn").result(60).final) > 3
        with pytest.raises(InputError, match="cannot be used"):
            constraints.submit(DIGITS, "(7", None).result(60)
    finally:
        constraints.close()
