"""Kinds of print: what each is printed on, with which typefaces and colours, and what becomes of its ink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFont

from seqocr.data.synthetic.renderers.prints import materials, print_ink

CAPITALS = 0.71  # height of a digit, in ems, of most typefaces
_SCREENS = (  # ground and dots of displays made of dots
    ((150, 180, 20), (30, 40, 20)),
    ((190, 200, 190), (40, 40, 50)),
    ((20, 50, 200), (230, 240, 255)),
    ((15, 15, 15), (255, 140, 0)),
    ((25, 5, 5), (255, 40, 30)),
    ((8, 20, 8), (60, 255, 90)),
    ((0, 0, 0), (240, 240, 240)),
)
_PLATES = (  # ground and ink of number plates
    ((240, 240, 238), (15, 15, 20)),
    ((250, 200, 10), (10, 10, 10)),
    ((15, 15, 15), (225, 225, 225)),
    ((20, 50, 140), (240, 240, 240)),
    ((240, 240, 240), (170, 20, 20)),
    ((30, 110, 60), (240, 240, 240)),
)


@dataclass(frozen=True)
class Line:
    """Text as ink, before it is on anything.

    Attributes:
        mask: coverage (h, w) float32 in [0, 1]; starts: left edges (n,) of the symbols; em: pixels.
        face: that the text is set in.
        ground, ink: colours (3,) that belong together; None: any.
    """

    text: str
    mask: np.ndarray
    starts: np.ndarray
    em: int
    face: ImageFont.FreeTypeFont
    ground: np.ndarray | None = None
    ink: np.ndarray | None = None


Effect = Callable[[Line, np.random.Generator], Line]


@dataclass(frozen=True)
class Look:
    """A kind of print.

    Attributes:
        share: how often, against the others; kinds: of fonts; grounds: that it is on.
        effect: what makes the ink of this kind; cells: chance of fixed cells.
        colours: chances of dark ink, of any colour that stands out, of one as bright as its ground.
        outline: chance of an outline or a shadow; forms: of rules or boxes; beside: of words or units.
        rows: chance of rows above or below that are cut off; frame: of a border; jumpy: symbols off the line, in ems.
    """

    share: float
    kinds: tuple[str, ...]
    grounds: tuple[materials.Ground, ...]
    effect: Effect
    cells: float = 0.1
    colours: tuple[float, float, float] = (0.8, 0.2, 0.0)
    outline: float = 0.0
    forms: float = 0.0
    beside: float = 0.2
    rows: float = 0.15
    frame: float = 0.0
    jumpy: float = 0.0
    bars: float = 0.0


def _crisp(line: Line, rng: np.random.Generator) -> Line:
    if rng.random() < 0.2:
        return replace(line, mask=(line.mask > 0.5).astype(np.float32))  # no grey at the edges
    return line


def _offset(line: Line, rng: np.random.Generator) -> Line:
    return replace(line, mask=print_ink.spread(line.mask, rng.uniform(0.3, 0.035 * line.em), rng))


def _faded(line: Line, rng: np.random.Generator) -> Line:
    return replace(line, mask=print_ink.fade(line.mask, rng.uniform(0.1, 0.7), rng.uniform(2, 3 * line.em), rng))


def _thermal(line: Line, rng: np.random.Generator) -> Line:
    if rng.random() < 0.5 and line.em > 30:
        line = replace(line, mask=print_ink.coarse_dots(line.mask, 2 if line.em < 50 else 3, rng))
    return _faded(line, rng) if rng.random() < 0.7 else line


def _needle(line: Line, rng: np.random.Generator) -> Line:
    if print_ink.has_dots(line.text) and rng.random() < 0.5:
        mask = print_ink.dot_matrix(line.text, line.em * CAPITALS, rng)
        line = replace(line, mask=mask, starts=np.linspace(0, mask.shape[1], len(line.text) + 1)[:-1])
    elif line.em > 30:
        line = replace(line, mask=print_ink.coarse_dots(line.mask, 2 if line.em < 56 else 3, rng))
    if rng.random() < 0.5:
        line = _faded(line, rng)
    return line


def _typed(line: Line, rng: np.random.Generator) -> Line:
    mask = print_ink.by_symbol(line.mask, line.starts, rng.uniform(rng.uniform(0.4, 1), 1, len(line.text)))
    if rng.random() < 0.7:
        mask = mask.max() * print_ink.spread(mask, rng.uniform(0.4, 0.05 * line.em), rng)
    return replace(line, mask=print_ink.fade(mask, rng.uniform(0, 0.6), rng.uniform(2, 6), rng))


def _stamped(line: Line, rng: np.random.Generator) -> Line:
    mask = print_ink.spread(line.mask, rng.uniform(0.5, 0.05 * line.em), rng)
    mask = print_ink.fade(mask, rng.uniform(0.2, 0.85), rng.uniform(1.5, 0.6 * line.em), rng)
    angle = float(np.clip(rng.normal(0, 3), -12, 12)) * min(1, 5 / len(line.text))
    turned = Image.fromarray((mask * 255).astype(np.uint8)).rotate(angle, Image.Resampling.BILINEAR, expand=True)
    return replace(line, mask=np.asarray(turned, np.float32) / 255)


def _stencilled(line: Line, rng: np.random.Generator) -> Line:
    mask = print_ink.stencil(line.mask, line.starts, rng)
    return _faded(replace(line, mask=mask), rng) if rng.random() < 0.5 else replace(line, mask=mask)


def _dotted(line: Line, rng: np.random.Generator) -> Line:
    if not print_ink.has_dots(line.text):
        return line
    ground, ink = _SCREENS[int(rng.integers(len(_SCREENS)))]
    dots = print_ink.dot_matrix(line.text, line.em * CAPITALS, rng)
    jitter = rng.uniform(-15, 15, 3)
    return replace(line, mask=dots, ground=np.array(ground) + jitter, ink=np.array(ink) + jitter)


def _plate(line: Line, rng: np.random.Generator) -> Line:
    ground, ink = (np.array(tone) for tone in _PLATES[int(rng.integers(len(_PLATES)))])
    return replace(_crisp(line, rng), ground=ground + rng.uniform(-20, 10, 3), ink=ink + rng.uniform(-10, 40))


_PAPERS = (materials.white_paper, materials.rough_paper)
_ALL = ("print", "mono", "narrow", "display")
LOOKS = (
    Look(14, ("print",), (*_PAPERS, materials.guilloche), _crisp, forms=0.1),
    Look(10, ("print", "narrow"), (materials.white_paper,), _offset, forms=0.75, beside=0.35, rows=0.3),
    Look(5, ("print",), (materials.rough_paper,), _offset, rows=0.5),
    Look(9, ("mono", "print"), (materials.white_paper,), _thermal, cells=0.4, beside=0.4, rows=0.4),
    Look(7, ("mono",), _PAPERS, _needle, cells=0.5, colours=(0.7, 0.3, 0), rows=0.3),
    Look(8, ("mono",), _PAPERS, _typed, cells=0.8, rows=0.25, jumpy=0.025, forms=0.15),
    Look(6, ("print", "mono"), (materials.white_paper,), _crisp, cells=0.5, bars=0.9, beside=0.05, rows=0.05),
    Look(8, _ALL, (materials.coloured_paper,), _offset, colours=(0.5, 0.5, 0), beside=0.45, frame=0.2),
    Look(6, ("print", "display", "narrow"), (materials.enamel, materials.wood, materials.stone), _crisp,
         colours=(0.4, 0.6, 0), frame=0.35, outline=0.2, beside=0.05, rows=0),
    Look(4, ("display", "narrow", "print"), (materials.cloth,), _crisp, colours=(0.3, 0.7, 0), outline=0.6, rows=0),
    Look(9, ("print", "mono", "narrow"), (materials.screen,), _crisp, colours=(0.5, 0.5, 0), frame=0.2, beside=0.3),
    Look(5, ("print", "narrow"), (materials.picture,), _crisp, colours=(0, 1, 0), outline=1, beside=0.1, rows=0.1),
    Look(6, ("narrow", "display", "print"), (materials.enamel,), _plate, cells=0.4, frame=0.5, beside=0.1, rows=0),
    Look(4, ("display", "narrow", "print"), (materials.wood, materials.metal, materials.stone, materials.enamel),
         _stencilled, colours=(0.5, 0.5, 0), beside=0.05, rows=0),
    Look(6, ("print", "mono", "narrow"), (*_PAPERS, materials.coloured_paper), _stamped, colours=(0.4, 0.6, 0),
         forms=0.2, frame=0.1, jumpy=0.02),
    Look(6, _ALL, (materials.coloured_paper, materials.screen), _crisp, colours=(0, 0.5, 0.5)),
    Look(6, ("mono",), (materials.screen,), _dotted, beside=0.05, rows=0.05),
    Look(4, _ALL, (materials.metal, materials.cloth, materials.enamel, materials.stone), _faded,
         colours=(0.3, 0.7, 0), outline=0.3, rows=0.05),
)  # fmt: skip
