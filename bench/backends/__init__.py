"""The backends that run a recognizer's weights: modules with a list BACKENDS, and entry points `seqocr.backends`."""

from collections.abc import Iterable
from pathlib import Path

from bench.backends.base import Backend, BackendModel
from bench.core.plugins import plugins
from seqocr.models.recognizer import Recognizer

EAGER = "eager"  # the one that others are compared with


def backends() -> dict[str, Backend]:
    """All backends by name, in the order of tables: eager mode first."""
    return plugins(__name__, __path__, "BACKENDS", "seqocr.backends", Backend)


def unavailable(names: Iterable[str]) -> dict[str, str]:
    """Why each of these backends that is not available here is not, by name."""
    return {name: why for name in names if (why := backends()[name].missing())}


def prepare(name: str, recognizer: Recognizer, folder: Path) -> BackendModel:
    """Load a recognizer into a backend.

    Args:
        folder: for exported graphs, if the backend needs any; graphs found there must be this recognizer's.
    """
    return backends()[name].prepare(recognizer, folder)
