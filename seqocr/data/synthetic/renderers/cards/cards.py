"""Digits in relief: bank cards (embossed, printed, engraved), stamped and cast plates, number plates, dot peening."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from seqocr.data.sources.fonts import Fonts
from seqocr.data.synthetic.renderers.base import blend, smooth_noise, to_image
from seqocr.data.synthetic.renderers.cards.card_grounds import card_ground, metal_ground, rough_ground, vivid
from seqocr.data.synthetic.renderers.cards.card_layout import Line, lay_out
from seqocr.data.synthetic.renderers.cards.relief import Light, contrast, foil, luma, make_relief, shade, soften, worn

_TRIES = 3  # of a look until digits stand out of their ground
# What foils and inks are made of, and how often.
_TONES = {"silver": (205, 207, 212), "gold": (212, 175, 95), "white": (245, 245, 245), "black": (22, 22, 24)}
_TONE_SHARES = (0.48, 0.18, 0.17, 0.17)
# Names of what is printed above or below, small; without digits and what looks like them.
_SMALL = ("VALID THRU", "MONTH/YEAR", "MEMBER", "THRU", "VALID", "EXP END", "DEBIT", "CARTE", "KREDIT", "MR A N KRAMER")


def draw_card(text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Digits of a card or a plate (see `base.Renderer`)."""
    make = str(rng.choice(list(_MAKES), p=[share for share, _ in _MAKES.values()]))
    line = lay_out(text, make, fonts, rng)
    seen = soften(line.mask, max(0.5, line.pen * 0.4))
    image = np.zeros((*line.mask.shape, 3), np.float32)
    for attempt in range(_TRIES):
        ground = _ground(make, line, fonts, rng)
        if attempt:  # what hides the digits is made fainter
            mean = ground[::3, ::3].mean((0, 1))
            ground = mean + (ground - mean) * 0.4**attempt
        # Relief alone may never show on a very dark or busy ground: the last try has ink.
        bare = make in ("bare", "engraved") and attempt == _TRIES - 1
        image = (_printed if bare else _MAKES[make][1])(line, ground, rng)
        if contrast(image, ground, seen) > 18 + 1.4 * _clutter(ground, line):
            break
    return np.ascontiguousarray(to_image(image))


def _clutter(ground: np.ndarray, line: Line) -> float:
    """How much the ground changes within a digit's height, of 255."""
    grey = luma(ground) / 255
    return 255 * float(np.abs(grey - soften(grey, line.height / 4)).mean())


