"""Let torchvision import beside a torch build that its compiled operators do not match.

There is no CPU-only wheel of torchvision on PyPI, so `pip install torch(+cpu) torchvision` leaves torchvision without
its C++ extension, and its import then fails while registering fake kernels for operators that do not exist
(`operator torchvision::nms does not exist`). Nothing here uses those operators. Declaring their schemas is enough for
datasets and transforms to work. On a matching install the plain import succeeds and nothing is touched.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[Any] = []  # a torch.library.Library withdraws its schemas when it is collected


def watch() -> None:
    """From now on whoever imports torchvision gets it from `import_torchvision`.

    Not at once: torch takes seconds to load, and reading exported graphs does without.
    """
    if "torchvision" not in sys.modules and not any(isinstance(each, _Watch) for each in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


class _Watch(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision, once."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        if importlib.machinery.PathFinder.find_spec(name) is None:
            return None  # it is not installed: the import fails as it would
        import_torchvision()
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = sys.modules[spec.name]
        # Python writes the spec of what it loads into the module: that is to stay torchvision's own.
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own


def import_torchvision() -> None:
    """Import torchvision, declaring the missing operator schemas if, and only if, the plain import fails.

    Raises:
        RuntimeError: whatever torchvision raises when the missing schemas were not the reason.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torch

        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        _libraries.append(library)
        import torchvision  # noqa: F401
