"""The backends that run a recognizer's weights: one module each, with an instance BACKEND."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path

from bench.backends.base import Backend, BackendModel
from seqocr.models.recognizer import Recognizer

EAGER = "eager"  # the one that others are compared with


def backends() -> dict[str, Backend]:
    """All backends by name, in the order of tables: eager mode first."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if found.name != "base"
    ]
    ordered = sorted((module.BACKEND for module in modules), key=lambda backend: backend.order)
    return {backend.name: backend for backend in ordered}


def missing(name: str) -> str:
    """Why a backend is not available here; empty if it is."""
    return backends()[name].missing()


def unavailable(names: Iterable[str]) -> dict[str, str]:
    """Why each of these backends that is not available here is not, by name."""
    return {name: why for name in names if (why := missing(name))}


def prepare(name: str, recognizer: Recognizer, folder: Path) -> BackendModel:
    """Load a recognizer into a backend.

    Args:
        folder: for exported graphs, if the backend needs any; graphs found there must be this recognizer's.
    """
    return backends()[name].prepare(recognizer, folder)
