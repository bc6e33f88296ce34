"""The weights that come with seqocr, by name. Beside each, in `onnx`, are graphs of their one-pass heads."""

from pathlib import Path

_WEIGHTS = Path(__file__).parent.parent / "weights"
SHIPPED = _WEIGHTS / "tiny"  # reads five digits on a grid: the benchmark's task
READER = _WEIGHTS / "strings"  # reads 1 to 10 digits by hand; what the benchmark measures
DEFAULT = "numbers"  # reads numbers of any look, of up to 24 digits
_NAMES = {"tiny": SHIPPED, "strings": READER, DEFAULT: _WEIGHTS / DEFAULT}
SHIPPED_NAMES = tuple(_NAMES)


def weights_path(name: str | None) -> Path:
    """The directory of weights: of those that come with seqocr ("tiny", "strings", or "numbers", the default), or one
    of your own."""
    return _NAMES.get(DEFAULT if name is None else name) or Path(str(name))


def graphs_path(name: str | None) -> Path:
    """The directory of exported graphs: those beside weights that come with seqocr, or one of your own."""
    return weights_path(name) / "onnx" if name is None or name in _NAMES else Path(str(name))
