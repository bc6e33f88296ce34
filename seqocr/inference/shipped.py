"""Where weights lie: those that come with seqocr, by name, those of the hub, and your own. Beside the first two, in
`onnx`, are graphs of their one-pass heads."""

from pathlib import Path

from seqocr.errors import InputError
from seqocr.hub import fetch, is_hub_name

_WEIGHTS = Path(__file__).parent.parent / "weights"
SHIPPED = _WEIGHTS / "tiny"  # reads five digits on a grid: the benchmark's task
READER = _WEIGHTS / "strings"  # reads 1 to 10 digits by hand; what the benchmark measures
DEFAULT = "numbers"  # reads numbers of any look, of up to 24 digits
_NAMES = {"tiny": SHIPPED, "strings": READER, DEFAULT: _WEIGHTS / DEFAULT}
SHIPPED_NAMES = tuple(_NAMES)


def weights_path(name: Path | str | None) -> Path:
    """The directory of weights: of those that come with seqocr ("tiny", "strings", or "numbers", the default), of the
    hub's (USER/NAME, downloaded unless they were before), or one of your own.

    Raises:
        InputError: as of `seqocr.hub.fetch`; or the benchmark's weights are asked for where the package alone is
            installed, which leaves them out.
    """
    if name is None or name in _NAMES:
        directory = _NAMES[str(name or DEFAULT)]
        if not directory.is_dir():
            raise InputError(
                f"the weights {name!r} are the benchmark's, which are in seqocr's repository and not in the package: "
                f"name others ({READER.name}, {DEFAULT}), or run this in a clone"
            )
        return directory
    return fetch(name) if isinstance(name, str) and is_hub_name(name) else Path(name)


def graphs_path(name: Path | str | None) -> Path:
    """The directory of exported graphs: those published beside weights, or one of your own."""
    directory = weights_path(name)
    is_published = name is None or Path(name) != directory
    return directory / "onnx" if is_published and (directory / "onnx").is_dir() else directory
