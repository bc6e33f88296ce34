"""The runtimes: each module here is one, and names an instance RUNTIME."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path

from bench.backends.base import Prepared, Runtime
from seqocr.models.recognizer import Recognizer

EAGER = "eager"  # the one that others are compared with


def runtimes() -> dict[str, Runtime]:
    """All by name, in the order of tables: eager mode first."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if found.name != "base"
    ]
    ordered = sorted((module.RUNTIME for module in modules), key=lambda runtime: runtime.order)
    return {runtime.name: runtime for runtime in ordered}


def missing(name: str) -> str:
    """Why a runtime cannot be had here; empty if it can."""
    return runtimes()[name].missing()


def prepare(name: str, recognizer: Recognizer, folder: Path) -> Prepared:
    """Load a recognizer into a runtime.

    Args:
        folder: where graphs are written, if it needs any; those found there are taken as this recognizer's.
    """
    return runtimes()[name].prepare(recognizer, folder)


def not_here(names: Iterable[str]) -> dict[str, str]:
    """Those of some runtimes that cannot be had here, and why."""
    return {name: why for name in names if (why := missing(name))}
