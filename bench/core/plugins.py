"""Backends and peers: found by what their modules list and what installed packages register, also where this machine
lacks what they need."""

import importlib
import pkgutil
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from seqocr.errors import InputError
from seqocr.plugins import REMEDY, check_name, installed, load_plugin


def plugins(package: str, path: Iterable[str], listed: str, group: str, kind: type[Any]) -> dict[str, Any]:
    """By name, in the order that they declare: what each module of a package has in its list of this name, and what
    the entry points of a group name.

    Args:
        kind: of which all are instances.

    Raises:
        InputError: an entry point cannot be imported, is of another kind, calls itself otherwise, or has the name of
            one of ours.
    """
    modules = [importlib.import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(path)]
    found = [each for module in modules for each in getattr(module, listed, ())]
    ours = {each.name for each in found}
    for plugin in installed(group).values():
        each, where = load_plugin(plugin, group)
        if not isinstance(each, kind):
            raise InputError(f"{where} is no {kind.__module__}.{kind.__name__}: {REMEDY}")
        check_name(where, each.name, plugin)
        if each.name in ours:
            raise InputError(f"{where} has the name of one of ours: {REMEDY}, or give it another name")
        found.append(each)
    return {each.name: each for each in sorted(found, key=lambda each: each.order)}


def not_installed(**modules: str) -> str:
    """Says of the first of these modules that is not installed what pip calls it; empty if all are."""
    absent = [package for module, package in modules.items() if find_spec(module) is None]
    return f"{absent[0]} is not installed" if absent else ""
