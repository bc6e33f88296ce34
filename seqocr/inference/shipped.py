"""The weights that come with seqocr, by name. Beside `tiny` and `strings`, in `onnx`, are graphs of their one-pass
heads."""

from pathlib import Path

_WEIGHTS = Path(__file__).parent.parent / "weights"
SHIPPED = _WEIGHTS / "tiny"  # reads five digits on a grid: the benchmark's task
READER = _WEIGHTS / "strings"  # reads lines by hand as they come
NUMBERS = _WEIGHTS / "numbers"  # reads print, displays, wheels and cards too; still in training
_NAMES = {"tiny": SHIPPED, "strings": READER, "numbers": NUMBERS, None: READER}
SHIPPED_NAMES = tuple(name for name in _NAMES if name)


def weights_path(name: str | None) -> Path:
    """The directory of weights: of those that come with seqocr ("tiny", "strings", the default, "numbers"), or one
    of your own."""
    return _NAMES.get(name) or Path(str(name))


def graphs_path(name: str | None) -> Path:
    """The directory of exported graphs: those beside weights that come with seqocr, or one of your own."""
    return weights_path(name) / "onnx" if name in _NAMES else Path(str(name))
