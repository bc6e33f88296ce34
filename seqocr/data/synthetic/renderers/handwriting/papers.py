"""What is written on by hand: old paper with rules and stains, forms, notebooks, notes, boards; and microfilm of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from seqocr.data.synthetic.renderers.base import blend, smooth_noise
from seqocr.data.synthetic.renderers.handwriting.pens import Canvas, Pen

_PAPERS = ((236, 226, 202), (222, 202, 164), (206, 200, 190), (241, 237, 226), (198, 206, 208), (232, 214, 186))
_OLD_INKS = ((38, 30, 28), (72, 48, 30), (104, 74, 46), (44, 46, 66), (20, 20, 22), (92, 84, 78), (120, 96, 70))
_RULES = ((160, 70, 66), (96, 116, 160), (60, 54, 52), (120, 100, 84), (150, 160, 190))
_PENS = ((24, 38, 120), (20, 20, 26), (30, 30, 150), (160, 24, 30), (20, 90, 50), (60, 20, 110))
_NOTES = ((250, 236, 110), (255, 170, 190), (170, 226, 150), (150, 210, 246), (255, 190, 110))
_CHALKS = ((240, 240, 232), (250, 236, 150), (250, 190, 200), (180, 220, 250))
_DROP_OUTS = ((226, 140, 130), (150, 190, 160), (150, 180, 220), (120, 120, 120), (40, 40, 40), (232, 180, 120))

_BANK = (512, 2048)  # pixels: of noise kept in memory
_CELLS = (1.0, 1.5, 2.5, 4.0, 7.0, 12.0, 20.0, 32.0, 50.0)  # pixels over which it changes


@dataclass(frozen=True)
class Sheet:
    """Where a line stands on a page, in pixels from the upper left corner of what is cut out.

    Attributes:
        height, width: of the image; base: the baseline; digit: height of a digit; left, right: ends of the text.
        pitch: from one row's baseline to the next; cells: edges of the digits' cells, if they are in cells.
    """

    height: int
    width: int
    base: float
    digit: float
    left: float
    right: float
    pitch: float
    cells: tuple[float, ...] = ()


def cloud(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> np.ndarray:
    """Noise (h, w) float32 in [-1, 1] that changes over about `cell` pixels: a part of some that is kept in memory."""
    bank = _bank(int(np.abs(np.array(_CELLS) - cell).argmin()))
    # Within it: its ends do not fit each other.
    down, right = (int(rng.integers(max(1, side - n))) for side, n in zip(_BANK, shape, strict=True))
    if down + shape[0] > _BANK[0] or right + shape[1] > _BANK[1]:
        rows, columns = (at + np.arange(n) for at, n in ((down, shape[0]), (right, shape[1])))
        return np.asarray(bank.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap"))
    return bank[down : down + shape[0], right : right + shape[1]]


@cache
def _bank(level: int) -> np.ndarray:
    """Noise (_BANK) of one of `_CELLS`."""
    rng, cell = np.random.default_rng(level), _CELLS[level]
    return smooth_noise(_BANK, cell, rng) if cell > 1 else rng.uniform(-1, 1, _BANK).astype(np.float32)


def old_ink(rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) float32 of iron gall ink, faded, black or blue; seldom red, or a pencil's."""
    if rng.random() < 0.06:
        ink = np.array((150, 50, 44), np.float32)
    else:
        ink = np.array(_OLD_INKS[int(rng.integers(len(_OLD_INKS)))], np.float32)
    return (ink + rng.normal(0, 8, 3)).clip(0, 255).astype(np.float32)


