"""The peers: each module here names its own, a list PEERS."""

from __future__ import annotations

import importlib
import pkgutil

from bench.peer import Declared


def peers() -> dict[str, Declared]:
    """All, by name, in the order that they declare: our own heads first."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found = [peer for module in modules for peer in module.PEERS]
    return {peer.name: peer for peer in sorted(found, key=lambda peer: peer.order)}


def present() -> dict[str, Declared]:
    """Those that can be had here."""
    return {name: peer for name, peer in peers().items() if not peer.missing()}


def missing() -> dict[str, str]:
    """Why the others cannot, by name."""
    return {name: why for name, peer in peers().items() if (why := peer.missing())}
