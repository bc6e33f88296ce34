"""The race as HTML, one lane per decoding strategy. What moves is CSS, delayed by measured times, without a script."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from seqocr.demo.race import Lane

HERE = Path(__file__).parent
CSS = (HERE / "race.css").read_text(encoding="utf-8")
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7")  # Okabe and Ito's, for neighbours
_PAGES = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def race_html(lanes: Sequence[Lane], image: Image.Image, slowdown: float) -> str:
    """Lanes side by side in time, `slowdown` times slower than the race was, over the image of the line."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return _PAGES.get_template("race.html").render(
        lanes=lanes,
        image=f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}",
        slowdown=slowdown,
        longest=max(lane.seconds for lane in lanes),
        marks=_marks,
    )


def _marks(attention: np.ndarray) -> Iterator[tuple[float, float, str, float]]:
    """(left %, width %, colour, opacity) of what is laid over the line, a colour per symbol."""
    columns = attention.shape[1]
    for i, row in enumerate(attention):
        most = max(float(row.max()), 1e-9)
        for at in np.flatnonzero(row > 0.1 * most).tolist():
            yield 100 * at / columns, 100 / columns, _COLOURS[i % len(_COLOURS)], 0.8 * float(row[at]) / most
