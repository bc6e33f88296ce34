"""How the two packages hang together: imports run one way, also those inside functions."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in ("seqocr", "bench")
    for path in (ROOT / package).rglob("*.py")
}
# A room imports itself and those of lines above its own.
ORDER = """
    seqocr.errors seqocr.version seqocr.palette seqocr.statistics seqocr._torchvision seqocr.environment
    seqocr.processes seqocr.progress seqocr.files seqocr.metrics
    seqocr.hub seqocr.plugins
    seqocr.decoding seqocr.data
    seqocr.models
    seqocr.inference
    seqocr.train seqocr.batch seqocr.serving seqocr.advice
    seqocr.demo
    seqocr.cli
    seqocr.__main__
    bench.core
    bench.workloads bench.backends
    bench.peers
    bench.study
    bench.experiments
    bench.report
    bench.runner bench.regression bench.two_sample bench.verify bench.community
    bench.repeat bench.compare
    bench.__main__
"""
LEVEL = {room: level for level, rooms in enumerate(ORDER.strip().splitlines()) for room in rooms.split()}
PACKAGES = {"seqocr.__init__", "bench.__init__"}  # they import nothing of ours but a version, or on demand


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, also inside functions; not those for type checks alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= within if within <= MODULES.keys() else {*within, str(node.module)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {found for name in names for found in (name, f"{name}.__init__") if found in MODULES}


GRAPH = {name: imported(path) - {name} - PACKAGES for name, path in MODULES.items() if name not in PACKAGES}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_imports_run_one_way(module):
    wrong = {
        other for other in GRAPH[module] if room(other) != room(module) and LEVEL[room(other)] >= LEVEL[room(module)]
    }
    assert not wrong


def test_no_module_imports_itself_in_a_circle():
    assert GRAPH["seqocr.inference.load"] >= {"seqocr.models.checkpoint", "seqocr.inference.onnx"}
    list(TopologicalSorter(GRAPH).static_order())


def test_no_module_imports_anothers_private_names():
    private = [
        f"{module} imports {node.module}.{alias.name}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("seqocr", "bench")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.endswith("__") and alias.name != "_torchvision"
    ]
    assert not private
