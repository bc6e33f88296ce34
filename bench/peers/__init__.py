"""The peers: each module here names its own, a list PEERS."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from bench.peers.base import Declared


def peers() -> dict[str, Declared]:
    """All, by name, in the order that they declare: our own heads first."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if found.name != "base"
    ]
    found = [peer for module in modules for peer in module.PEERS]
    return {peer.name: peer for peer in sorted(found, key=lambda peer: peer.order)}


def missing(names: Iterable[str]) -> dict[str, str]:
    """Those of some peers that cannot be had here, and why."""
    declared = peers()
    return {name: why for name in names if (why := declared[name].missing())}
