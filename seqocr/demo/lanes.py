"""The race as HTML, one lane per decoding strategy. What moves is CSS, delayed by measured times, without a script."""

import base64
import io
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from seqocr.demo.race import LEVEL, Lane, Race
from seqocr.palette import colours_of

HERE = Path(__file__).parent
CSS = (HERE / "race.css").read_text(encoding="utf-8")
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7")  # Okabe and Ito's, for neighbours
_RACES = count()
_PAGES = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def race_html(race: Race, image: Image.Image, slowdown: float, truth: str = "") -> str:
    """Lanes in time, `slowdown` times slower than the race was, over the image of the line.

    Args:
        truth: what the line says, where that is known.
    """
    return _PAGES.get_template("race.html").render(
        race=race,
        image=data_url(image, "png"),
        slowdown=slowdown,
        truth=truth,
        first=[lane.name for lane in race.lanes if race.place(lane) == 1],
        colours=colours_of(lane.name for lane in race.lanes),
        level=LEVEL,
        marks=_marks,
        number=next(_RACES),
    )


def data_url(image: Image.Image, kind: str) -> str:
    """An image within a page; `kind` is "png" or "jpeg"."""
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _marks(lane: Lane) -> Iterator[tuple[float, float, str, float, float]]:
    """(left %, width %, colour, opacity, seconds) of what is laid over the line, a colour per symbol, from the moment
    that the symbol is read."""
    if lane.attention is None:
        return
    columns = lane.attention.shape[1]
    read = [event.seconds for event in lane.events if event.kind != "draft" for _ in event.text]
    for i, row in enumerate(lane.attention):
        most, seconds = max(float(row.max()), 1e-9), read[i] if i < len(read) else lane.seconds
        for at in np.flatnonzero(row > 0.1 * most).tolist():
            colour = _COLOURS[i % len(_COLOURS)]
            yield 100 * at / columns, 100 / columns, colour, 0.8 * float(row[at]) / most, seconds
