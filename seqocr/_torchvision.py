"""Let torchvision import beside a torch build that its compiled operators do not match.

There is no CPU-only wheel of torchvision on PyPI, so `pip install torch(+cpu) torchvision` leaves torchvision without
its C++ extension, and its import then fails while registering fake kernels for operators that do not exist
(`operator torchvision::nms does not exist`). Nothing here uses those operators. Declaring their schemas is enough for
datasets and transforms to work. On a matching install nothing is declared.
"""

import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[Any] = []  # a torch.library.Library withdraws its schemas when it is collected


def watch() -> None:
    """Declare what is missing as soon as anyone imports torchvision.

    Not at once: torch takes seconds to load, and reading exported graphs does without.
    """
    if "torchvision" not in sys.modules and not any(isinstance(each, _Watch) for each in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


class _Watch(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """None: finding it is left to the finders behind."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            spec = PathFinder.find_spec(name)
            if spec is not None and spec.origin is not None:
                _declare_missing(Path(spec.origin).parent)
        return None


def _declare_missing(folder: Path) -> None:
    import torch

    for extension in folder.glob("_C*.so"):
        with suppress(OSError):  # built for another torch
            torch.ops.load_library(extension)
    if not hasattr(torch.ops.torchvision, "nms"):
        _libraries.append(library := torch.library.Library("torchvision", "DEF"))
        for schema in _SCHEMAS:
            library.define(schema)
