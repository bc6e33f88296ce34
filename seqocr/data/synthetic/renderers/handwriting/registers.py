"""Numbers by hand in registers and other documents, old and modern: years, row numbers, forms, notes, boards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from seqocr.data.sources.fonts import Fonts
from seqocr.data.sources.strokes import Strokes
from seqocr.data.synthetic.renderers.base import to_image
from seqocr.data.synthetic.renderers.handwriting import papers
from seqocr.data.synthetic.renderers.handwriting.hands import Hand, Line, Manner, Recorded, scrawl
from seqocr.data.synthetic.renderers.handwriting.papers import Sheet
from seqocr.data.synthetic.renderers.handwriting.pen_shapes import DITTO, Path, smooth_path
from seqocr.data.synthetic.renderers.handwriting.pens import SCALE, Canvas, Pen, modern_pen, old_pen

_OLD = 0.65  # share of old documents
_MODERN_PENS = {
    "form": ("ballpoint", "ballpoint", "pencil", "fountain"),
    "notebook": ("ballpoint", "pencil", "fountain", "marker"),
    "note": ("ballpoint", "marker", "pencil"),
    "whiteboard": ("marker",),
    "blackboard": ("chalk",),
    "card": ("marker", "ballpoint"),
}
_LOOKS = tuple(_MODERN_PENS)
_LOOK_CHANCES = (0.35, 0.25, 0.12, 0.12, 0.08, 0.08)
_FROM_FONT, _RECORDED = 0.25, 0.5  # shares of hands whose digits are a font's; else recorded ones, where there are any
_EM = (60, 100)  # pixels: sizes of fonts, before they are scaled; few, so that they stay in memory
_LIFTED = 2.5  # the pen was lifted between points farther apart than that, of the usual distance


class RegisterRenderer:
    """A `Renderer` of numbers by hand.

    Args:
        strokes: recorded digits that some of the hands write; None: all are shapes of `pen_shapes`, or of fonts.
    """

    def __init__(self, strokes: Strokes | None = None) -> None:
        self._recorded = None if strokes is None else _Recordings(strokes)

    def __call__(self, text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
        """A colour image (h, w, 3) uint8 of a text."""
        return self._old(text, fonts, rng) if rng.random() < _OLD else self._modern(text, fonts, rng)

    def _old(self, text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
        pen, height = old_pen(rng), float(rng.uniform(13, 42))
        manner = Manner(
            height,
            width=float(rng.uniform(0.7, 1.25)),
            slant=float(rng.uniform(0.25, 0.95)) if rng.random() < 0.8 else float(rng.uniform(-0.1, 0.3)),
            unsteady=float(rng.uniform(0.4, 1.5)),
            gap=float(rng.uniform(-0.06, 0.2)),
            hanging=bool(rng.random() < 0.12),
            joined=bool(rng.random() < 0.35),
        )
        hand = self._hand(manner, pen, fonts, rng)
        line = hand.write(text)
        sheet = _sheet(line, manner, rng)
        page = papers.old_paper(sheet.height, sheet.width, rng)
        colour, strength = papers.old_ink(rng), float(rng.uniform(0.65, 1))
        if rng.random() < 0.2:
            page = _bleed(page, hand, sheet, colour, rng)
        if rng.random() < 0.85:
            page = papers.rule_register(page, sheet, rng)
        canvas = Canvas(sheet.height, sheet.width)
        _add_neighbours(canvas, hand, sheet, rng)
        line.draw(canvas, sheet.left - line.box[0], sheet.base)
        _add_marks(canvas, hand, sheet, rng)
        page = papers.put_ink(page, canvas.ink(), colour, pen, rng, strength)
        return to_image(papers.microfilm(page, rng) if rng.random() < 0.25 else page)

    def _modern(self, text: str, fonts: Fonts, rng: np.random.Generator) -> np.ndarray:
        look = str(rng.choice(_LOOKS, p=_LOOK_CHANCES))
        kind = str(rng.choice(_MODERN_PENS[look]))
        pen, height = modern_pen(rng, kind), float(rng.uniform(16, 56))
        celled = look == "form" and rng.random() < 0.5
        manner = Manner(
            height,
            width=float(rng.uniform(0.75, 1.4)),
            slant=float(rng.normal(0.12, 0.2)),
            unsteady=float(rng.uniform(0.4, 1.7)),
            gap=float(rng.uniform(-0.05, 0.35)),
            joined=bool(rng.random() < 0.15),
            pitch=height * float(rng.uniform(0.8, 1.25)) if celled else None,
        )
        hand = self._hand(manner, pen, fonts, rng)
        line = hand.write(text)
        sheet = _sheet(line, manner, rng, len(text))
        page = papers.modern_page(look, sheet, rng)
        canvas = Canvas(sheet.height, sheet.width)
        if rng.random() < 0.3 and not celled:
            _add_neighbours(canvas, hand, sheet, rng)
        line.draw(canvas, sheet.left - line.box[0], sheet.base)
        colour, strength = papers.modern_ink(kind, rng), float(rng.uniform(0.65, 1))
        page = papers.put_ink(page, canvas.ink(), colour, pen, rng, strength)
        return to_image(papers.microfilm(page, rng) if rng.random() < 0.06 else page)

    def _hand(self, manner: Manner, pen: Pen, fonts: Fonts, rng: np.random.Generator) -> Hand:
        if rng.random() < _FROM_FONT:
            return Hand(manner, pen, rng, face=fonts.face(rng, _EM[manner.height > 24], "hand"))
        recorded: Recorded | None = None
        if self._recorded is not None and rng.random() < _RECORDED:
            recorded = self._recorded.writer(rng)
        return Hand(manner, pen, rng, recorded=recorded)


draw_register = RegisterRenderer()


class _Recordings:
    """Recorded digits by writer, as paths."""

    def __init__(self, strokes: Strokes) -> None:
        self._tracks = strokes.trajectories[:, ::2, :2].double().numpy()
        self._of: dict[tuple[int, str], np.ndarray] = {}
        self._writers = strokes.writers.unique().tolist()
        for label, symbol in enumerate(strokes.symbols):
            for writer in self._writers:
                own = ((strokes.writers == writer) & (strokes.labels == label)).nonzero()[:, 0]
                if len(own):
                    self._of[writer, symbol] = own.numpy()

    def writer(self, rng: np.random.Generator) -> Recorded:
        """Paths of a random writer's symbols."""
        writer = self._writers[int(rng.integers(len(self._writers)))]

        def path(symbol: str) -> Path | None:
            own = self._of.get((writer, symbol))
            return None if own is None else self._path(int(own[int(rng.integers(len(own)))]))

        return path

    def _path(self, at: int) -> Path:
        points = self._tracks[at] + 0.5
        points[:, 1] += 1 - points[:, 1].max()
        step = np.diff(points, axis=0)
        apart = np.hypot(step[:, 0], step[:, 1])
        last = np.append(apart > _LIFTED * max(float(np.median(apart)), 1e-3), True)
        # The direction of a step that is drawn: the one behind a point, or before it.
        after, before = np.append(step, step[-1:], 0), np.append(step[:1], step, 0)
        ended = np.append(True, last[:-1])
        ahead = np.where(last[:, None], before, np.where(ended[:, None], after, before + after))
        return Path(points, ahead, last)


