"""What a stored measurement depends on, as digests: code without its comments and docstrings, weights, settings.

An experiment declares the modules, heads and weights that it runs. Of its own module only what measuring reaches
counts, so a heading of the report can be renamed without measuring anything again.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from seqocr.calibration import KEY
from seqocr.models.heads import HEADS, PAIRS, STUDIED

_ROOT = Path(__file__).parent.parent


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def digest_of(nodes: Iterable[ast.AST]) -> str:
    """Of code as the interpreter sees it: comments, docstrings and layout do not count."""
    return hashlib.sha256(json.dumps([_shape(node) for node in nodes]).encode()).hexdigest()[:16]


def _shape(node: Any) -> Any:
    """A syntax tree as lists, the same in every version of Python: what is absent or empty is left out."""
    if isinstance(node, list):
        return [_shape(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    if (
        isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node) is not None
    ):
        fields = [(name, value[1:] if name == "body" else value) for name, value in fields]
    return [type(node).__name__, *([name, _shape(value)] for name, value in fields)]


def of_module(name: str) -> dict[str, str]:
    """The digest of a module, by the path of its file."""
    path = _path(name)
    return {path.relative_to(_ROOT).as_posix(): digest_of([_tree(path)])}


def _path(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no module {name!r} to depend on")
    return Path(found.origin)


def of_heads(names: Iterable[str]) -> dict[str, str]:
    """The modules of heads and pairs, and what those import of `seqocr.models`, by name of what is in `HEADS`, `PAIRS`
    or `STUDIED`."""
    known: dict[str, type] = {**HEADS, **PAIRS, **STUDIED}
    found: dict[str, str] = {}
    for name in names:
        for module in _modules_of(known[name]):
            found |= of_module(module)
    return found


def _modules_of(head: type) -> list[str]:
    """The modules of a head's classes, and those of this package that they import."""
    todo = [each.__module__ for each in head.__mro__ if each.__module__.split(".")[0] not in ("torch", "builtins")]
    found: list[str] = []
    while todo:
        module = todo.pop()
        if module in found:
            continue
        found.append(module)
        imports = (n for n in ast.walk(_tree(_path(module))) if isinstance(n, ast.ImportFrom))
        todo += [n.module for n in imports if n.module and n.module.startswith("seqocr.models.")]
    return found


def of_measuring(experiment: Any, method: str = "measure") -> dict[str, str]:
    """The digest of what a method of an experiment reaches in its own module, methods and module's names alike."""
    path = Path(inspect.getfile(type(experiment)))
    tree = _tree(path)
    own = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == type(experiment).__name__)
    methods = {n.name: n for n in own.body if isinstance(n, ast.FunctionDef)}
    names = {name: n for n in tree.body if n is not own for name in _defined(n)}
    reached: dict[int, ast.AST] = {}
    todo: list[ast.AST] = [methods[method]]
    while todo:
        node = todo.pop()
        if id(node) in reached:
            continue
        reached[id(node)] = node
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id in names:
                todo.append(names[each.id])
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
                todo += [methods[each.attr]] if each.attr in methods else []
    ordered = sorted(reached.values(), key=lambda node: getattr(node, "lineno", 0))
    return {path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name: digest_of(ordered)}


def _defined(node: ast.AST) -> list[str]:
    """The names that a statement of a module defines, other than by importing."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [t.id for t in targets if isinstance(t, ast.Name)]


def of_calibration(folder: Path) -> Any:
    """What makes a recognizer's confidences honest; None where nothing does."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return config.get("provenance", {}).get(KEY)


@cache
def of_weights(folder: Path) -> str:
    """The digest of a recognizer's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]
