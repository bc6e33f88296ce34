"""How the library hangs together."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import seqocr

ROOT = Path(seqocr.__file__).parent
MODULES = {".".join(("seqocr", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, also inside functions; not those for type checks alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {found for name in names for found in (name, f"{name}.__init__") if found in MODULES}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: imported(path) - {name} for name, path in MODULES.items()}
    assert graph["seqocr.inference.load"] >= {"seqocr.models.checkpoint", "seqocr.inference.onnx"}
    del graph["seqocr.__init__"]  # it imports nothing of ours but on demand
    list(TopologicalSorter({name: found - {"seqocr.__init__"} for name, found in graph.items()}).static_order())


def test_the_library_does_not_import_the_bench() -> None:
    for path in MODULES.values():
        assert "import bench" not in path.read_text()
        assert "from bench" not in path.read_text()
