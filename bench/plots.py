"""The report's pictures, each a function of the tables. Written as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter
from PIL import Image

from bench.plan import ACCURACY_VARIANTS, HEADS, TASK_LENGTH
from bench.statistics import Results
from bench.store import Store
from seqocr.files import replacing

# Okabe and Ito's colours, told apart by people with any colour vision; markers differ too.
COLOURS = {
    "ar-generate": "#D55E00",
    "ar": "#E69F00",
    "ar-nocache": "#CC79A7",
    "parallel": "#0072B2",
    "ctc": "#009E73",
    "ctc-beam": "#56B4E9",
    "encoder": "#555555",
}
MARKERS = {
    "ar-generate": "s",
    "ar": "o",
    "ar-nocache": "v",
    "parallel": "D",
    "ctc": "^",
    "ctc-beam": "P",
    "encoder": "",
}
NAMES = {
    "ar-generate": "ar-generate (Hugging Face)",
    "ar": "ar (KV cache)",
    "ar-nocache": "ar without cache",
    "parallel": "parallel",
    "ctc": "ctc",
    "ctc-beam": "ctc, beam search",
    "encoder": "encoder alone",
}
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.dpi": 150,
    "svg.hashsalt": "seqocr",  # the same file from the same numbers
}


def draw_all(results: Results, store: Store, folder: Path, labels: dict[str, str]) -> list[str]:
    """Draw every plot; returns the names, without suffix, of those drawn.

    Args:
        labels: what to call each subject.
    """
    pictures: dict[str, Callable[[], Figure | None]] = {
        "latency": lambda: latency(results, labels),
        "breakdown": lambda: breakdown(results, labels),
        "accuracy": lambda: accuracy(results),
        "throughput": lambda: throughput(results, labels),
        "tradeoff": lambda: tradeoff(results, labels),
        "peers": lambda: peers(results),
        "samples": lambda: strings(results, store, mistakes=False),
        "mistakes": lambda: strings(results, store, mistakes=True),
    }
    return [name for name, picture in pictures.items() if save(name, picture, folder)]


def save(name: str, picture: Callable[[], Figure | None], folder: Path) -> bool:
    """Draw a picture as NAME.png and NAME.svg; whether there was one."""
    with mpl.rc_context(_STYLE):
        figure = picture()
        if figure is None:
            return False
        for suffix in (".png", ".svg"):
            with replacing(folder / f"{name}{suffix}") as temporary:
                figure.savefig(temporary, bbox_inches="tight", metadata={"Date": None} if suffix == ".svg" else None)
    return True


def panels(count: int, width: float, height: float, columns: int = 2) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    return figure, axes


def legend(figure: Figure, variants: list[str]) -> None:
    handles = [
        Line2D([], [], color=COLOURS[v], marker=MARKERS[v], linestyle="--" if v == "encoder" else "-", label=NAMES[v])
        for v in variants
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), frameon=False)


def curve(axis: Axes, variant: str, table: Any, x: str, value: str, low: str, high: str) -> None:
    """A variant's column `value` against column `x`, in its colour, with the band from `low` to `high`."""
    look: dict[str, Any] = {"color": COLOURS[variant], "linestyle": "--" if variant == "encoder" else "-"}
    axis.plot(table[x], table[value], marker=MARKERS[variant], ms=4, lw=1.4, **look)
    axis.fill_between(table[x], table[low], table[high], color=COLOURS[variant], alpha=0.2, lw=0)


def latency(results: Results, labels: dict[str, str]) -> Figure:
    """Milliseconds a string against its length, one panel a subject, with bands of 95 % confidence."""
    subjects = [s for s in labels if s in set(results.latency["subject"])]
    variants = [v for v in COLOURS if v in set(results.latency["variant"])]
    figure, axes = panels(len(subjects), 4.6, 3.3)
    for axis, subject in zip(axes, subjects, strict=True):
        of = results.latency[results.latency["subject"] == subject]
        for variant in variants:
            curve(axis, variant, of[of["variant"] == variant], "length", "total_ms", "total_low", "total_high")
        shown = of[of["variant"] != "ar-nocache"]["total_ms"].max() * 1.12
        axis.set_ylim(0, shown)  # decoding without a cache may leave the frame, so that the others stay readable
        axis.set_title(labels[subject], fontsize=10)
        ticks = sorted(of["length"].unique())
        # 1 and 2 would touch on a long axis.
        axis.set_xticks(ticks if ticks[-1] <= 10 else [t for t in ticks if t != 2])
        axis.set_xlabel("symbols written, n")
        axis.set_ylabel("image to text, ms")
    figure.suptitle(
        "Latency against length, batch 1 (mean, 95 % CI; decoding without cache leaves the frame)", fontsize=11
    )
    legend(figure, variants)
    return figure


