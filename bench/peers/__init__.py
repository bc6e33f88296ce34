"""The peers: readers that people would use instead, one module each with a list PEERS."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from bench.peers.base import PeerSpec


def peers() -> dict[str, PeerSpec]:
    """All peers by name, in their declared order: seqocr's heads first."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if found.name != "base"
    ]
    specs = [spec for module in modules for spec in module.PEERS]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.order)}


def unavailable(names: Iterable[str]) -> dict[str, str]:
    """Why each of these peers that is not available here is not, by name."""
    specs = peers()
    return {name: why for name in names if (why := specs[name].missing())}
