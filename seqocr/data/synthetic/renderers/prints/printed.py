"""Printed numbers: paper, receipts, labels, signs, plates, cloth, screens, subtitles."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import colour, pad, to_image
from seqocr.data.synthetic.renderers.prints import clutter, materials, print_ink
from seqocr.data.synthetic.renderers.prints.print_looks import CAPITALS, LOOKS, Line, Look

_SHARES = np.array([look.share for look in LOOKS]) / sum(look.share for look in LOOKS)
_TRIES = 4  # typefaces looked at for one that has all symbols: some lack marks
_WIDEST = 800  # pixels: longer lines are drawn smaller
_SPACE = 0.24  # ems: a space is at least so wide, or nobody would write it down
_LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)
_APART = 50.0  # levels between colours that can be distinguished when photographed


def draw_print(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A printed number (h, w, 3) uint8: any kind of print, digits 14 to 60 px high."""
    look = LOOKS[int(rng.choice(len(LOOKS), p=_SHARES))]
    height = min(float(np.exp(rng.uniform(np.log(14), np.log(60)))), max(14.0, 1.5 * _WIDEST / max(1, len(text))))
    line = look.effect(_set(text, look, fonts, height, rng), rng)
    return _compose(line, look, fonts, rng)


def _set(text: str, look: Look, fonts: Fonts, height: float, rng: np.random.Generator) -> Line:
    """The text in a typeface, with a spacing, a weight and a slant."""
    em = max(12, 2 * round(height / CAPITALS / 2))
    face = fonts.face(rng, em, *look.kinds)
    for _ in range(_TRIES):
        if clutter.can_draw(face, text):
            break
        face = fonts.face(rng, em, *look.kinds)
    gaps = np.full(len(text), _tracking(rng) * em)
    blank = np.array([symbol == " " for symbol in text])
    gaps[blank] += max(0.0, _SPACE * em - face.getlength(" "))
    if text.isdigit() and len(text) > 3 and rng.random() < 0.1:  # 12 345 678, with thin spaces
        gaps[len(text) - 1 - int(rng.integers(2, 5)) :: -int(rng.integers(2, 5))] += rng.uniform(0.1, 0.22) * em
    down = rng.normal(0, look.jumpy * em, len(text)) if look.jumpy else np.zeros(len(text))
    pitch = rng.uniform(0.6, 1.1) * em if rng.random() < look.cells else 0.0
    stroke = int(rng.integers(1, 1 + max(1, em // 24))) if rng.random() < 0.1 else 0
    gaps += 2 * stroke  # or heavy symbols would run into each other
    mask, starts = print_ink.spaced_mask(text, face, gaps, down, pitch=pitch, stroke=stroke)
    if rng.random() < 0.12:
        slant = rng.uniform(0.08, 0.3) * (1 if rng.random() < 0.9 else -0.5)
        mask = print_ink.lean(mask, slant)
    if rng.random() < 0.25:  # condensed or wide
        stretch = float(np.exp(rng.normal(0, 0.15)))
        width = max(4, round(mask.shape[1] * stretch))
        picture = Image.fromarray((mask * 255).astype(np.uint8)).resize((width, mask.shape[0]))
        mask, starts = np.asarray(picture, np.float32) / 255, starts * stretch
    low = round(0.6 * em) - mask.shape[0]
    if low > 0:  # a dash alone takes a row of its own, too
        mask = pad(mask, 0, low // 2, 0, low - low // 2)
    return Line(text, mask, starts, em, face)


def _tracking(rng: np.random.Generator) -> float:
    """Ems between symbols: mostly as the typeface has it."""
    kind = rng.random()
    if kind < 0.55:
        return 0.0
    return float(
        rng.uniform(-0.05, 0.0) if kind < 0.75 else rng.uniform(0, 0.12) if kind < 0.92 else rng.uniform(0.1, 0.5)
    )


def _compose(line: Line, look: Look, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """The line on its ground, with what stands around it: (h, w, 3) uint8."""
    tall, wide = line.mask.shape
    left, top, right, bottom = (round(side) for side in _margins(tall, rng))
    prefix, suffix = _beside(line, look, fonts, rng)
    gap = round(rng.uniform(0.3, 0.8) * tall)
    left += prefix.shape[1] + gap if prefix is not None else 0
    right += suffix.shape[1] + gap if suffix is not None else 0
    barred = round(tall * rng.uniform(0.3, 1.2)) if rng.random() < look.bars else 0
    shape = (tall + top + bottom + barred, wide + left + right)
    top += barred
    mask, other = pad(line.mask, left, top, right, bottom), np.zeros(shape, np.float32)
    level = top + tall
    if prefix is not None:
        clutter.put(other, prefix, left - gap - prefix.shape[1], level - prefix.shape[0])
    if suffix is not None:
        clutter.put(other, suffix, left + wide + gap, level - suffix.shape[0] - rng.integers(2) * rng.integers(tall))
    if rng.random() < look.forms:
        np.maximum(other, clutter.rules(shape, top, level, rng), out=other)
        if len(line.text) > 2 and rng.random() < 0.4:
            _rule_cells(other, line, (left, level), rng)
    if barred:
        clutter.put(other, clutter.bars(wide, barred - max(1, tall // 8), rng), left, 0)
    if rng.random() < look.rows:
        _put_rows(other, line, (left, top), rng)
    ground = _ground(line, look, shape, rng)
    ink = line.ink if line.ink is not None else _ink(ground, look, rng)
    page = Image.fromarray(to_image(ground))
    if rng.random() < look.frame:
        _draw_frame(page, ink, rng)
    if rng.random() < look.outline:
        _draw_outline(page, mask, ink, line.em, rng)
    _put_ink(page, ink if rng.random() < 0.7 else _ink(ground, look, rng), other * np.float32(rng.uniform(0.6, 1)))
    _put_ink(page, ink, mask * np.float32(rng.uniform(0.85, 1)))
    return np.array(page)


def _rule_cells(other: np.ndarray, line: Line, at: tuple[int, int], rng: np.random.Generator) -> None:
    """Lines between symbols that leave room for them, as forms have them; in place.

    They are much taller or much shorter than a digit, or they would be ones.
    """
    tall = line.mask.shape[0]
    top, bottom = (0, other.shape[0]) if other.shape[0] > 1.3 * tall else (round(at[1] - 0.2 * tall), at[1] + 2)
    for start in line.starts[1:].astype(int):
        if 2 < start < line.mask.shape[1] - 2 and line.mask[:, start - 2 : start + 3].max() < 0.1:
            other[top:bottom, at[0] + start] = 0.7


def _put_ink(page: Image.Image, ink: np.ndarray, mask: np.ndarray) -> None:
    """Ink (3,) on a page where a mask (h, w) in [0, 1] is; in place."""
    page.paste(_tuple(ink), (0, 0), Image.fromarray((mask * 255).astype(np.uint8)))


def _tuple(tone: np.ndarray) -> tuple[int, ...]:
    return tuple(int(level) for level in tone.clip(0, 255))


def _margins(tall: int, rng: np.random.Generator) -> np.ndarray:
    """Pixels (4,) left, above, right, below: mostly little, at times none or much."""
    kind = rng.random()
    if kind < 0.2:
        return rng.uniform(0, 0.06, 4) * tall
    return rng.uniform(0, 0.3 if kind < 0.85 else 0.5, 4) * tall * (1, 1, 1.3, 1)


def _beside(
    line: Line, look: Look, fonts: Fonts, rng: np.random.Generator
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Masks of a word before, and of a unit or a word behind; cut where they would be wider than the number."""
    pair: list[np.ndarray | None] = [None, None]
    if rng.random() >= look.beside:
        return None, None
    widest = max(line.em // 2, round(0.7 * line.mask.shape[1]))
    where = rng.random()
    if where < 0.6:
        pair[0] = _letters(clutter.word(rng) + rng.choice(("", ":", ".")), line, look, fonts, rng)[:, -widest:]
    if where > 0.45:
        unit = clutter.UNITS[int(rng.integers(len(clutter.UNITS)))] if rng.random() < 0.7 else clutter.word(rng)
        pair[1] = _letters(unit, line, look, fonts, rng)[:, :widest]
    return pair[0], pair[1]


def _letters(text: str, line: Line, look: Look, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """A mask of a word, no higher than the line; mostly in its own typeface, at times smaller."""
    mask = clutter.letters(text, line.face if rng.random() < 0.8 else fonts.face(rng, line.em, *look.kinds))
    scale = min(rng.uniform(0.4, 1.1), 1.0, line.mask.shape[0] / mask.shape[0])
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BOX))


def _put_rows(other: np.ndarray, line: Line, at: tuple[int, int], rng: np.random.Generator) -> None:
    """The rows above and below, of which the picture shows less than half."""
    h, tall = other.shape[0], line.mask.shape[0]
    for above in (True, False):
        if rng.random() < 0.35:
            continue
        text = str(rng.integers(10 ** int(rng.integers(1, 9)))) if rng.random() < 0.6 else clutter.words(rng, 2)
        row = clutter.letters(text, line.face)
        seen = round(rng.uniform(0.05, 0.45) * row.shape[0])
        room = (at[1] if above else h - at[1] - tall) - max(1, round(0.06 * tall))
        x = at[0] + rng.choice((0.0, rng.uniform(-1, 1) * tall))
        seen = min(seen, room)
        if seen > 0:
            clutter.put(other, row, x, seen - row.shape[0] if above else h - seen)


def _ground(line: Line, look: Look, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    if line.ground is not None:
        return materials.flat(shape, line.ground) + materials.grain(shape, rng.uniform(0, 3), rng)
    return look.grounds[int(rng.integers(len(look.grounds)))](shape, rng)


def _ink(ground: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) that can be read on a ground (h, w, 3)."""
    around = ground[::7, ::7].reshape(-1, 3).mean(axis=0).clip(0, 255)
    bright = float(around @ _LUMINANCE)
    kind = rng.choice(3, p=look.colours)
    if kind == 0:
        dark = colour(rng, 0, min(90, max(20, bright - 70)), 15)
        return dark if bright > 100 else colour(rng, max(170, min(235, bright + 80)), 255, 15)
    for _ in range(12):
        ink = colour(rng, 0, 255, 110)
        if kind == 2:  # as bright, of another hue
            ink = (ink + (bright - ink @ _LUMINANCE)).clip(0, 255)
        if _distance(ink, around) > _APART and (kind == 2 or abs(float(ink @ _LUMINANCE) - bright) > 35):
            return ink
    return np.full(3, 0 if bright > 127 else 255, np.float32)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far colours (3,) are apart for an eye, which sees little by blue."""
    return float(np.sqrt(_LUMINANCE @ (one - other) ** 2))


def _draw_frame(page: Image.Image, ink: np.ndarray, rng: np.random.Generator) -> None:
    """A border along the picture's edge, as plates, buttons and labels have it; in place."""
    w, h = page.size
    inset, thick = rng.uniform(0, 0.06) * h, int(rng.integers(1, max(2, h // 14) + 1))
    edge = _tuple(ink if rng.random() < 0.6 else colour(rng))
    box = (inset, inset, w - 1 - inset, h - 1 - inset)
    ImageDraw.Draw(page).rounded_rectangle(box, rng.uniform(0, 0.25) * h, outline=edge, width=thick)


def _draw_outline(page: Image.Image, mask: np.ndarray, ink: np.ndarray, em: int, rng: np.random.Generator) -> None:
    """The text's outline, shadow, glow or backing; in place."""
    bright = float(ink @ _LUMINANCE) > 127
    tone = colour(rng, 0, 40, 10) if bright else colour(rng, 200, 255, 20)
    if rng.random() < 0.2 and _distance(other := colour(rng), ink) > _APART:
        tone = other
    kind = rng.random()
    if kind < 0.15:  # a box behind
        _put_ink(page, tone, np.full(mask.shape, rng.uniform(0.5, 1), np.float32))
        return
    image = Image.fromarray((mask * 255).astype(np.uint8))
    reach = max(1, round(em * rng.uniform(0.02, 0.09)))
    if kind < 0.6:
        image = image.filter(ImageFilter.MaxFilter(2 * reach + 1))
    elif kind < 0.8:
        image = image.filter(ImageFilter.BoxBlur(reach)).point([min(255, 3 * level) for level in range(256)])
    shadow = np.asarray(image, np.float32) / 255
    if kind > 0.5:
        down, across = (round(v) for v in rng.uniform(-1, 1, 2) * 1.5 * reach)
        shadow = np.roll(shadow, (down, across), (0, 1))
    _put_ink(page, tone, shadow * np.float32(rng.uniform(0.6, 1)))
