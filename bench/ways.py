"""The ways to decode that the bench compares, as the heads declare them (`seqocr.models.base.Way`)."""

from __future__ import annotations

from seqocr.models.base import Head, Way
from seqocr.models.heads import HEADS


def ways() -> dict[str, Way]:
    """All, by name, in the order of the registry."""
    return {way.name: way for head in HEADS.values() for way in head.ways}


def timed(deployed: bool = False) -> tuple[str, ...]:
    """Those whose time is measured, or of these only the ones that people deploy."""
    return tuple(name for name, way in ways().items() if way.timed and (way.deployed or not deployed))


def read() -> tuple[str, ...]:
    """Those whose readings are measured."""
    return tuple(name for name, way in ways().items() if way.read)


def deployed() -> tuple[str, ...]:
    """Those that people deploy."""
    return tuple(name for name, way in ways().items() if way.deployed)


def heads() -> tuple[str, ...]:
    """Every head by the way that bears its name: other ways to decode it read the same."""
    return tuple(HEADS)


def exportable() -> tuple[str, ...]:
    """The heads that say which graphs they are, so that other runtimes can run them."""
    return tuple(name for name, head in HEADS.items() if head.exported is not Head.exported)


def one_pass() -> tuple[str, ...]:
    """The heads that need one decoder pass, whatever the text."""
    found = ways()
    return tuple(name for name in HEADS if found[name].one_pass)


def autoregressive() -> tuple[str, ...]:
    """The deployed ways that need a pass a symbol."""
    return tuple(name for name, way in ways().items() if way.deployed and not way.one_pass)


def head_of(way: str) -> str:
    """The head that a way decodes."""
    return next(name for name, head in HEADS.items() if way in {each.name for each in head.ways})
