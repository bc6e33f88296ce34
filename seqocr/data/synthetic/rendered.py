"""Synthetic lines of renderers: numbers in print, on displays, wheels, cards and old paper, photographed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from seqocr.data.digests import Contents, digest
from seqocr.data.grey import choose_grey
from seqocr.data.images import open_line
from seqocr.data.mixture import KnownLines, TrainingLines
from seqocr.data.sampling import hash_seed
from seqocr.data.shown import ShownText
from seqocr.data.sources.datasets import DIGITS
from seqocr.data.sources.fonts import Fonts
from seqocr.data.sources.strokes import Strokes
from seqocr.data.synthetic.camera import photograph
from seqocr.data.synthetic.numbers import add_marks, sample_digits, sample_number
from seqocr.data.synthetic.renderers.base import Renderer
from seqocr.data.synthetic.renderers.captchas.captchas import draw_captcha
from seqocr.data.synthetic.renderers.cards.cards import draw_card
from seqocr.data.synthetic.renderers.displays.dashboards import draw_dashboard
from seqocr.data.synthetic.renderers.displays.dot_matrix import draw_dots
from seqocr.data.synthetic.renderers.displays.segments import draw_segments
from seqocr.data.synthetic.renderers.handwriting.registers import RegisterRenderer, draw_register
from seqocr.data.synthetic.renderers.prints.nothing import draw_nothing, draw_two_rows
from seqocr.data.synthetic.renderers.prints.printed import draw_print
from seqocr.data.synthetic.renderers.wheels.wheels import draw_wheels

_TRIES = 4  # to photograph a line legibly, before it is taken as it was rendered
_NARROWEST = 0.28  # width of a symbol over the image's height: less is not legible at 32 rows

Texts = Callable[[np.random.Generator], str]


def _lengths(*lengths: int, marked: float = 0.0, pointed: float = 0.0) -> Texts:
    """Numbers of one of these lengths; some of them with marks, or with a decimal point."""

    def sample(rng: np.random.Generator) -> str:
        digits = sample_digits(lengths[int(rng.integers(len(lengths)))], rng)
        if len(digits) > 1 and rng.random() < pointed:
            place = int(rng.integers(1, len(digits)))
            return f"{digits[:place]}.{digits[place:]}"
        return add_marks(digits, rng) if rng.random() < marked else digits

    return sample


def _register(rng: np.random.Generator) -> str:
    """Years, and numbers of rows."""
    if rng.random() < 0.5:
        return f"{int(rng.choice([17, 18, 18, 18, 19]))}{sample_digits(2, rng)}"
    return sample_digits(int(rng.choice([1, 2, 2, 3, 3, 4, 5])), rng)


def _print(rng: np.random.Generator) -> str:
    """Numbers, some of them with letters or other symbols."""
    shown = sample_number(rng)
    if rng.random() < _LETTERED:
        for _ in range(int(rng.integers(1, 5))):
            place = int(rng.integers(len(shown) + 1))
            shown = shown[:place] + _OTHERS[int(rng.integers(len(_OTHERS)))] + shown[place:]
    return shown


# By name: how often lines are of a renderer, the renderer, and the numbers that it shows.
WORLDS: dict[str, tuple[float, Renderer, Texts]] = {
    "wheels": (0.21, draw_wheels, _lengths(4, 5, 5, 6, 6, 6, 6, 7, 8, marked=0.06)),
    "dashboards": (0.09, draw_dashboard, _lengths(3, 4, 5, 5, 6, 6, 6, 7, marked=0.1)),
    "segments": (0.16, draw_segments, _lengths(1, 2, 3, 4, 5, 5, 5, 5, 6, 7, 8, 10, pointed=0.35, marked=0.16)),
    "dots": (0.03, draw_dots, partial(sample_number, longest=16)),
    "cards": (0.16, draw_card, _lengths(4, 4, 4, 4, 4, 4, 3, 5, 6, 8, 12, 16, 16, marked=0.06)),
    "captchas": (0.07, draw_captcha, _lengths(4, 5, 6, 6, 6, 7, 8)),
    "registers": (0.12, draw_register, _register),
    "print": (0.16, draw_print, _print),
}
_LETTERED = 0.12  # share of numbers in print that hold other symbols
_OTHERS = "ABCDEFGHJKLMNPQRTUVWXYZabdefhkmnprtuvwxyz%€$£#*()=&?!"  # none that is a digit in some typeface
_NOTHING = 0.03  # share of images that show no number, or no single one
_TWO_ROWS = 0.25  # share of these that show two


class RenderedLines:
    """Lines for training or testing: (image, text), each a function of (seed, epoch, index) alone. A line is opened as
    an image file would be.

    Args:
        fonts: that renderers draw with.
        charset: what texts keep of the numbers that images show.
        worlds: shares of `WORLDS`, by name, other than their own.
        strokes: recorded digits that some of the hands in registers write.
        count: lines in an epoch.
    """

    def __init__(
        self,
        fonts: Fonts,
        *,
        charset: str = DIGITS,
        worlds: Mapping[str, float] | None = None,
        strokes: Strokes | None = None,
        count: int = 10_000,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        shares = dict(worlds) if worlds is not None else {name: world[0] for name, world in WORLDS.items()}
        self.fonts, self.charset, self.count = fonts, charset, count
        self._names, weights = list(shares), np.array(list(shares.values()))
        self._nothing = 0.0 if worlds is not None else _NOTHING
        self._bounds = weights.cumsum() / weights.sum()
        more: dict[str, Any] = {"charset": charset, "worlds": worlds, "strokes": strokes, "count": count, "seed": seed}
        self._again = partial(RenderedLines, fonts, **more)
        self._renderers: dict[str, Renderer] = {name: world[1] for name, world in WORLDS.items()}
        if strokes is not None:
            self._renderers["registers"] = RegisterRenderer(strokes)
        self.strokes = strokes
        self._key = hash_seed(hash_seed(seed) ^ epoch)

    def at_epoch(self, epoch: int) -> RenderedLines:
        return self._again(epoch=epoch)

    @property
    def about(self) -> dict[str, Any]:
        licenses = sorted({font.license for font in self.fonts.fonts if font.license})
        by_hand = f" and {self.strokes.source}" if self.strokes else ""
        return {
            "source": f"rendered with fonts of {self.fonts.source}{by_hand}",
            "fonts": len(self.fonts.fonts),
            "families": len(self.fonts.families),
            "licenses": licenses,
        }

    @property
    def contents(self) -> Contents:
        files = sorted(f"{font.family}/{font.path.name}/{font.path.stat().st_size}" for font in self.fonts.fonts)
        recorded = list(self.strokes.contents.values()) if self.strokes else []
        return {"images": digest([*files, *recorded]), "labels": digest(self._names)}

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: list[int] | range) -> tuple[list[torch.Tensor], list[str]]:
        """Many lines at once: images (h_i, w_i) uint8, and their texts."""
        for index in indices:
            if not 0 <= index < self.count:
                raise IndexError(f"index {index} of {self.count} lines")
        lines = [self.line(index) for index in indices]
        return [image for image, _ in lines], [text for _, text in lines]

    def line(self, index: int) -> tuple[torch.Tensor, str]:
        rng = np.random.default_rng(hash_seed(self._key ^ (index + 1)))
        if rng.random() < self._nothing:
            draw = draw_two_rows if rng.random() < _TWO_ROWS else draw_nothing
            return _open(photograph(draw(self.fonts, rng), rng)), ""  # what else it shows is not known
        name = self._names[int(np.searchsorted(self._bounds, rng.random()))]
        shown = WORLDS[name][2](rng)
        scene = self._renderers[name](shown, self.fonts, rng)
        return _photographed(scene, len(shown), rng), ShownText.of(shown, self.charset)


class PhotographedLines:
    """Other lines, some of them photographed.

    Args:
        lines: synthetic, grey; share: of those photographed.
    """

    def __init__(self, lines: TrainingLines | KnownLines, share: float, seed: int = 0, epoch: int = 0) -> None:
        self.lines, self.share, self.seed = lines, share, seed
        self._key = hash_seed(hash_seed(seed) ^ epoch)

    def at_epoch(self, epoch: int) -> PhotographedLines:
        lines: Any = self.lines
        return PhotographedLines(lines.at_epoch(epoch), self.share, self.seed, epoch)

    @property
    def about(self) -> dict[str, Any]:
        lines: Any = self.lines
        return {**lines.about, "photographed": self.share}

    @property
    def contents(self) -> Contents:
        return self.lines.contents

    def __len__(self) -> int:
        return len(self.lines)

    def batch(self, indices: range) -> tuple[list[torch.Tensor], list[str]]:
        images, texts = self.lines.batch(indices)
        found = []
        for index, image, text in zip(indices, images, texts, strict=True):
            rng = np.random.default_rng(hash_seed(self._key ^ (index + 1)))
            if rng.random() < self.share:
                scene = np.repeat(np.asarray(image)[:, :, None], 3, axis=2)
                image = _photographed(scene, len(text), rng)
            found.append(image)
        return found, texts


def _photographed(scene: np.ndarray, symbols: int, rng: np.random.Generator) -> torch.Tensor:
    """(h, w) uint8: a scene as a camera sees it, legible in a reader's rows."""
    for _ in range(_TRIES):
        image = _open(photograph(scene, rng))
        if image.shape[1] >= _NARROWEST * symbols * image.shape[0]:
            return image
    narrowest = math.ceil(_NARROWEST * symbols * scene.shape[0])
    if scene.shape[1] < narrowest:
        scene = np.asarray(Image.fromarray(scene).resize((narrowest, scene.shape[0])))
    whole = Image.fromarray(scene)
    return torch.from_numpy(np.array(choose_grey(whole)(whole)))  # not cut: that may have made it illegible


def _open(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(open_line(pixels)))