def breakdown(results: Results, labels: dict[str, str]) -> Figure:
    """Encoder and decoder milliseconds of each variant, stacked, at the task's length and at the longest."""
    table = results.latency[results.latency["variant"] != "encoder"]
    subjects = [s for s in labels if s in set(table["subject"])]
    parts = []
    for subject in subjects:
        there = table[table["subject"] == subject]["length"]
        parts += [(subject, length) for length in sorted({TASK_LENGTH, there.max()} & set(there))]
    figure, axes = panels(len(parts), 4.6, 2.3)
    variants = [v for v in COLOURS if v in set(table["variant"])][::-1]
    for axis, (subject, length) in zip(axes, parts, strict=True):
        part = table[(table["subject"] == subject) & (table["length"] == length)].set_index("variant").loc[variants]
        encode, decode = part["encode_ms"].to_numpy(), part["decode_ms"].to_numpy()
        axis.barh(variants, encode, color="#BBBBBB", label="encoder")
        axis.barh(variants, decode, left=encode, color=[COLOURS[v] for v in variants], label="decoder")
        for y, (e, d) in enumerate(zip(encode, decode, strict=True)):
            axis.text(e + d, y, f" {d / (e + d):.0%}", va="center", fontsize=8)
        axis.set_xlim(0, (encode + decode).max() * 1.14)
        axis.grid(axis="y", visible=False)
        axis.set_title(f"{labels[subject]}, n = {length}", fontsize=10)
        axis.set_xlabel("ms")
    figure.suptitle("Where the time goes: encoder (grey) and decoder (colour, with its share)", fontsize=11)
    return figure


def accuracy(results: Results) -> Figure:
    """Exact match of each head with its Wilson interval; accuracy by position beside it."""
    table = results.accuracy.set_index("head")
    heads = [h for h in ACCURACY_VARIANTS if h in table.index]
    figure, (left, right) = panels(2, 4.8, 3.2)
    for y, head in enumerate(heads[::-1]):
        row = table.loc[head]
        error = [[(row["exact"] - row["exact_low"]) * 100], [(row["exact_high"] - row["exact"]) * 100]]
        left.errorbar(row["exact"] * 100, y, xerr=error, fmt=MARKERS[head], color=COLOURS[head], capsize=4, ms=6)
    left.set_yticks(range(len(heads)), heads[::-1])
    left.set_ylim(-0.5, len(heads) - 0.5)
    left.set_xlabel(f"whole-string exact match, % ({table['strings'].iloc[0]:,} strings)")
    left.set_title("Exact match (Wilson 95 % CI)", fontsize=10)
    # Variants of one head read alike here; the heads themselves are enough, set side by side so that bars do not cover.
    own = [h for h in heads if h in HEADS]
    for i, head in enumerate(own):
        part = results.positions[results.positions["head"] == head]
        x = part["position"] + (i - (len(own) - 1) / 2) * 0.16
        errors = np.array([part["accuracy"] - part["low"], part["high"] - part["accuracy"]]) * 100
        right.errorbar(
            x, part["accuracy"] * 100, yerr=errors, fmt=MARKERS[head], color=COLOURS[head], capsize=3, ms=5, label=head
        )
    right.set_xticks(sorted(results.positions["position"].unique()))
    right.set_xlabel("position in the string")
    right.set_ylabel("digits read right, %")
    right.set_title("Accuracy by position (Wilson 95 % CI)", fontsize=10)
    figure.legend(loc="outside lower right", ncols=3, frameon=False)
    return figure


def throughput(results: Results, labels: dict[str, str]) -> Figure | None:
    """Strings a second against batch size."""
    if results.throughput.empty:
        return None
    subjects = [s for s in labels if s in set(results.throughput["subject"])]
    variants = [v for v in COLOURS if v in set(results.throughput["variant"])]
    figure, axes = panels(len(subjects), 3.6, 3.3, columns=3)
    for axis, subject in zip(axes, subjects, strict=True):
        of = results.throughput[results.throughput["subject"] == subject]
        for variant in variants:
            curve(axis, variant, of[of["variant"] == variant], "batch", "strings_per_second", "low", "high")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(sorted(of["batch"].unique()))
        _plain_numbers(axis)
        axis.set_xlabel("batch size")
        axis.set_title(labels[subject], fontsize=10)
    axes[0].set_ylabel("strings per second")
    figure.suptitle(f"Throughput, strings of {TASK_LENGTH} (geometric mean, 95 % CI)", fontsize=11)
    legend(figure, variants)
    return figure


