"""One colour per decoding strategy, in page and plots: Okabe and Ito's, distinct for people with any colour vision."""

from collections.abc import Iterable
from itertools import cycle

_OURS = {
    "ar-generate": "#D55E00",
    "ar": "#E69F00",
    "ar-nocache": "#CC79A7",
    "ar-speculative": "#0072B2",
    "parallel": "#009E73",
    "ctc": "#56B4E9",
    "ctc-beam": "#B59F00",
}
_OTHERS = ("#7B4EA3", "#A04000", "#1B9E77")


def colours_of(strategies: Iterable[str]) -> dict[str, str]:
    """By name: our own strategies always have the same colour, those of other packages what is left, in order."""
    others = cycle(_OTHERS)
    return {name: _OURS.get(name) or next(others) for name in strategies}
