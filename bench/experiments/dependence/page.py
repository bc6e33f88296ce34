"""What the report says and draws of the study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from bench import plots
from bench.experiment import Section
from bench.experiments.dependence.design import BASE_LAW, LENGTH
from bench.experiments.dependence.numbers import AR, LOCAL, ONE_PASS, SEEN, Cell, Results
from bench.experiments.dependence.reading import SLOTS
from bench.formatting import listed, percent, points
from bench.palette import numbered
from bench.subjects import SMALL_NATIVE, TASK_LENGTH
from seqocr.data.labels import LAWS
from seqocr.statistics import Value

FORM = f"{ONE_PASS} + form"
_VERDICTS = {"better": "better", "worse": "worse", "the same": "within 1 point", "open": "not decided"}
_SIGNS = {"better": "▲", "worse": "▼", "the same": "=", "open": "", "": ""}
# Of the ways in the table of shares, and what a pass of each is.
_WAYS = {
    "ar": "a pass a symbol",
    "ar-1layer": "a pass a symbol, of one layer",
    "ar-verified": "fewer where the draft is right",
    "parallel": "",
    "ctc": "",
    "refine-0": "",
    "refine": "",
    "refine-2": "",
    "parallel + form": "and exact decoding",
    "ctc + form": "and exact decoding",
    "ideal joint": "and exact decoding; learned independent digits, knows the law",
}


def answer(results: Results, everything: Mapping[str, Any]) -> Section:
    """The map, and one table: which head for which strings."""
    words = [_setting(results), _found(results), _map_words(), _caveats(results, everything), _again(results)]
    text = " ".join(filter(None, [*words, "Every cell: `tables/dependence.csv`."]))
    return Section("When does autoregression pay?", text, "dependence", decisions(results))


def gains(results: Results) -> Section:
    """What each way makes of what there is to gain, and the check of the axis."""
    text = (
        f"C, the conditional total correlation, is what a head that takes symbols one by one must lose in likelihood. "
        f"The picture has C against what such heads really lose to `{AR}`, a point a law and damage. "
        f"{_axis_words(results)} Three ideal readers know the law exactly: the local one reads each symbol by its own "
        "image, the marginal one takes each symbol's likeliest value given the whole line, the joint one the likeliest "
        "string. G, joint minus marginal, is all that writing symbols one after another can gain; joint minus local is "
        f"all that the law is worth. The table has each way's shares of both, over the {len(results.worthwhile())} and "
        f"{len(results.worthwhile(LOCAL))} cells where they are {percent(SEEN, 0)} or more. Below 0 a way reads less "
        f"than the lower reader. What each image says by itself, the ideal readers take from a `{ONE_PASS}` head that "
        f"learned independent digits. {_ablations(results)}"
    ).rstrip()
    return Section("What there is to gain, and who gains it", text, "likelihoods", _shares(results))


def shift(results: Results) -> Section:
    """What a learned law costs where it does not hold."""
    rows = []
    for law in results.laws:
        if law == BASE_LAW:
            continue
        for damage in _ends(results.size.shifted):
            row = {"learned": f"`{law}`", "damage": damage}
            row |= {f"`{way}`": points(results.price(law, way, damage)) for way in _heads(results)}
            rows.append(row)
    text = (
        "Exact match on independent digits after learning strings of another law, minus that after learning "
        f"independent digits, on the same images, in points. {_backfire(results)}"
    )
    table = pd.DataFrame(rows)
    return Section("What a learned law costs where it does not hold", text, None, table.head(12))


def decisions(results: Results) -> pd.DataFrame:
    """Strings like these: use this, because of that, at this cost."""
    base: Cell = (BASE_LAW, BASE_LAW, results.size.damages[0])
    rows = [
        {
            "strings": "independent digits, such as meter readings",
            "use": f"`{ONE_PASS}` or `ctc`",
            "because": f"`{AR}` minus `{ONE_PASS}`: {points(results.gap(base).difference)} points; nothing to gain",
            "passes": "1",
        }
    ]
    if there := results.worthwhile(LOCAL) or results.worthwhile():
        best = max(there, key=lambda cell: results.gap(cell).difference.estimate)
        rows.append(
            {
                "strings": f"of a form that you know, hard to read (`{best[0]}`, {best[2]})",
                "use": f"`{ONE_PASS}` and exact decoding under the form",
                "because": f"{points(results.gap(best, FORM, ONE_PASS).difference)} points over the head alone",
                "passes": "1",
            }
        )
        rows.append(
            {
                "strings": f"of a form that only the data know, hard to read (`{best[0]}`, {best[2]})",
                "use": f"`{AR}`, verified",
                "because": " and ".join(
                    f"{points(results.gap(best, AR, other).difference)} points over `{other}`"
                    for other in results.others
                ),
                "passes": f"{results.mean(best, 'passes', _verified(results)):.2f}",
            }
        )
    law, damage = min(
        ((law, damage) for law in results.laws if law != BASE_LAW for damage in results.size.shifted),
        key=lambda key: results.price(key[0], AR, key[1]).estimate,
    )
    rows.append(
        {
            "strings": "of a form that may change after training",
            "use": "a head trained on independent digits",
            "because": (
                f"`{AR}` that learned `{law}` reads {points(results.price(law, AR, damage))} points of independent "
                f"digits ({damage})"
            ),
            "passes": "1",
        }
    )
    return pd.DataFrame(rows)


def _verified(results: Results) -> str:
    return "ar-verified" if "ar-verified" in results.ways else AR


def _heads(results: Results) -> list[str]:
    return [way for way in (AR, "ar-1layer", ONE_PASS, "ctc", "refine") if way in results.ways]


def _ends(names: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys((names[0], names[-1])))


def _hardest(results: Results) -> str:
    """Of the damages in which a learned law was read where it does not hold, the one that `parallel` reads worst."""
    return min(
        results.size.shifted, key=lambda damage: float(results.exact((BASE_LAW, BASE_LAW, damage), ONE_PASS).mean())
    )


def _setting(results: Results) -> str:
    size, seeds = results.size, results.size.seeds
    return (
        f"Strings of {LENGTH} MNIST digits drawn from {len(seeds)} laws, from independent to nearly determined, under "
        f"{len(size.damages)} damages, clean included. Each law was learned {min(seeds.values())} to "
        f"{max(seeds.values())} times from one base (`tiny`, trained further on damaged independent digits), with new "
        f"heads, all on one encoder; {size.strings:,} test strings a cell and seed. The study took "
        f"{results.facts.get('seconds', 0) / 3600:.1f} hours."
    )


def _found(results: Results) -> str:
    """How many cells have which verdict, and the equivalence on clean independent digits."""
    family, said = results.family, []
    for other in results.others:
        counts = family[family["other"] == other]["verdict"].value_counts()
        found = [f"{what} in {counts.get(verdict, 0)}" for verdict, what in _VERDICTS.items()]
        said.append(f"beside `{other}`, {listed(found)}")
    median = family["smallest_seen"].median()
    clean: Cell = (BASE_LAW, BASE_LAW, results.size.damages[0])
    gap = results.gap(clean)
    equal = "equivalent within 1 point (TOST)" if gap.within else "not shown to be equivalent within 1 point"
    slots = (
        f"`{SLOTS}` has a decoder as deep as that of `{AR}`, and takes symbols as independent. "
        if SLOTS in results.others
        else ""
    )
    return (
        f"On clean independent digits, `{AR}` minus `{ONE_PASS}` is {points(gap.difference)} points over "
        f"{gap.difference.n} seeds: {equal}. {slots}Of the {len(family) // len(results.others)} cells of the laws with "
        f"most seeds, `{AR}` is: {'; '.join(said)} (t tests over seeds, Holm over all of them; half of the tests would "
        f"have seen {median * 100:.1f} points)."
    )


def _map_words() -> str:
    return (
        f"Colour: points of exact match by which `{AR}` is ahead. Contours: G, all that there is to gain. "
        "▲ better, ▼ worse, = within 1 point; unmarked: not decided, or a law with too few seeds for a claim."
    )


def _caveats(results: Results, everything: Mapping[str, Any]) -> str:
    """The caveats of the project that this one comes from, measured."""
    said = []
    if "frequencies" in results.size.seeds:
        hard = _hardest(results)
        gap = results.gap(("frequencies", "frequencies", hard)).difference
        said.append(f"digits as frequent as MNIST's, {points(gap)} points for `{AR}` ({hard})")
    pool = LAWS["pool"](LENGTH).total_correlation
    most = 100 * math.sqrt(2 * pool)  # Pinsker: of two readers, each one's exact match changes by half of it at most
    said.append(f"digits drawn without replacement, {pool:.0e} nats, which are worth {most:.2f} points at most")
    if latency := everything.get("latency"):
        timed = latency.subjects.get(SMALL_NATIVE.name) or latency.fixed[-1]
        ends = [(n, timed.speedup(ONE_PASS, AR, n).estimate) for n in (TASK_LENGTH, max(timed.lengths))]
        taken = " and ".join(f"{times:.1f} times as long at n = {n}" for n, times in ends)
        said.append(f"short strings, for which `{AR}` takes {taken}")
    return f"Three caveats, measured: {'; '.join(said)}."


def _again(results: Results) -> str:
    """The cell that the bench measured again."""
    again = results.again
    if again is None:
        return ""
    exact = again.rows.set_index("way")["exact"]
    return (
        f"Measured again here, in small ({again.steps} steps; `{again.law}`, {again.damage}): `{AR}` "
        f"{percent(exact[AR])}, `{ONE_PASS}` {percent(exact[ONE_PASS])}."
    )


def _ablations(results: Results) -> str:
    """How `ar` and `parallel` read when training differs, in the cell where most is to gain of the law."""
    table = results.ablations()
    there = [cell for cell in results.worthwhile(LOCAL) if cell[0] == results.size.ablated]
    if table.empty or not there:
        return ""
    law, _, damage = max(there, key=lambda cell: results.gap(cell).difference.estimate)
    here = table[table["damage"] == damage].set_index(["trained", "way"])["exact"]
    said = [
        f"{trained}, {percent(here[trained, AR])} and {percent(here[trained, ONE_PASS])}"
        for trained in dict.fromkeys(table["trained"])
        if {(trained, AR), (trained, ONE_PASS)} <= set(here.index)
    ]
    return f"Exact match of `{AR}` and `{ONE_PASS}` by how they were trained (`{law}`, {damage}): {'; '.join(said)}."


def _axis_words(results: Results) -> str:
    said = []
    for other, table in results.likelihoods().groupby("other", sort=False):
        lost, c = table["nats_lost"].to_numpy(), table["C"].to_numpy()
        if len(table) > 2 and c.any() and lost.any():
            said.append(
                f"`{other}` loses {lost @ c / (c @ c):.2f} times C (correlation {np.corrcoef(c, lost)[0, 1]:.2f})"
            )
    return f"Over all cells, {' and '.join(said)}." if said else ""


def _shares(results: Results) -> pd.DataFrame:
    rows, there = [], results.worthwhile()
    if not there:
        return pd.DataFrame()
    cell = there[0]
    for way, note in _WAYS.items():
        if way not in results.ways:
            continue
        passes = f"{results.passes(way):.2f}"
        rows.append(
            {
                "way to decode": f"`{way}`",
                **(
                    {"share of the law's worth": _percent(results.captured(way, LOCAL))}
                    if results.worthwhile(LOCAL)
                    else {}
                ),
                "share of G": _percent(results.captured(way)),
                f"exact match, `{cell[0]}`, {cell[2]}": percent(results.mean(cell, "exact", way)),
                "passes": f"{passes}, {note}" if note else passes,
            }
        )
    return pd.DataFrame(rows)


def _percent(value: Value) -> str:
    return f"{value.estimate:.0%} ({value.low:.0%} to {value.high:.0%})"


def _backfire(results: Results) -> str:
    """For which head, and by how much, a learned law backfires most."""
    prices = {
        (law, way, damage): results.price(law, way, damage)
        for law in results.laws
        if law != BASE_LAW
        for way in _heads(results)
        for damage in results.size.shifted
    }
    law, way, damage = min(prices, key=lambda key: prices[key].estimate)
    worst = prices[law, way, damage]
    other = prices[law, ONE_PASS, damage]
    return (
        f"It costs most with `{way}` after `{law}`, {damage}: {points(worst)} points, and `{ONE_PASS}` {points(other)}."
    )


def dependence_plot(results: Results) -> Figure:
    """`ar` minus each of the others, laws by total correlation (up) against damages (across), with contours of G."""
    laws, damages = results.laws, list(results.size.damages)
    cells = [[(law, law, damage) for damage in damages] for law in laws]
    worth = np.array([[results.mean(cell, "G") for cell in row] for row in cells]) * 100
    figure = Figure(figsize=(10.5, (0.5 * len(laws) + 1.3) * len(results.others) + 0.9), layout="constrained")
    axes = figure.subplots(len(results.others), squeeze=False, sharex=True)[:, 0]
    gaps = {
        other: np.array([[results.gap(cell, AR, other).difference.estimate for cell in row] for row in cells]) * 100
        for other in results.others
    }
    most = max(1.0, *(float(np.abs(each).max()) for each in gaps.values()))
    for axis, (other, found) in zip(axes, gaps.items(), strict=True):
        image = axis.imshow(found, cmap="RdBu_r", norm=TwoSlopeNorm(0, -most, most), aspect="auto", origin="lower")
        for y, row in enumerate(cells):
            for x, cell in enumerate(row):
                colour = "white" if abs(found[y, x]) > 0.6 * most else "black"
                shown = f"{found[y, x]:+.1f}{_SIGNS[results.verdict(cell, other)]}"
                axis.text(x, y, shown, ha="center", va="center", fontsize=8, color=colour)
        if min(worth.shape) > 1 and worth.max() > 1:
            levels = [level for level in (1, 5, 20) if level < worth.max()]
            lines = axis.contour(worth, levels=levels, colors="#222222", linewidths=0.8)
            axis.clabel(lines, fmt=lambda v: f"G = {v:g}", fontsize=7)
        axis.set_yticks(range(len(laws)), [f"{law} ({LAWS[law](LENGTH).total_correlation:.1f})" for law in laws])
        axis.grid(visible=False)
        axis.set_title(f"Exact match of {AR} minus {other}, points", fontsize=11)
    axes[-1].set_xticks(range(len(damages)), damages, rotation=30, ha="right")
    figure.supylabel("law of the strings (total correlation, nats)", fontsize=10)
    figure.colorbar(image, ax=list(axes), shrink=0.6, pad=0.01)
    return figure


def likelihoods_plot(results: Results) -> Figure:
    """What ways that take symbols as independent really lose to `ar`, in nats a string, against C; a look a law."""
    table = results.likelihoods()
    figure, axes = plots.panels(len(results.others), 4.8, 4.0)
    top = max(float(table["C"].max()), 0.1)
    for axis, other in zip(axes, results.others, strict=True):
        for place, law in enumerate(results.laws):
            style = numbered(place)
            for row in table[(table["law"] == law) & (table["other"] == other)].to_dict("records"):
                plots.point(axis, row["C"], Value.of(row, "nats_lost"), style, alpha=0.8)
            axis.plot([], [], style.marker, color=style.colour, label=law)
        axis.plot([0, top], [0, top], "--", color="#888888", lw=1, label="C")
        axis.set_xlabel("C, nats a string")
        axis.set_ylabel(f"nats that {other} loses to {AR}")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def table_of(results: Results) -> pd.DataFrame:
    """One row a cell and way: exact match over seeds, passes, C and G."""
    rows = []
    for cell in (*results.own, *results.shifted):
        for way in results.ways:
            if (*cell, way) not in results.main.index.droplevel("seed"):
                continue
            exact = results.exact(cell, way)
            spread = float(exact.std(ddof=1)) if len(exact) > 1 else float("nan")
            row = {**dict(zip(("law", "read", "damage"), cell, strict=True)), "way": way, "seeds": len(exact)}
            row |= {"exact": exact.mean(), "sd_over_seeds": spread, "passes": results.mean(cell, "passes", way)}
            rows.append({**row, "C": results.mean(cell, "C", way), "G": results.mean(cell, "G", way)})
    return pd.DataFrame(rows)
