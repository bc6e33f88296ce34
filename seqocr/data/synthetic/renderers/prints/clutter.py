"""What stands beside a number and is no part of it: words, units, rules, boxes, bars, rows above and below."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqocr.data.sources.fonts import load_face

# Common on invoices, labels, dials, signs. No word that could be taken for digits.
WORDS = (
    "Total", "Date", "Summe", "Invoice", "No.", "Nr.", "Ref", "Price", "Preis", "TVA", "MwSt", "Code", "Tel", "Art",
    "kg", "km", "mm", "kWh", "cm", "EUR", "USD", "kr", "CHF", "GBP", "Fr.", "Euro", "Punkte", "Seite", "Page", "Cash",
    "Payment", "Amount", "Change", "Due", "Menge", "Stk", "Year", "Mai", "Count", "Rate", "Width", "Park", "Exit",
    "Gate", "Room", "Bus", "Flight", "Made in", "Reg", "Cust", "max", "min", "temp", "Day", "Gesamt", "net", "Tara",
)  # fmt: skip
UNITS = ("€", "$", "£", "kr", "kg", "km", "m", "cm", "mm", "%", "°C", "kWh", "EUR", "USD", "Fr.", "Stk", "ml", "g", "V")
_NOWHERE = "\U000ffffd"  # a code point that no font has a symbol for
_ONSETS, _VOWELS, _CODAS = "bcdfghjklmnprstvw", "aeiou", ("", "n", "r", "t", "m", "nd", "ck", "x", "rk", "tt")


def word(rng: np.random.Generator) -> str:
    """A word of print, or one that could be."""
    if rng.random() < 0.5:
        return WORDS[int(rng.integers(len(WORDS)))]
    made = "".join(
        _ONSETS[int(rng.integers(len(_ONSETS)))]
        + _VOWELS[int(rng.integers(len(_VOWELS)))]
        + _CODAS[int(rng.integers(len(_CODAS)))]
        for _ in range(int(rng.integers(2, 5)))
    )
    return (str.lower, str.title, str.upper)[int(rng.integers(3))](made)


def words(rng: np.random.Generator, count: int) -> str:
    return " ".join(word(rng) for _ in range(count))


def can_draw(face: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether a face has all symbols of a text; for others it draws a box, which looks like a zero."""
    return all(symbol == " " or _has(str(face.path), symbol) for symbol in set(text))


@cache
def _has(path: str, symbol: str) -> bool:
    face = load_face(Path(path), 24)
    return bytes(face.getmask(symbol)) != bytes(face.getmask(_NOWHERE))


def letters(text: str, face: ImageFont.FreeTypeFont) -> np.ndarray:
    """A mask (h, w) float32 in [0, 1] of other text, cut to its ink; of nothing where the face lacks a symbol."""
    if not can_draw(face, text):
        return np.zeros((1, 1), np.float32)
    left, top, right, bottom = face.getbbox(text)
    canvas = Image.new("L", (max(1, int(right - left) + 2), max(1, int(bottom - top) + 2)))
    ImageDraw.Draw(canvas).text((1 - left, 1 - top), text, 255, font=face)
    return np.asarray(canvas, np.float32) / 255


def put(canvas: np.ndarray, mask: np.ndarray, x: float, y: float) -> None:
    """A mask laid over another one at a place, cut off at its edges; in place."""
    left, top = round(x), round(y)
    h, w = canvas.shape
    inside = mask[max(0, -top) : max(0, h - top), max(0, -left) : max(0, w - left)]
    if inside.size:
        part = canvas[max(0, top) :, max(0, left) :][: inside.shape[0], : inside.shape[1]]
        np.maximum(part, inside, out=part)


def rules(shape: tuple[int, int], top: float, bottom: float, rng: np.random.Generator) -> np.ndarray:
    """A form's lines around a row of print from `top` to `bottom`: underlined, boxed, in a table; a mask."""
    h, w = shape
    canvas = Image.new("L", (w, h))
    draw, thick, tall = ImageDraw.Draw(canvas), int(rng.integers(1, 4)), bottom - top
    above, below = (top - tall * rng.uniform(0.12, 0.4), bottom + tall * rng.uniform(0.12, 0.4))
    kind = rng.random()
    if kind < 0.7:
        draw.line((0, below, w, below + rng.normal(0, 0.3)), 255, thick)
    if kind < 0.1:  # a sum's second line
        draw.line((0, below + 2 * thick + 1, w, below + 2 * thick + 1), 255, thick)
    if kind > 0.3:
        draw.line((0, above, w, above), 255, thick)
    if kind > 0.6:  # higher than the rows beside it, so that it is no one
        for x in (rng.uniform(0, 0.02) * w, w - 1 - rng.uniform(0, 0.02) * w)[: int(rng.integers(1, 3))]:
            draw.line((x, 0, x, h), 255, thick)
    return np.asarray(canvas, np.float32) / 255 * np.float32(rng.uniform(0.4, 1))


def bars(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A mask (height, width) of a barcode's bars."""
    unit = max(1, round(width / rng.uniform(60, 130)))
    runs = rng.integers(1, 4, width // unit + 2) * unit
    pattern = np.repeat(np.arange(len(runs)) % 2, runs)[:width].astype(np.float32)
    return np.broadcast_to(pattern, (height, width))
