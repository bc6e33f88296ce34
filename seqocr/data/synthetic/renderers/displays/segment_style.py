"""What digits of one display have in common, drawn at random: proportions, forms of digits, points, faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqocr.data.synthetic.renderers.displays.display_looks import choose
from seqocr.data.synthetic.renderers.displays.segment_shapes import (
    ENDS,
    FOURTEEN,
    FOURTEEN_FORMS,
    OTHER_FORMS,
    SEVEN,
    Shape,
)

ENDS_ODDS = np.array([4, 2, 6, 2, 2, 1.5, 2.5, 0.8])
# How often a display shows another form of a digit than the usual one.
OTHER_ODDS = {"6": 0.12, "9": 0.14, "7": 0.2, "1": 0.012}


@dataclass(frozen=True)
class Style:
    """What all digits of one display share, lengths in units of a digit's height.

    Attributes:
        space: between digits; dot: a point's radius; square: points have corners; inside: points have no cell.
        forms: segments (a string of names) of each symbol; half: a leading 1 has a cell of two segments alone.
        blanks: cells left of the text where nothing is lit; small: height of the digits after a point, 1 if as all are.
    """

    shape: Shape
    space: float
    dot: float
    square: bool
    inside: bool
    forms: dict[str, str]
    half: bool
    blanks: int
    small: float


def random_style(text: str, rng: np.random.Generator) -> Style:
    """A display that fits a text."""
    # Two displays of three have modest proportions, the rest anything from narrow to as wide as high.
    width = rng.normal(0.56, 0.06) if rng.random() < 0.65 else rng.uniform(0.38, 0.95)
    width = float(np.clip(width, 0.36, 1))
    ends = ENDS[choose(ENDS_ODDS, rng)]
    thick = rng.uniform(0.07, 0.17) if rng.random() < 0.7 else rng.uniform(0.045, 0.24)
    thick = float(min(thick, 0.31 * width))
    if ends == "dots":  # enough of them to a segment for it to be seen as one
        width, thick = max(width, 0.5), min(max(thick, 0.06), 0.095)
    gap = 0.0 if ends == "joined" else rng.uniform(0.004, 0.03) if rng.random() < 0.8 else rng.uniform(0.03, 0.05)
    slant = rng.uniform(0.08, 0.19) if rng.random() < 0.5 else rng.uniform(0, 0.27) if rng.random() < 0.3 else 0.0
    if ends == "open":  # or corners are so wide open that bars look like single lamps
        thick, gap = min(thick, 0.15, 0.24 * width), min(gap, 0.025)
    if ends == "block":  # or no height is left for its verticals
        thick = min(thick, 0.17)
    spokes = 7 if rng.random() < 0.9 or ends == "dots" else (14, 14, 16)[int(rng.integers(3))]
    corner = rng.uniform(0, 1) if rng.random() < 0.6 else 0.0
    waist = float(rng.random() < 0.5)
    shape = Shape(width, thick, float(gap), ends, float(corner), waist, float(slant), spokes)
    forms = dict(FOURTEEN if spokes > 7 else SEVEN)
    for symbol, odds in OTHER_ODDS.items():
        if rng.random() < odds:
            forms[symbol] = OTHER_FORMS[symbol].replace("g", "Gg" if spokes > 7 else "g")
    if spokes > 7:
        forms |= {symbol: form for symbol, form in FOURTEEN_FORMS.items() if rng.random() < 0.2}
    dot = float(np.clip(thick * rng.uniform(0.45, 0.85), 0.035, 0.12))
    inside = bool(rng.random() < 0.7)
    space = rng.uniform(0.1, 0.28) if rng.random() < 0.75 else rng.uniform(0.06 + thick / 2, 0.65)
    half = bool(text[0] == "1" and forms["1"] == "bc" and rng.random() < 0.2)
    blanks = int(rng.integers(1, 3)) if rng.random() < 0.15 and not half else 0
    small = float(rng.uniform(0.55, 0.85)) if rng.random() < 0.06 else 1.0
    return Style(shape, float(space), dot, bool(rng.random() < 0.4), inside, forms, half, blanks, small)


def failures(forms: dict[str, str], text: str, rng: np.random.Generator) -> dict[int, dict[str, float]]:
    """Brightness of segments that are weak or dead, by place: dead ones only where no other digit is as near."""
    if rng.random() > 0.06:
        return {}
    at = int(rng.integers(len(text)))
    lit = forms.get(text[at], "")
    if not text[at].isdigit() or not lit:
        return {}
    weak = lit[int(rng.integers(len(lit)))]
    rest = set(lit) - {weak}
    others = [set(form) for symbol, form in {**SEVEN, **forms}.items() if symbol != text[at]]
    others += [set(form) for symbol, form in OTHER_FORMS.items() if symbol != text[at]]
    clear = len(lit) > 2 and all(len(rest ^ other) > 1 for other in others)
    return {at: {weak: 0.0 if clear and rng.random() < 0.5 else rng.uniform(0.4, 0.75)}}
