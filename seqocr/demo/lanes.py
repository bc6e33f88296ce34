"""The race as HTML: a lane a head. What moves is CSS, delayed by the times that were measured; no script is needed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from seqocr.demo.race import Event, Lane

LABELS = {
    "ar": "ar: a pass a symbol",
    "ar-speculative": "ar-speculative: drafted at once, verified",
    "parallel": "parallel: one pass",
    "ctc": "ctc: one pass",
}
CSS = """
.race { font-family: system-ui, sans-serif; color: var(--body-text-color); }
.lane { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: .5rem .75rem; margin: .5rem 0; }
.lane h2 { font-size: 1rem; margin: 0 0 .25rem; display: flex; flex-wrap: wrap; gap: .25rem 1rem;
  justify-content: space-between; color: inherit; }
.lane .took { font-weight: 400; font-variant-numeric: tabular-nums; }
.track { position: relative; height: .6rem; background: var(--border-color-primary); border-radius: 4px;
  overflow: hidden; margin: .25rem 0; }
.track i { position: absolute; top: 0; bottom: 0; transform-origin: left; animation: grow linear both; }
.track .encoder { background: #6b7280; }
.track .decoder { background: #0072b2; }
.symbols { display: flex; flex-wrap: wrap; min-height: 2.4rem; gap: .15rem; list-style: none; margin: 0; padding: 0; }
.symbols li { margin: 0; font: 600 1.5rem/2.2rem ui-monospace, monospace; min-width: 1.6rem; text-align: center;
  border-radius: 4px; animation: appear .01s linear both; border-bottom: 3px solid transparent; }
.symbols .draft { opacity: .55; font-style: italic; }
.symbols .accepted { border-bottom-color: #009e73; }
.symbols .again { border-bottom-color: #d55e00; }
.looks { position: relative; display: inline-block; max-width: 100%; margin-top: .25rem; line-height: 0; }
.looks img { max-width: 100%; height: 3.2rem; object-fit: fill; }
.looks i { position: absolute; top: 0; bottom: 0; mix-blend-mode: multiply; }
.note { font-size: .85rem; margin: .15rem 0 0; animation: appear .01s linear both; }
.gradio-container button[role=tab].selected { color: var(--body-text-color); font-weight: 600; }
.pad { width: 100%; height: auto; aspect-ratio: 640 / 200; background: white; border: 1px solid #6b7280;
  border-radius: 8px; cursor: crosshair; touch-action: none; }
.clear { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: .25rem .75rem; }
@keyframes appear { from { opacity: 0 } }
@keyframes grow { from { transform: scaleX(0) } }
@media (prefers-reduced-motion: reduce) { .race * { animation: none !important; } }
"""
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7")  # Okabe and Ito's, for neighbours


def race_html(
    lanes: Sequence[Lane],
    sure: Mapping[str, Sequence[float]],
    looks: Mapping[str, np.ndarray],
    image: Image.Image,
    slower: float,
) -> str:
    """Lanes side by side in time.

    Args:
        sure: of each lane, how sure each symbol is, in [0, 1].
        looks: of each lane, (n, columns): where each symbol was read, over the image's width.
        image: the line.
        slower: how many times as slow as it was.
    """
    longest = max(lane.seconds for lane in lanes)
    shown = _data_url(image)
    body = "".join(_lane(lane, sure.get(lane.name, ()), looks.get(lane.name), shown, longest, slower) for lane in lanes)
    # An animation starts anew where its element is new, so each race is one of its own.
    return f'<section class="race" aria-label="Race" aria-live="polite">{body}</section>'


def _lane(
    lane: Lane, sure: Sequence[float], looks: np.ndarray | None, image: str, longest: float, slower: float
) -> str:
    encoded = lane.events[0].seconds
    passes = f"{lane.passes} pass{'es' if lane.passes != 1 else ''}"
    head = (
        f'<h2><span>{escape(LABELS.get(lane.name, lane.name))}</span><span class="took">'
        f"{passes}, {1e3 * lane.seconds:.2f} ms, of these {1e3 * encoded:.2f} ms encoder</span></h2>"
    )
    track = (
        '<div class="track" aria-hidden="true">'
        f"{_bar('encoder', 0, encoded, longest, slower)}{_bar('decoder', encoded, lane.seconds, longest, slower)}</div>"
    )
    rows = "".join(_rows(lane, sure, slower))
    read = f'<output data-lane="{lane.name}">{escape(lane.text) or "nothing"}</output>, {lane.confidence:.0%} sure'
    text = f'<p class="note" style="animation-delay:{slower * lane.seconds:.3f}s">read: {read}</p>'
    where = "" if looks is None or not lane.text else _overlay(lane, looks, image)
    return f'<article class="lane" data-lane="{lane.name}">{head}{track}{rows}{text}{where}</article>'


def _bar(kind: str, start: float, end: float, longest: float, slower: float) -> str:
    return (
        f'<i class="{kind}" style="left:{100 * start / longest:.2f}%;width:{100 * (end - start) / longest:.2f}%;'
        f'animation-delay:{slower * start:.3f}s;animation-duration:{slower * (end - start):.3f}s"></i>'
    )


def _rows(lane: Lane, sure: Sequence[float], slower: float) -> list[str]:
    """Symbols as they come; what was drafted in a row of its own."""
    drafts = [event for event in lane.events if event.kind == "draft"]
    rows = [f'<ol class="symbols" aria-label="draft">{_symbols(event, [], "draft", slower)}</ol>' for event in drafts]
    kinds = {"read": "read", "written": "again" if drafts else "written", "accepted": "accepted"}
    final = "".join(_symbols(event, sure, kinds[event.kind], slower) for event in lane.events if event.kind in kinds)
    return [*rows, f'<ol class="symbols" aria-label="text">{final}</ol>']


def _symbols(event: Event, sure: Sequence[float], kind: str, slower: float) -> str:
    found = []
    for i, symbol in enumerate(event.text, event.start):
        p = sure[i] if i < len(sure) else None
        shade = "" if p is None else f"background:rgba(230,159,0,{0.75 * (1 - p):.2f});"
        title = "" if p is None else f' title="{p:.1%} sure"'
        style = f"{shade}animation-delay:{slower * event.seconds:.3f}s"
        found.append(f'<li class="{kind}"{title} style="{style}">{escape(symbol)}</li>')
    return "".join(found)


def _overlay(lane: Lane, looks: np.ndarray, image: str) -> str:
    columns, marks = looks.shape[1], []
    for i, row in enumerate(looks):
        colour, most = _COLOURS[i % len(_COLOURS)], max(float(row.max()), 1e-9)
        for at in np.flatnonzero(row > 0.1 * most):
            left, width = 100 * at / columns, 100 / columns
            opacity = 0.8 * row[at] / most
            style = f"left:{left:.2f}%;width:{width:.2f}%;background:{colour};opacity:{opacity:.2f}"
            marks.append(f'<i style="{style}"></i>')
    alt = f"where {lane.name} looked to read {lane.text}"
    return f'<div class="looks"><img src="{image}" alt="{escape(alt)}">{"".join(marks)}</div>'


def _data_url(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