def _plain_numbers(axis: Axes) -> None:
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())
    low, high = axis.get_ylim()
    ticks = [m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.yaxis.set_minor_formatter(NullFormatter())


def tradeoff(results: Results, labels: dict[str, str]) -> Figure | None:
    """Exact match against latency, for the architecture whose weights were evaluated."""
    subject = "tiny-28x140"
    latency = results.latency[(results.latency["subject"] == subject) & (results.latency["length"] == TASK_LENGTH)]
    both = results.accuracy.merge(latency, left_on="head", right_on="variant")
    if both.empty:
        return None
    figure, (axis,) = panels(1, 6.4, 3.6)
    for row in both.itertuples():
        axis.errorbar(
            row.total_ms,
            row.exact * 100,
            xerr=[[row.total_ms - row.total_low], [row.total_high - row.total_ms]],
            yerr=[[(row.exact - row.exact_low) * 100], [(row.exact_high - row.exact) * 100]],
            fmt=MARKERS[row.head],
            color=COLOURS[row.head],
            ms=7,
            capsize=3,
            label=NAMES[row.head],
        )
    encoder = latency[latency["variant"] == "encoder"]["total_ms"].item()
    axis.axvline(encoder, color=COLOURS["encoder"], ls="--", lw=1.2, label=NAMES["encoder"])
    axis.set_xlim(0, None)
    axis.set_xlabel(f"image to text, ms (batch 1, n = {TASK_LENGTH})")
    axis.set_ylabel("exact match, %")
    axis.set_title(f"Accuracy against latency, {labels[subject]} (95 % CI)", fontsize=11)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def peers(results: Results) -> Figure | None:
    """Exact match against latency for everyone; readers without weights stand on a line of their own below."""
    table = results.peers
    if table.empty:
        return None
    figure, (axis,) = panels(1, 8.4, 4.6)
    floor = -12.0  # below 0 %: no accuracy at all
    palette = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for i, row in enumerate(table.itertuples()):
        y = row.exact * 100 if row.trained else floor
        across = [[row.ms - row.ms_low], [row.ms_high - row.ms]]
        along = [[y - row.exact_low * 100], [row.exact_high * 100 - y]] if row.trained else None
        look = {"color": palette[i % 20], "mfc": palette[i % 20] if row.trained else "white"}
        axis.errorbar(row.ms, y, xerr=across, yerr=along, fmt="os^Dv"[i % 5], ms=7, capsize=3, label=row.peer, **look)
    axis.set_xscale("log")
    axis.set_ylim(floor - 5, 104)
    axis.set_yticks([floor, *range(0, 101, 20)], ["no weights\nhere", *(str(y) for y in range(0, 101, 20))])
    low, high = axis.get_xlim()
    ticks = [m * 10.0**e for e in range(-2, 5) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(f"line in memory to text, ms (batch 1, {TASK_LENGTH} digits)")
    axis.set_ylabel("exact match, %")
    axis.set_title("Accuracy against latency, everyone (95 % CI)", fontsize=11)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def strings(results: Results, store: Store, mistakes: bool) -> Figure | None:
    """Line images with each head's reading beside them; wrong ones crossed and in red."""
    sheet = np.array(Image.open(store.path("samples.png")))
    indices = store.read("samples")["index"].tolist()
    wide = results.predictions.pivot(index="index", columns="head", values="prediction")
    truth = results.predictions.drop_duplicates("index").set_index("index")["text"]
    heads = [h for h in HEADS if h in wide.columns]
    # The sheet holds the first strings of the data, whatever their readings, then the worst mistakes.
    first = [i for place, i in enumerate(indices) if i == place]
    chosen = [i for i in indices if i not in first] if mistakes else first
    if mistakes:
        chosen += [i for i in first if any(wide.loc[i, h] != truth[i] for h in heads)]
    if not chosen:
        return None
    cell = sheet.shape[0] // len(indices)
    figure = Figure(figsize=(7.2, 0.42 * len(chosen) + 0.75), layout="constrained")
    axis = figure.add_subplot()
    axis.axis("off")
    aspect = sheet.shape[1] / cell
    for row, index in enumerate(chosen):
        place = indices.index(index)
        line = sheet[place * cell : (place + 1) * cell]
        axis.imshow(255 - line, cmap="gray", vmin=0, vmax=255, extent=(0, aspect, row + 0.94, row + 0.06))
        axis.text(aspect + 0.5, row + 0.5, truth[index], va="center", family="monospace", fontsize=11)
        for column, head in enumerate(heads):
            reading, right = wide.loc[index, head], wide.loc[index, head] == truth[index]
            axis.text(
                aspect + 3.1 + column * 2.6,
                row + 0.5,
                reading if right else f"{reading} ✗",
                va="center",
                family="monospace",
                fontsize=11,
                color="#222222" if right else "#C1121F",
                weight="normal" if right else "bold",
            )
    for x, title in [
        (aspect / 2, "image"),
        (aspect + 0.5, "truth"),
        *((aspect + 3.1 + i * 2.6, h) for i, h in enumerate(heads)),
    ]:
        axis.text(x, -0.3, title, ha="center" if title == "image" else "left", va="center", weight="bold")
    axis.set_xlim(0, aspect + 3.1 + len(heads) * 2.6)
    axis.set_ylim(len(chosen), -0.7)
    axis.set_aspect("auto")
    return figure