def modern_ink(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) float32 of a modern pen of that kind."""
    if kind == "pencil":
        return np.full(3, rng.uniform(50, 110), np.float32)
    of = _CHALKS if kind == "chalk" else _PENS
    at = int(rng.integers(len(of))) if rng.random() < 0.5 else int(rng.integers(2))
    return (np.array(of[at]) + rng.normal(0, 10, 3)).clip(0, 255).astype(np.float32)


def old_paper(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """Yellowed, cloudy, stained paper, (h, w, 3) float32."""
    first, second = (np.array(_PAPERS[int(i)], np.float32) for i in rng.integers(len(_PAPERS), size=2))
    base = (first + (second - first) * rng.uniform(0, 1)) * rng.uniform(0.72, 1.05)
    dirty = rng.uniform(0, 1) ** 1.5
    shade = 1 + (0.02 + 0.09 * dirty) * cloud((h, w), float(rng.uniform(15, 60)), rng)
    shade += (0.01 + 0.06 * dirty) * cloud((h, w), float(rng.uniform(2, 5)), rng)
    shade += float(rng.uniform(0, 0.06)) * cloud((h, w), 1, rng)
    page = base * shade[..., None]
    if rng.random() < 0.2:  # foxing, damp
        stain = (cloud((h, w), float(rng.uniform(8, 40)), rng) - rng.uniform(0.1, 0.6)).clip(0, 0.5)
        page = page * (1 - stain[..., None] * np.array((0.25, 0.45, 0.7), np.float32) * rng.uniform(0.4, 1.3))
    if rng.random() < 0.2:  # the gutter, or the shade of the page's edge
        fall = np.linspace(0, 1, w, dtype=np.float32)[:: int(rng.choice((-1, 1)))] ** float(rng.uniform(1, 6))
        page = page * (1 - float(rng.uniform(0.1, 0.5)) * fall[:, None])
    if rng.random() < 0.08:  # a fold
        at, lean = rng.uniform(0, w), rng.uniform(-0.3, 0.3)
        away = np.arange(w) - at - lean * np.arange(h)[:, None]
        page = page * (1 - float(rng.uniform(-0.15, 0.25)) * np.exp(-np.abs(away) / 1.5))[..., None]
    return page.astype(np.float32)


def plain(h: int, w: int, colour: np.ndarray, rng: np.random.Generator, rough: float = 0.02) -> np.ndarray:
    """An even ground of a colour, a little shaded, (h, w, 3) float32."""
    shade = 1 + float(rng.uniform(0, 0.08)) * cloud((h, w), 50, rng)
    shade += float(rng.uniform(0, rough)) * cloud((h, w), 1, rng)
    return (colour * shade[..., None]).astype(np.float32)


def rule_register(page: np.ndarray, sheet: Sheet, rng: np.random.Generator) -> np.ndarray:
    """Rules of a register: rows, columns, double ones, at the edges or through the digits."""
    rows, columns = Canvas(sheet.height, sheet.width), Canvas(sheet.height, sheet.width)
    d, thick = sheet.digit, float(rng.uniform(0.4, 1.3))
    lean = float(rng.normal(0, 0.012)) * sheet.width
    if rng.random() < 0.75:
        at = sheet.base + float(rng.choice((0.03, 0.12, 0.25))) * d + float(rng.normal(0, 0.05)) * d
        for y in (at, at - sheet.pitch, at + sheet.pitch):
            rows.line((-2, y - lean), (sheet.width + 2, y + lean), thick)
            if rng.random() < 0.08:
                rows.line((-2, y - lean + 2.5), (sheet.width + 2, y + lean + 2.5), thick)
    for side, way in ((sheet.left, -1), (sheet.right, 1)):
        if rng.random() < 0.5:
            x = side + way * abs(float(rng.normal(0, 0.3))) * d - way * 0.06 * d
            tilt = float(rng.normal(0, 0.02)) * sheet.height
            heavy = thick * float(rng.uniform(0.8, 1.8))
            for shift in (0, way * float(rng.uniform(2, 4))) if rng.random() < 0.35 else (0,):
                columns.line((x + shift - tilt, -2), (x + shift + tilt, sheet.height + 2), heavy)
    for canvas in (rows, columns):
        colour = np.array(_RULES[int(rng.integers(len(_RULES)))], np.float32)
        page = blend(page, colour, canvas.ink() * float(rng.uniform(0.25, 0.9)))
    return page


def rule_form(page: np.ndarray, sheet: Sheet, rng: np.random.Generator) -> np.ndarray:
    """Cells of a form: boxes, a comb, a dotted or plain line, a table's cell."""
    canvas, d = Canvas(sheet.height, sheet.width), sheet.digit
    thick = float(rng.uniform(0.5, 1.5))
    top, low = sheet.base - d * float(rng.uniform(1.12, 1.4)), sheet.base + d * float(rng.uniform(0.1, 0.3))
    if sheet.cells:
        first, last, comb = sheet.cells[0], sheet.cells[-1], rng.random() < 0.35
        apart = float(rng.uniform(1, 3)) if rng.random() < 0.3 else 0.0
        for x in sheet.cells:
            start = low - 0.35 * d if comb else top
            for shift in (-apart, apart) if apart else (0.0,):
                canvas.line((x + shift, start), (x + shift, low), thick)
        for y in (low,) if comb else (top, low):
            canvas.line((first, y), (last, y), thick)
    elif rng.random() < 0.5:
        dotted = rng.random() < 0.4
        step = float(rng.uniform(2, 4)) if dotted else sheet.width + 4
        for x in np.arange(-2, sheet.width + 2, step):
            canvas.line((float(x), low), (float(x) + (step / 2 if dotted else step), low), thick)
    else:
        for x in (sheet.left - 0.25 * d, sheet.right + 0.25 * d):
            canvas.line((x, -2), (x, sheet.height + 2), thick)
        for y in (top, low):
            canvas.line((-2, y), (sheet.width + 2, y), thick)
    colour = np.array(_DROP_OUTS[int(rng.integers(len(_DROP_OUTS)))], np.float32)
    return blend(page, colour, canvas.ink() * float(rng.uniform(0.5, 1)))


