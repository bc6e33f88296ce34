"""The decoding strategies that the bench compares, as heads and pairs of them declare."""

from __future__ import annotations

from typing import Any

from seqocr.models.heads.base import Head, Strategy
from seqocr.models.heads.registry import HEADS, PAIRS


def _declaring() -> dict[str, Any]:
    """Heads in the order of the registry, after each of them the pairs that it writes for."""
    found: dict[str, Any] = {}
    for name, head in HEADS.items():
        found[name] = head
        found |= {pair.name: pair for pair in PAIRS.values() if pair.writer == name}
    return found


def by_name() -> dict[str, Strategy]:
    """All, by name, in the order of the registry."""
    return {each.name: each for head in _declaring().values() for each in head.ways}


def timed(deployed: bool = False) -> tuple[str, ...]:
    """Those whose time is measured, or of these only the ones that people deploy."""
    return tuple(name for name, each in by_name().items() if each.timed and (each.deployed or not deployed))


def read() -> tuple[str, ...]:
    """Those whose readings are measured."""
    return tuple(name for name, each in by_name().items() if each.read)


def deployed() -> tuple[str, ...]:
    """Those that people deploy."""
    return tuple(name for name, each in by_name().items() if each.deployed)


def heads() -> tuple[str, ...]:
    """Every head, and pair of heads, by the strategy that bears its name: its other strategies predict the same."""
    return tuple(_declaring())


def exportable() -> tuple[str, ...]:
    """The heads, and pairs, that say which graphs they are, so that other runtimes can run them."""
    return tuple(name for name, each in _declaring().items() if each.exported is not Head.exported)


def one_pass() -> tuple[str, ...]:
    """The heads that need one decoder pass, whatever the text."""
    found = by_name()
    return tuple(name for name in HEADS if found[name].one_pass)


def autoregressive() -> tuple[str, ...]:
    """The deployed strategies that need one decoder pass per symbol."""
    return tuple(name for name, each in by_name().items() if each.deployed and not each.one_pass and not each.drafted)


def verified() -> tuple[str, ...]:
    """The strategies that verify a draft."""
    return tuple(name for name, each in by_name().items() if each.drafted)


def heads_of(strategy: str) -> tuple[str, ...]:
    """The head that a strategy decodes, or those that a pair may be made of."""
    name = next(name for name, each in _declaring().items() if strategy in {known.name for known in each.ways})
    return tuple(HEADS) if name in PAIRS else (name,)
