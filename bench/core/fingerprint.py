"""How code behaves, as digests that do not depend on its text, on names, on the machine, or on the values of weights
beyond the length of a text that they decode where none is imposed (a CTC head's).

A call is described by the operators that PyTorch dispatches for it, in their order, with shapes and dtypes, and with
strides where a tensor is not contiguous. An extra decoder pass, a cache that is not used or a loop over symbols shows;
time spent in plain Python does not (`make bench-check` measures that).
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqocr.decoding.calibration import KEY
from seqocr.files import file_sum

_LIBRARIES = ("torch", "transformers")  # which decide, by their versions, what an operator is
# Bookkeeping of conversions to NumPy and Python.
_IGNORED = ("resolve_conj", "resolve_neg", "lift_fresh", "detach", "detach_")
_TOLERANCE = 1e-5  # of losses


def of_calibration(folder: Path) -> Any:
    """What calibrates a recognizer's confidences; None where nothing does."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return config.get("provenance", {}).get(KEY)


@cache
def of_weights(folder: Path) -> str:
    """The digest of a recognizer's weights."""
    return file_sum(folder / "model.safetensors")[:16]


def of_graph_files(folder: Path) -> str:
    """The digest of exported graphs, each under its name, whatever their config says; empty where there are none."""
    sums = [f"{path.name} {file_sum(path)}" for path in sorted(folder.glob("*.onnx"))]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:16] if sums else ""


@cache
def libraries() -> dict[str, str]:
    """Versions, without which two fingerprints cannot be compared."""
    return {name: version(name).split("+")[0] for name in _LIBRARIES}


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        converts_nothing = name == "to" and (result.dtype, result.device) == (args[0].dtype, args[0].device)
        if name not in _IGNORED and not converts_nothing:
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
            self.digest.update(f"{name} {' '.join(map(_described, tensors))}\n".encode())
        return result


def _described(tensor: torch.Tensor) -> str:
    strides = "" if tensor.is_contiguous() else tensor.stride()
    return f"{tensor.dtype}{tuple(tensor.shape)}{strides}"


def of_call(work: Callable[[], object]) -> str:
    """The digest of the operators that a call dispatches, attention as plain matrix products."""
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), _Recorder() as recorder:
        work()
    return recorder.digest.hexdigest()[:16]


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what differs between two fingerprints; losses may by 1e-5 of their size."""
    return [name for name in sorted(before.keys() | after.keys()) if not _same(before.get(name), after.get(name))]


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, float) and isinstance(after, float):
        return abs(before - after) <= _TOLERANCE * max(1.0, abs(before))
    return bool(before == after)
