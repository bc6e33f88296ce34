"""What the report says and draws of the study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.core.experiment import Section
from bench.report.formatting import listed, percent, points, ratio
from bench.study.cost import Cost, dearest
from bench.study.decisions import CTC_FORM, FORM, decisions, verified
from bench.study.design import BASE_LAW, LENGTH
from bench.study.estimates import AR, JOINT, LOCAL, MARGIN, MARGINAL, ONE_PASS, SEEN, Cell, Results
from bench.study.label_distributions import LABEL_DISTRIBUTIONS
from bench.study.predictions import SLOTS
from bench.workloads.timed_models import TASK_LENGTH, TINY
from seqocr.statistics import Value

_VERDICTS = {"better": "better", "worse": "worse", "the same": "within 1 point", "open": "not decided"}
# Of the strategies in the table of shares, and what a pass of each is.
_STRATEGIES = {
    "ar": "a pass a symbol",
    "ar-1layer": "a pass a symbol, of one layer",
    "ar-speculative": "fewer where the draft is right",
    "parallel": "",
    "ctc": "",
    "refine-0": "",
    "refine": "",
    "refine-2": "",
    FORM: "and exact decoding",
    CTC_FORM: "and exact decoding",
    MARGINAL: "and exact marginals; learned independent digits, knows the law",
    JOINT: "and exact decoding; learned independent digits, knows the law",
}


def answer(results: Results, everything: Mapping[str, Any]) -> Section:
    """The map, and one table: which head for which strings."""
    paragraphs = [
        [_equal(results), _counts(results)],
        [_reading_the_table(results, everything), _map_words()],
        [_setting(results), _caveats(results, everything), _again(results), "Every cell: `tables/dependence.csv`."],
    ]
    text = "\n\n".join(" ".join(filter(None, words)) for words in paragraphs)
    return Section("When does autoregression pay?", text, "dependence", decisions(results))


def headline(results: Results) -> str:
    """Where `ar` is ahead the most, what is left of it beside a decoder as deep, and where it falls behind."""
    family = results.family[results.family["other"] == ONE_PASS]
    own = family["law"] == family["read"]
    hard = own & (family["law"] != BASE_LAW) & (family["damage"] != results.size.damages[0])
    said = []
    for row in family[hard & (family["verdict"] == "better")].nlargest(1, "difference").to_dict("records"):
        cell: Cell = (row["law"], row["read"], row["damage"])
        said.append(
            f"Where symbols depend on each other and the image is damaged, `{AR}` reads up to {_gap(row)} points more "
            f"than `{ONE_PASS}` (`{cell[0]}`, {cell[2]})."
        )
        beside = {
            SLOTS: "a decoder as deep that takes symbols as independent",
            FORM: "one pass and exact decoding under the form",
        }
        said += [
            f"Beside `{other}`, {what}, it is {points(results.gap(cell, AR, other).difference)}."
            for other, what in beside.items()
            if other in results.strategies
        ]
    for row in family[~own & (family["verdict"] == "worse")].nsmallest(1, "difference").to_dict("records"):
        where = f"independent digits, {row['damage']}, after learning `{row['law']}`"
        said.append(f"Where the law has changed, `{AR}` reads up to {_gap(row)} points fewer ({where}).")
    return " ".join(said) or (
        f"`{AR}` is not shown to be better than `{ONE_PASS}` on damaged strings whose symbols depend on each other, "
        "nor worse where the law has changed."
    )


def _gap(row: Mapping[str, Any]) -> str:
    return f"{abs(row['difference']) * 100:.1f}"


def _reading_the_table(results: Results, everything: Mapping[str, Any]) -> str:
    said = (
        "The table has exact match over all damaged cells of a kind, or over all clean ones, and the cheapest strategy "
        f"that reads within {MARGIN * 100:.0f} point of the best, with the points by which it leads `{ONE_PASS}`. "
        f"`{FORM}` is the readings of `{ONE_PASS}`, decoded exactly under the law that it learned."
    )
    if latency := everything.get("latency"):
        timed = latency.main
        own = verified(results)
        costs = [
            f"`{name}` {timed.speedup(ONE_PASS, name, TASK_LENGTH).estimate:.2f} times"
            for name in dict.fromkeys((AR, own))
            if name in timed.strategies
        ]
        said += (
            f" From image to text, {listed(costs)} as long as `{ONE_PASS}` ({timed.subject.label}, n = {TASK_LENGTH})"
            + (", where drafts are right." if own != AR else ".")
        )
    return said


def gains(results: Results) -> Section:
    """What each strategy makes of what there is to gain, and the check of the axis."""
    text = (
        f"C, the conditional total correlation, is what a head that takes symbols one by one must lose in likelihood. "
        f"The picture has C against what such heads really lose to `{AR}`, a point a law and damage. "
        f"{_axis_words(results)} Three ideal readers know the law exactly: the local one reads each symbol by its own "
        "image, the marginal one takes each symbol's likeliest value given the whole line, the joint one the likeliest "
        "string. G, joint minus marginal, is all that writing symbols one after another can gain; joint minus local is "
        f"all that the law is worth. The table has the shares of both, over the {len(results.worthwhile())} and "
        f"{len(results.worthwhile(LOCAL))} cells where they are {percent(SEEN, 0)} or more. Below 0 it reads less "
        f"than the lower reader. {_none_of_g(results)} {_direction(results)} {_timing(results)}"
        f"What each image says by itself, the ideal readers take from a `{ONE_PASS}` head that learned "
        f"independent digits. {_ablations(results)}"
    ).rstrip()
    return Section("What there is to gain, and who gains it", text, "likelihoods", _shares(results))


def _none_of_g(results: Results) -> str:
    if not results.worthwhile() or results.captured(AR).high > 0:
        return ""
    return (
        f"Over these cells together `{AR}` makes nothing of G: it does not reach the marginal reader. What it is ahead "
        "by is the law itself, better learned."
    )


def _timing(results: Results) -> str:
    if results.cost is None:
        return ""
    return f"Times are from image to text, batch 1, with random weights ({TINY.label}, {results.timed_on}). "


def _direction(results: Results) -> str:
    """Whether writing from left to right shows."""
    ends = [damage for damage in results.size.damages if damage.startswith(("erased first", "erased last"))]
    there = [end for end in ends if any(cell[2] == end for cell in results.worthwhile(LOCAL))]
    names = [name for name in (AR, "refine-2", FORM) if name in results.strategies]
    if not there:
        return ""
    said = []
    for end in there:
        cells = [cell for cell in results.worthwhile(LOCAL) if cell[2] == end]
        shares = [f"`{name}` {_percent(results.captured(name, LOCAL, cells))}" for name in names]
        said.append(f"{end}, {listed(shares)}")
    return f"By where the damage is, of what the law is worth: {'; '.join(said)}."


def shift(results: Results) -> Section:
    """What a learned law costs where it does not hold: one row a law, the damage that costs most."""
    rows = []
    for law in results.laws:
        if law == BASE_LAW:
            continue
        damage = min(results.size.shifted, key=lambda damage: results.price(law, AR, damage).estimate)
        row = {"learned": f"`{law}`", "damage": damage}
        rows.append(row | {f"`{head}`": points(results.price(law, head, damage)) for head in _heads(results)})
    text = (
        "Exact match on independent digits after learning strings of another law, minus that after learning "
        "independent digits, on the same images, in points; of the damages that were tried, the one that costs "
        f"`{AR}` most. {_backfire(results)}"
    )
    return Section("What a learned law costs where it does not hold", text, None, pd.DataFrame(rows))


def _heads(results: Results) -> list[str]:
    return [name for name in (AR, "ar-1layer", ONE_PASS, "ctc", SLOTS, "refine") if name in results.strategies]


def _hardest(results: Results) -> str:
    """Of the damages in which a learned law was read where it does not hold, the one that `parallel` reads worst."""
    return min(
        results.size.shifted, key=lambda damage: float(results.exact((BASE_LAW, BASE_LAW, damage), ONE_PASS).mean())
    )


def _setting(results: Results) -> str:
    size, seeds = results.size, results.size.seeds
    shown, found = results.seen_by_one_seed()
    return (
        f"Strings of {LENGTH} MNIST digits drawn from {len(seeds)} laws, from independent to nearly determined, under "
        f"{len(size.damages)} damages, clean included. Each law was learned {min(seeds.values())} to "
        f"{max(seeds.values())} times from one base (`tiny`, trained further on damaged independent digits), with new "
        f"heads, all on one encoder; {size.strings:,} test strings a cell and seed. The study took "
        f"{results.facts.get('seconds', 0) / 3600:.1f} hours. The first seed of the laws with most seeds, "
        f"{sum(count == max(seeds.values()) for count in seeds.values())} of its {len(size.trainings())} trainings, "
        f"shows {shown} of the {found} differences (McNemar and Holm), and nothing of what another training would give."
    )


def _equal(results: Results) -> str:
    """On clean independent digits."""
    gap = results.gap((BASE_LAW, BASE_LAW, results.size.damages[0]))
    equal = "equivalent within 1 point (TOST)" if gap.within else "not shown to be equivalent within 1 point"
    return (
        f"On clean independent digits, `{AR}` minus `{ONE_PASS}` is {points(gap.difference)} points over "
        f"{gap.difference.n} seeds: {equal}."
    )


def _counts(results: Results) -> str:
    """How many cells have which verdict."""
    family, said = results.family, []
    for other in results.others:
        counts = family[family["other"] == other]["verdict"].value_counts()
        found = [f"{what} in {counts.get(verdict, 0)}" for verdict, what in _VERDICTS.items()]
        said.append(f"beside `{other}`, {listed(found)}")
    seen = family["smallest_seen"]
    return (
        f"Of the {len(family) // len(results.others)} cells of the laws with most seeds, `{AR}` is: "
        f"{'; '.join(said)} (t tests over seeds, Holm over all of them; half of the tests would have seen "
        f"{seen.median() * 100:.1f} points, nine in ten {seen.quantile(0.9) * 100:.1f})."
    )


def _map_words() -> str:
    return (
        f"In the map, colour is the points of exact match by which `{AR}` is ahead, and contours are G, all that "
        "there is to gain by reading jointly. ▲ better, ▼ worse, = within 1 point; unmarked: not decided, or a law "
        "with too few seeds for a claim."
    )


def _caveats(results: Results, everything: Mapping[str, Any]) -> str:
    """The caveats of the project that this one comes from, measured."""
    said = []
    if "frequencies" in results.size.seeds:
        hard = _hardest(results)
        gap = results.gap(("frequencies", "frequencies", hard)).difference
        said.append(f"digits as frequent as MNIST's, {points(gap)} points for `{AR}` ({hard})")
    pool = LABEL_DISTRIBUTIONS["pool"](LENGTH).total_correlation
    most = 100 * math.sqrt(2 * pool)  # Pinsker: of two readers, each one's exact match changes by half of it at most
    said.append(f"digits drawn without replacement, {pool:.0e} nats, which are worth {most:.2f} points at most")
    if latency := everything.get("latency"):
        timed = latency.main
        ends = [(n, timed.speedup(ONE_PASS, AR, n).estimate) for n in (TASK_LENGTH, max(timed.lengths))]
        taken = " and ".join(f"{times:.1f} times as long at n = {n}" for n, times in ends)
        said.append(f"short strings, for which `{AR}` takes {taken}")
    return f"Three caveats, measured: {'; '.join(said)}."


def _again(results: Results) -> str:
    """The cell that the bench measured again."""
    again = results.again
    if again is None:
        return ""
    exact = again.rows.set_index("strategy")["exact"]
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
    here = table[table["damage"] == damage].set_index(["trained", "strategy"])["exact"]
    said = [
        f"{trained}, {percent(here[trained, AR])} and {percent(here[trained, ONE_PASS])}"
        for trained in dict.fromkeys(table["trained"])
        if {(trained, AR), (trained, ONE_PASS)} <= set(here.index)
    ]
    return f"Exact match of `{AR}` and `{ONE_PASS}` by how they were trained (`{law}`, {damage}): {'; '.join(said)}."


def _axis_words(results: Results) -> str:
    said, unlearned = [], results.unlearned()
    likelihoods = results.likelihoods()
    learned = likelihoods[~likelihoods["law"].isin(unlearned)]
    for other, table in learned.groupby("other", sort=False):
        lost, c = table["nats_lost"].to_numpy(), table["C"].to_numpy()
        if len(table) > 2 and c.any() and lost.any():
            said.append(
                f"`{other}` loses {lost @ c / (c @ c):.2f} times C (correlation {np.corrcoef(c, lost)[0, 1]:.2f})"
            )
    if not said:
        return ""
    without = listed([f"`{law}`" for law in unlearned])
    but = f" but those of {without}, which `{AR}` itself does not learn" if unlearned else ""
    return f"Over all cells{but}, {' and '.join(said)}. More than C is what a head has not learned of the law."


def _shares(results: Results) -> pd.DataFrame:
    rows, there = [], results.worthwhile()
    if not there:
        return pd.DataFrame()
    cell = there[0]
    for strategy, note in _STRATEGIES.items():
        if strategy not in results.strategies:
            continue
        passes = f"{results.passes(strategy):.2f}"
        row = {"strategy": f"`{strategy}`"}
        if results.worthwhile(LOCAL):
            row["share of the law's worth"] = _percent(results.captured(strategy, LOCAL))
        row |= {
            "share of G": _percent(results.captured(strategy)),
            f"exact match, `{cell[0]}`, {cell[2]}": percent(results.mean(cell, "exact", strategy)),
            "passes": f"{passes}, {note}" if note else passes,
        }
        rows.append(row | ({} if results.cost is None else {f"time over `{ONE_PASS}`": _cost(results.cost, strategy)}))
    return pd.DataFrame(rows)


def _cost(cost: Cost, strategy: str) -> str:
    """Of exact decoding, the dearest of the forms that were timed."""
    if strategy in (FORM, CTC_FORM):
        return ratio(dearest(cost, strategy.removesuffix(" + form"), ONE_PASS))
    return ratio(cost.over(strategy, ONE_PASS)) if strategy in cost.strategies else ""


def _percent(value: Value) -> str:
    return f"{value.estimate:.0%} ({value.low:.0%} to {value.high:.0%})"


def _backfire(results: Results) -> str:
    """For which head, and by how much, a learned law backfires most."""
    prices = {
        (law, head, damage): results.price(law, head, damage)
        for law in results.laws
        if law != BASE_LAW
        for head in _heads(results)
        for damage in results.size.shifted
    }
    law, head, damage = min(prices, key=lambda key: prices[key].estimate)
    worst = prices[law, head, damage]
    other = prices[law, ONE_PASS, damage]
    costs = f"{points(worst)} points, and `{ONE_PASS}` {points(other)}"
    return f"It costs most with `{head}` after `{law}`, {damage}: {costs}."


def table_of(results: Results) -> pd.DataFrame:
    """One row a cell and strategy: exact match over seeds, passes, C and G."""
    rows = []
    for cell in (*results.own, *results.shifted):
        for strategy in results.strategies:
            if (*cell, strategy) not in results.main.index.droplevel("seed"):
                continue
            exact = results.exact(cell, strategy)
            spread = float(exact.std(ddof=1)) if len(exact) > 1 else float("nan")
            row = {**dict(zip(("law", "read", "damage"), cell, strict=True)), "strategy": strategy, "seeds": len(exact)}
            row |= {"exact": exact.mean(), "sd_over_seeds": spread, "passes": results.mean(cell, "passes", strategy)}
            rows.append({**row, "C": results.mean(cell, "C", strategy), "G": results.mean(cell, "G", strategy)})
    return pd.DataFrame(rows)