def _ground(make: str, line: Line, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    shape = (line.mask.shape[0], line.mask.shape[1])
    if make in ("stamped", "peened"):
        return metal_ground(shape, rng) if rng.random() < 0.8 else rough_ground(shape, rng)
    if make in ("cast", "plate"):
        return rough_ground(shape, rng) if make == "cast" or rng.random() < 0.2 else _plate(shape, rng)
    ground = card_ground(shape, fonts, rng)
    return _with_small_text(ground, line, fonts, rng) if rng.random() < 0.25 else ground


def _plate(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The paint of a number plate: white, yellow, or any."""
    plain = np.array(
        ((235, 235, 232), (240, 200, 40), (30, 60, 140), (25, 25, 25))[int(rng.choice(4, p=(0.5, 0.25, 0.1, 0.15)))]
    )
    tone = plain * rng.uniform(0.6, 1.05) if rng.random() < 0.8 else vivid(rng, 0.3, 1)
    return np.asarray(tone * (1 + smooth_noise(shape, shape[0] / 2, rng) * rng.uniform(0, 0.2))[..., None], np.float32)


def _with_small_text(ground: np.ndarray, line: Line, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
    """Small words above or below the digits, where the margin has room for a part of them."""
    rows, columns = line.mask.shape
    canvas = Image.new("L", (columns, rows))
    face = fonts.face(rng, 8 if line.height < 34 else 12, "print", "narrow")
    below = rng.random() < 0.6
    bottom = line.top + line.height
    y = bottom + rng.uniform(0.02, 0.15) * line.height if below else line.top - rng.uniform(0.05, 0.2) * line.height
    x = rng.uniform(-0.1, 0.8) * columns
    word = _SMALL[int(rng.integers(len(_SMALL)))]
    ImageDraw.Draw(canvas).text((x, y), word, 255, font=face, anchor="lt" if below else "lb")
    return np.asarray(blend(ground, vivid(rng), np.asarray(canvas, np.float32) / 255), np.float32)


def _tone(ground: np.ndarray, apart: float, rng: np.random.Generator) -> np.ndarray:
    """The tone (3,) of an ink or foil that is `apart` from the ground's brightness, if there is one."""
    mean = float(ground[::3, ::3].mean().clip(0, 255))
    names = list(_TONES)
    for name in rng.choice(names, len(names), replace=False, p=_TONE_SHARES):
        tone = np.array(_TONES[str(name)], np.float32) * rng.uniform(0.85, 1.05) + rng.normal(0, 4, 3)
        if abs(float(tone.mean()) - mean) > apart:
            break
    return np.asarray(tone, np.float32)


def _tipped(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Embossed, with foil on the tips that may be worn: where it is, only light and shadow show the digits."""
    relief = make_relief(line.mask, max(0.6, line.pen * rng.uniform(0.25, 0.6)), rng.uniform(0.5, 2.2))
    # Foil lies on what is highest; a hot press smears it down the slopes, an old card has it on the ridge alone.
    level = rng.uniform(0.2, 0.65)
    tip = ((relief.height / max(0.05, float(relief.height.max())) - level) * rng.uniform(2.5, 8)).clip(0, 1)
    if rng.random() < 0.15:
        tip = np.roll(tip, rng.integers(-1, 2, 2).tolist(), (0, 1))
    amount = rng.uniform(0.1, 0.65) if rng.random() < 0.4 else 0.0
    tip = worn(tip, rng, amount, line.height * rng.uniform(0.15, 1.2), least=0.1)
    light = Light.sample(rng)
    layer = foil(relief, _tone(ground, 0 if rng.random() < 0.3 else 35, rng), rng, float(rng.uniform(0, 1)))
    return shade(blend(ground, layer, tip), relief, light)


def _bare(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Embossed without foil: nothing but light and shadow on the card's own colours."""
    relief = make_relief(line.mask, max(0.6, line.pen * rng.uniform(0.2, 0.6)), rng.uniform(0.9, 3))
    light = Light.sample(rng, shiny=True)
    return shade(ground, relief, light)


def _printed(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flat ink."""
    tone = _tone(ground, 60, rng) if rng.random() < 0.85 else vivid(rng)
    if abs(float(tone.mean()) - float(ground[::3, ::3].mean())) < 50:
        tone = np.full(3, 245 if ground[::3, ::3].mean() < 128 else 20, np.float32)
    ink = worn(line.mask, rng, rng.uniform(0, 0.45) if rng.random() < 0.25 else 0, line.height * 0.2, least=0.35)
    layer = tone
    if rng.random() < 0.4:  # metallic ink
        layer = tone * (1 + smooth_noise(line.mask.shape, line.height, rng) * rng.uniform(0, 0.25))[..., None]
    if rng.random() < 0.15:  # a shadow or an outline of the other brightness
        other = 0.0 if tone.mean() > 128 else 255.0
        around = np.roll(soften(line.mask, 1.0), rng.integers(-2, 3, 2).tolist(), (0, 1))
        ground = blend(ground, np.full(3, other, np.float32), around * rng.uniform(0.3, 0.8))
    return np.asarray(blend(ground, layer, ink * rng.uniform(0.75, 1)), np.float32)


def _engraved(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Burnt in by a laser, or pressed in: darker or lighter, with an edge that catches light."""
    relief = make_relief(line.mask, max(0.5, line.pen * rng.uniform(0.1, 0.3)), -rng.uniform(0.3, 1.5))
    burnt = ground * rng.uniform(0.2, 0.7) if ground[::3, ::3].mean() > 90 else ground + rng.uniform(40, 120)
    scorched = blend(ground, burnt, line.mask * rng.uniform(0.3, 1))
    return shade(scorched, relief, Light.sample(rng))


def _stamped(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Punched into metal, or pressed out of it as on a dog tag; dirt or paint may fill what is deep."""
    out = rng.random() < 0.4
    relief = make_relief(
        line.mask, max(0.5, line.pen * rng.uniform(0.15, 0.5)), (1 if out else -1) * rng.uniform(0.8, 3)
    )
    if rng.random() < (0.2 if out else 0.5):
        fill = vivid(rng, 0, 0.25) if ground[::3, ::3].mean() > 110 else vivid(rng, 0.8, 1)
        ground = blend(
            ground, fill, worn(line.mask, rng, rng.uniform(0, 0.6), line.height * 0.3) * rng.uniform(0.3, 0.9)
        )
    return shade(ground, relief, Light.sample(rng, shiny=True))


def _peened(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Small dents in rows; each is lit at one side."""
    relief = make_relief(line.mask, max(0.5, line.pen * 0.2), -rng.uniform(0.8, 2.5))
    dark = blend(ground, ground * rng.uniform(0.2, 0.8), line.mask)
    return shade(dark, relief, Light.sample(rng, shiny=True))


def _painted(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Raised and painted, as on number plates and cast signs; or raised alone, of the ground's own paint."""
    relief = make_relief(line.mask, max(0.7, line.pen * rng.uniform(0.15, 0.5)), rng.uniform(0.5, 2.5))
    tone = vivid(rng, 0, 0.25) if ground[::3, ::3].mean() > 120 else vivid(rng, 0.85, 1) * 0.4 + 150
    paint = worn(line.mask, rng, rng.uniform(0, 0.6) if rng.random() < 0.4 else 0, line.height * 0.3)
    return shade(blend(ground, tone, paint * rng.uniform(0.5, 1)), relief, Light.sample(rng))


def _cast(line: Line, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        return _painted(line, ground, rng)
    relief = make_relief(line.mask, max(0.8, line.pen * rng.uniform(0.2, 0.5)), rng.uniform(1.5, 4))
    tip = (relief.height * 2 - 0.8).clip(0, 1) * rng.uniform(0, 0.6)  # polished by hands
    return shade(blend(ground, ground * 1.5 + 30, tip), relief, Light.sample(rng, shiny=True))


# How symbols are made: how often, and by what.
_MAKES: dict[str, tuple[float, Callable[[Line, np.ndarray, np.random.Generator], np.ndarray]]] = {
    "tipped": (0.42, _tipped),
    "bare": (0.13, _bare),
    "printed": (0.18, _printed),
    "engraved": (0.08, _engraved),
    "stamped": (0.07, _stamped),
    "peened": (0.04, _peened),
    "plate": (0.04, _painted),
    "cast": (0.04, _cast),
}