def _sheet(line: Line, manner: Manner, rng: np.random.Generator, cells: int = 0) -> Sheet:
    """Where to cut: mostly close to the ink, sometimes into it or with room."""
    left, top, right, bottom = line.box
    height = manner.height
    most = 0.3 if rng.random() < 0.8 else 0.7
    around = [height * float(rng.uniform(-0.03, most)) for _ in range(4)]
    edges: tuple[float, ...] = ()
    if cells and manner.pitch:
        around = [max(margin, 0.2 * height) for margin in around]
        begins = around[0] - left
        edges = tuple(begins + i * manner.pitch for i in range(cells + 1))
    width = max(8, round(right - left + around[0] + around[2]))
    tall = max(8, round(bottom - top + around[1] + around[3]))
    pitch = height * float(rng.uniform(1.15, 1.9))
    return Sheet(tall, width, around[1] - top, height, around[0], around[0] + right - left, pitch, edges)


def _numbers(rng: np.random.Generator, length: int) -> str:
    return "".join(map(str, rng.integers(0, 10, length)))


def _add_neighbours(canvas: Canvas, hand: Hand, sheet: Sheet, rng: np.random.Generator) -> None:
    """Rows above and below, and words beside, as far as they reach into the image; seldom far."""
    d = sheet.digit
    for way in (-1, 1):
        if rng.random() < 0.3:
            # At least four fifths of the neighbours are cut off, or stand in the margin.
            clear = max(sheet.pitch, 1.2 * d)
            row = scrawl(hand, 6) if rng.random() < 0.3 else hand.write(_numbers(rng, int(rng.integers(1, 5))))
            row.draw(canvas, sheet.left + float(rng.normal(0, 0.4)) * d - row.box[0], sheet.base + way * clear)
    for side, way in ((sheet.left, -1), (sheet.right, 1)):
        if rng.random() < 0.1:
            word = scrawl(hand, 4)
            away = float(rng.uniform(0.12, 0.4)) * d
            x = side - away - word.box[2] if way < 0 else side + away - word.box[0]
            word.draw(canvas, x, sheet.base + float(rng.normal(0, 0.08)) * d)


def _add_marks(canvas: Canvas, hand: Hand, sheet: Sheet, rng: np.random.Generator) -> None:
    """What clerks add: a line below, ditto marks of the next row, a blot."""
    d, chance = sheet.digit, rng.random()
    if chance < 0.06:
        y = sheet.base + float(rng.uniform(0.08, 0.25)) * d
        points = np.array([(0, 0), (0.5, 0.02), (1, -0.02)]) * (sheet.right - sheet.left, d) + (sheet.left, y)
        thin = replace(hand.pen, hair=min(hand.pen.hair, 0.03), full=min(hand.pen.full, 0.03))
        canvas.stroke(thin.along(smooth_path(points), d, rng))
    elif chance < 0.1:
        ditto = hand.write(DITTO)
        ditto.draw(canvas, (sheet.left + sheet.right) / 2, sheet.base + 1.1 * d)
    elif chance < 0.16:
        at = np.array((rng.uniform(0, sheet.width), rng.uniform(0, sheet.height)))
        canvas.disc(at, d * float(rng.uniform(0.015, 0.05)), 255)


def _bleed(page: np.ndarray, hand: Hand, sheet: Sheet, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The other side's writing, mirrored and faint."""
    canvas = Canvas(sheet.height, sheet.width)
    back = scrawl(hand, 8) if rng.random() < 0.5 else hand.write(_numbers(rng, 4))
    back.draw(canvas, float(rng.uniform(-0.3, 0.5)) * sheet.width, sheet.base + float(rng.normal(0, 0.6)) * sheet.digit)
    small = canvas.image.reduce(SCALE).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    soft = np.asarray(small.filter(ImageFilter.BoxBlur(float(rng.uniform(0.5, 2)))), np.float32) / 255
    return page * (1 - (float(rng.uniform(0.08, 0.35)) * soft)[..., None] * (1 - colour / 255))
