"""Let torchvision import beside a torch build that its compiled operators do not match.

There is no CPU-only wheel of torchvision on PyPI, so `pip install torch(+cpu) torchvision` leaves torchvision without
its C++ extension, and its import then fails while registering fake kernels for operators that do not exist
(`operator torchvision::nms does not exist`). Nothing here uses those operators. Declaring their schemas is enough for
datasets and transforms to work. On a matching install the plain import succeeds and nothing is touched.
"""

from __future__ import annotations

import sys

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []  # a Library withdraws its schemas when it is collected


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
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        _libraries.append(library)
        import torchvision  # noqa: F401
