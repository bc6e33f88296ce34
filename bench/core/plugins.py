"""Backends and peers: found by what their modules list, also where this machine lacks what they need."""

import importlib
import pkgutil
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any


def plugins(package: str, path: Iterable[str], listed: str) -> dict[str, Any]:
    """By name, in the order that they declare: what each module of a package has in its list of this name."""
    modules = [importlib.import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(path)]
    found = [each for module in modules for each in getattr(module, listed, ())]
    return {each.name: each for each in sorted(found, key=lambda each: each.order)}


def not_installed(**modules: str) -> str:
    """Says of the first of these modules that is not installed what pip calls it; empty if all are."""
    absent = [package for module, package in modules.items() if find_spec(module) is None]
    return f"{absent[0]} is not installed" if absent else ""
