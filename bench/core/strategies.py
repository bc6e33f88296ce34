"""The decoding strategies that the bench compares: those of all heads, and which of them it times, reads and shows."""

from collections.abc import Mapping
from typing import Any

from seqocr.models.heads.base import Head, Strategy
from seqocr.models.heads.registry import available_heads
from seqocr.models.heads.speculative import find_pairs, speculative_strategy

# Strategies are timed, read and shown on the report's first screen, but for these.
_NOT_TIMED = {"ctc-beam"}
_NOT_READ = {"ar-nocache"}
FOREIGN_FLOPS = {"ar-generate"}  # whose FLOPs the version of a library decides


def _strategies(heads: Mapping[str, type[Head]]) -> dict[str, tuple[Strategy, ...]]:
    """By head, or pair of heads: heads in the order of the registry, a pair after the head that verifies."""
    found: dict[str, tuple[Strategy, ...]] = {}
    verifiers = dict(find_pairs(heads))
    for name, head in heads.items():
        found[name] = head.strategies
        if name in verifiers:
            found[speculative_strategy(head).name] = (speculative_strategy(head),)
    return found


def by_name() -> dict[str, Strategy]:
    """All, by name, in the order of the registry."""
    return {each.name: each for strategies in _strategies(available_heads()).values() for each in strategies}


def timed() -> tuple[str, ...]:
    """Those whose time is measured."""
    return tuple(name for name in by_name() if name not in _NOT_TIMED)


def read() -> tuple[str, ...]:
    """Those whose predictions are measured."""
    return tuple(name for name in by_name() if name not in _NOT_READ)


def deployed() -> tuple[str, ...]:
    """Those that people deploy; each is timed and read."""
    return tuple(name for name in by_name() if name not in _NOT_TIMED | _NOT_READ)


def heads() -> tuple[str, ...]:
    """Every head, and pair of heads, by the strategy that bears its name: its other strategies predict the same."""
    return tuple(_strategies(available_heads()))


def exportable() -> tuple[str, ...]:
    """The heads, and pairs of heads, that other runtimes can run."""
    able: dict[str, Any] = {name: h for name, h in available_heads().items() if h.graphs is not Head.graphs}
    return tuple(_strategies(able))


def one_pass() -> tuple[str, ...]:
    """The heads that need one decoder pass, whatever the text."""
    return tuple(name for name, head in available_heads().items() if head.is_one_pass)


def by_symbol() -> tuple[str, ...]:
    """The heads that need one decoder pass per symbol."""
    return tuple(name for name, head in available_heads().items() if head.output == "tokens")


def autoregressive() -> tuple[str, ...]:
    """The deployed strategies that need one decoder pass per symbol."""
    found = by_name()
    return tuple(name for name in deployed() if not found[name].is_one_pass and not found[name].is_speculative)


def speculative() -> tuple[str, ...]:
    """The strategies that verify a draft."""
    return tuple(name for name, each in by_name().items() if each.is_speculative)


def head_of(strategy: str) -> str:
    """The head that a strategy decodes, or whose texts a pair gives."""
    return next(name for name, head in available_heads().items() if strategy in _names(head))


def _names(head: type[Head]) -> set[str]:
    verified = {speculative_strategy(head).name} if head.verifies_drafts else set()
    return verified | {each.name for each in head.strategies}


def heads_of(strategy: str) -> tuple[str, ...]:
    """The head that a strategy decodes, or those that a pair may be made of."""
    of_head = _strategies(available_heads())
    name = next(name for name, strategies in of_head.items() if strategy in {each.name for each in strategies})
    return (name,) if name in available_heads() else tuple(available_heads())