def rule_notebook(page: np.ndarray, sheet: Sheet, rng: np.random.Generator) -> np.ndarray:
    """Lines, squares or dots of a notebook, and sometimes its red margin."""
    canvas, pitch = Canvas(sheet.height, sheet.width), sheet.digit * float(rng.uniform(0.45, 1.5))
    kind, thick = ("lines", "lines", "squares", "dots")[int(rng.integers(4))], float(rng.uniform(0.4, 1))
    ys = np.arange(sheet.base + 0.08 * sheet.digit - 9 * pitch, sheet.height + 2, pitch)
    xs = np.arange(-pitch * float(rng.random()), sheet.width + 2, pitch)
    if kind == "dots":
        for y in ys[ys > -2]:
            for x in xs:
                canvas.disc(np.array((x, y)), 0.7, 255)
    else:
        for y in ys:
            canvas.line((-2, float(y)), (sheet.width + 2, float(y)), thick)
        for x in xs if kind == "squares" else ():
            canvas.line((float(x), -2), (float(x), sheet.height + 2), thick)
    colour = np.array((_RULES[1], _RULES[4], (150, 150, 150), (120, 190, 200))[int(rng.integers(4))], np.float32)
    page = blend(page, colour, canvas.ink() * float(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.15:
        margin, x = Canvas(sheet.height, sheet.width), sheet.left - 0.3 * sheet.digit
        margin.line((x, -2), (x, sheet.height + 2), 1.0)
        page = blend(page, np.array((220, 90, 90), np.float32), margin.ink() * 0.8)
    return page


def modern_page(look: str, sheet: Sheet, rng: np.random.Generator) -> np.ndarray:
    """A "form", "notebook", "note", "whiteboard", "blackboard" or "card", (h, w, 3) float32."""
    h, w = sheet.height, sheet.width
    white = np.full(3, rng.uniform(205, 255), np.float32) + rng.uniform(-12, 6, 3).astype(np.float32)
    if look == "form":
        return rule_form(plain(h, w, white, rng), sheet, rng)
    if look == "notebook":
        return rule_notebook(plain(h, w, white, rng), sheet, rng)
    if look == "note":
        colour = np.array(_NOTES[int(rng.integers(len(_NOTES)))], np.float32) * rng.uniform(0.75, 1)
        return plain(h, w, colour.astype(np.float32), rng, 0.015)
    if look == "card":  # parcels, envelopes, labels
        kraft = np.array((196, 160, 116), np.float32) * float(rng.uniform(0.8, 1.2))
        page = plain(h, w, kraft, rng, 0.05)
        return page * (1 + 0.06 * cloud((h, w), 3, rng)[..., None])
    smear = cloud((h, w), float(rng.uniform(6, 30)), rng)[..., None]
    if look == "blackboard":
        slate = np.array(((40, 66, 54), (44, 46, 48), (30, 40, 36))[int(rng.integers(3))], np.float32)
        return plain(h, w, slate, rng, 0.06) + float(rng.uniform(0, 30)) * (smear + 0.5)
    board = plain(h, w, white * float(rng.uniform(0.75, 1)), rng, 0.01)
    ghost = np.array(_PENS[int(rng.integers(len(_PENS)))], np.float32)
    return blend(board, ghost, (smear[..., 0] * float(rng.uniform(0, 0.15))).clip(0, 1))


def put_ink(
    page: np.ndarray, ink: np.ndarray, colour: np.ndarray, pen: Pen, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
    """Put ink (h, w) in [0, 1] on a page: uneven, run, and less where the ground is rough."""
    shape = ink.shape
    if rng.random() < 0.35 and not pen.opaque:  # run into the paper
        soft = np.asarray(Image.fromarray((ink * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(1)), np.float32)
        run = soft / 255 + float(rng.uniform(0, 0.25)) * cloud(shape, 2.5, rng) * (soft > 0)
        ink = ink + ((run * 1.5 - 0.2).clip(0, 1) - ink) * float(rng.uniform(0.2, 0.9))
    dense = 1 - float(rng.uniform(0, 0.35)) * (0.5 + 0.5 * cloud(shape, float(rng.uniform(4, 20)), rng))
    if pen.grain:
        rough = 0.7 * cloud(shape, 1, rng) + 0.6 * cloud(shape, 2.5, rng)
        dense = dense * (1 - pen.grain * rough.clip(0, 1))
    ink = (ink * dense * strength).clip(0, 1)
    if pen.opaque:
        return blend(page, colour, ink)
    return page * (1 - ink[..., None] * (1 - colour / 255))


def microfilm(page: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A page as a microfilm's scan: grey, hard, dirty; seldom a negative. (h, w, 3) float32."""
    grey = page.mean(2)
    low, high = np.quantile(grey, (0.01, 0.8))
    grey = (grey - low) / max(float(high - low), 8.0)
    grey = grey + float(rng.uniform(0, 0.12)) * cloud(grey.shape, 1, rng)
    middle, hard = float(rng.uniform(0.35, 0.75)), float(rng.uniform(3, 16))
    grey = 1 / (1 + np.exp(-hard * (grey - middle)))
    specks = rng.random(grey.shape) < float(rng.uniform(0, 0.004))
    grey = np.where(specks, rng.uniform(0, 1), grey)
    dark, light = float(rng.uniform(0, 70)), float(rng.uniform(170, 255))
    grey = dark + (light - dark) * grey
    if rng.random() < 0.06:
        grey = 255 - grey
    tint = np.array((1, 1, 1), np.float32) if rng.random() < 0.8 else np.array((1, 0.97, 0.9), np.float32)
    return (grey[..., None] * tint).astype(np.float32)
