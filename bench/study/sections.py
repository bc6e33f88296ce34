"""The study's sections of the report."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.core.experiment import DETAILS, LONGEST_TABLE, Section
from bench.core.formatting import percent, points, ratio, share
from bench.core.templating import prose
from bench.study.cost import Cost
from bench.study.decisions import CONSTRAINED, CTC_CONSTRAINED, SPECULATIVE, decisions, shown_as
from bench.study.design import LENGTH, UNIFORM
from bench.study.estimates import AR, JOINT, LOCAL, MARGINAL, ONE_PASS, SEEN, Cell, Results
from bench.study.label_distributions import Placed, pool_total_correlation
from bench.study.predictions import SLOTS
from bench.workloads.timed_models import TASK_LENGTH, TINY
from seqocr.statistics import BETTER, SAME, UNDECIDED, WORSE

_VERDICTS = [BETTER, WORSE, SAME, UNDECIDED]
# In the order of the table; the first ones are shown, all are in its details.
_SHARED = [AR, SPECULATIVE, ONE_PASS, SLOTS, "refine-2", CONSTRAINED, MARGINAL, JOINT]
_SHARED += ["ar-1layer", "ctc", "refine", CTC_CONSTRAINED]


def answer(results: Results, everything: Mapping[str, Any]) -> Section:
    """Which strategy for which strings, and where `ar` is ahead."""
    clean: Cell = (UNIFORM, UNIFORM, results.size.damages[0])
    text = prose(
        "dependence_answer",
        clean=results.gap(clean).difference,
        equal=bool(results.p_within(clean) < 0.05),
        lead=largest_lead(results),
        one_pass=ONE_PASS,
        curves="curves" in everything,
    )
    details = {
        "How to read the table and the map": prose("dependence_legend"),
        "Every strategy": pd.DataFrame(decision.detailed_row for decision in decisions(results)),
        "How the study was made": _setting(results),
        "Caveats, measured": _caveats(results, everything),
        "Cells by verdict": _verdicts(results),
    }
    table = pd.DataFrame(decision.row for decision in decisions(results))
    return Section("When does autoregression pay?", text, "dependence", table, details)


def largest_lead(results: Results) -> dict[str, Any] | None:
    """The damaged cell of dependent symbols where `ar` is ahead of `parallel` by most; None where it is in none."""
    rows = results.family.query("other == @ONE_PASS and labels == read and labels != @UNIFORM and verdict == 'better'")
    rows = rows[rows["damage"] != results.size.damages[0]]
    for row in rows.nlargest(1, "difference").to_dict("records"):
        cell: Cell = (row["labels"], row["read"], row["damage"])
        return {**row, "oracle": results.mean(cell, "exact", MARGINAL)}
    return None


def largest_loss(results: Results) -> dict[str, Any]:
    """Where having learned a label distribution costs most on independent digits: strategy, distribution, damage."""
    prices = {
        (results.price(labels, name, damage).estimate, name, labels, damage)
        for name in _heads(results)
        for labels, _, damage in results.shifted
    }
    _, name, labels, damage = min(prices)
    of = {"strategy": name, "labels": labels, "damage": damage}
    return {**of, "price": results.price(labels, name, damage), "other": results.price(labels, ONE_PASS, damage)}


def gains(results: Results) -> Section:
    """How much of the oracle gain each strategy makes, and the check of the axis."""
    text = prose(
        "dependence_gains",
        below_marginal=bool(results.worthwhile()) and results.captured(AR).high <= 0,
        least=SEEN,
        axis=_axis(results),
        unlearned=results.unlearned(),
        timed=f"{TINY.label}, {results.timed_on}" if results.cost else "",
    )
    table = _shares(results)
    details = {"Every strategy": table, **_by_end(results), **_ablations(results)}
    title = "What there is to gain, and who gains it"
    return Section(title, text, "likelihoods", table.head(LONGEST_TABLE), details, DETAILS)


def shift(results: Results) -> Section:
    """What a learned label distribution costs where it does not hold: one row each, its costliest damage."""
    rows = []
    for labels in (labels for labels in results.labels if labels != UNIFORM):
        damage = min(results.size.shifted, key=lambda damage: results.price(labels, AR, damage).estimate)
        prices = {f"`{name}`": points(results.price(labels, name, damage)) for name in _heads(results)}
        rows.append({"learned": f"`{labels}`", "damage": damage, **prices})
    text = prose("dependence_shift", loss=largest_loss(results), one_pass=ONE_PASS)
    title = "What a learned label distribution costs where it does not hold"
    return Section(title, text, None, pd.DataFrame(rows), page=DETAILS)


def real_amounts() -> dict[str, float]:
    """How far digits of real amounts are from independent: `share` that end in two zeros, `expected` if they were."""
    fitted = Placed.amounts()
    zeros = float(fitted.marginals[-2][0])
    return {"share": zeros * float(fitted.transitions[-1][0, 0]), "expected": zeros * float(fitted.marginals[-1][0])}


def _heads(results: Results) -> list[str]:
    return [name for name in (AR, "ar-1layer", ONE_PASS, "ctc", SLOTS, "refine") if name in results.strategies]


def _setting(results: Results) -> str:
    seeds = results.size.seeds
    shown, found = results.seen_by_one_seed()
    return prose(
        "dependence_setting",
        length=LENGTH,
        size=results.size,
        least=min(seeds.values()),
        most=max(seeds.values()),
        hours=results.facts.get("seconds", 0) / 3600,
        shown=shown,
        found=found,
        detectable=results.family["smallest_seen"].median() * 100,
    )


def _caveats(results: Results, everything: Mapping[str, Any]) -> str:
    """The project's own caveats, and the cell that the bench measured again."""
    frequent = None
    # Of the damages in which a learned distribution was read where it does not hold, the one `parallel` reads worst.
    hard = min(results.size.shifted, key=lambda d: float(results.exact((UNIFORM, UNIFORM, d), ONE_PASS).mean()))
    if "frequencies" in results.size.seeds:
        frequent = results.gap(("frequencies", "frequencies", hard)).difference
    pool = pool_total_correlation(LENGTH)
    timed = everything["latency"].main if "latency" in everything else None
    slower = {n: timed.speedup(ONE_PASS, AR, n).estimate for n in (TASK_LENGTH, max(timed.lengths))} if timed else {}
    return prose(
        "dependence_caveats",
        damage=hard,
        frequent=frequent,
        pool=pool,
        most=100 * math.sqrt(2 * pool),  # Pinsker: each reader's exact match changes by half of it at most
        slower=slower,
        again=results.again,
        exact={} if results.again is None else results.again["rows"].set_index("strategy")["exact"],
    )


def _verdicts(results: Results) -> pd.DataFrame:
    counts = pd.crosstab(results.family["other"], results.family["verdict"])
    counts = counts.reindex(results.others).reindex(columns=_VERDICTS, fill_value=0)
    counts.insert(0, f"`{AR}` beside", [f"`{other}`" for other in counts.index])
    return counts


def _axis(results: Results) -> list[dict[str, Any]]:
    """By strategy that takes symbols as independent: the nats that it loses to `ar`, as a multiple of C."""
    likelihoods = results.likelihoods()
    found = []
    for other, rows in likelihoods[~likelihoods["labels"].isin(results.unlearned())].groupby("other", sort=False):
        lost, c = rows["nats_lost"].to_numpy(), rows["C"].to_numpy()
        if len(rows) > 2 and c.any() and lost.any():
            found.append({"name": other, "times": lost @ c / (c @ c), "correlation": np.corrcoef(c, lost)[0, 1]})
    return found


def _shares(results: Results) -> pd.DataFrame:
    """One row per strategy: share of the oracle gain, lead over the marginal oracle, exact match, passes, time."""
    cells, gain = results.worthwhile(), results.worthwhile(LOCAL)
    if not cells:
        return pd.DataFrame()
    labels, _, damage = cells[0]
    rows = []
    for name in (name for name in _SHARED if name in results.strategies):
        row = {"strategy": shown_as(name)}
        if gain:
            row["share of the oracle gain"] = share(results.captured(name, LOCAL), 0)
        row |= {
            "points over the marginal oracle": points(results.ahead(cells, name, MARGINAL)),
            f"exact match, `{labels}`, {damage}": percent(results.mean(cells[0], "exact", name)),
            "decoder passes": f"{results.passes(name):.2f}",
        }
        rows.append(row | ({} if results.cost is None else {f"time over `{ONE_PASS}`": _cost(results.cost, name)}))
    return pd.DataFrame(rows)


def _cost(cost: Cost, name: str) -> str:
    if name in (CONSTRAINED, CTC_CONSTRAINED):
        return ratio(cost.dearest_constraint(name.removesuffix(" + constraint"), ONE_PASS))
    return ratio(cost.over(name, ONE_PASS)) if name in cost.strategies else ""


def _by_end(results: Results) -> dict[str, pd.DataFrame]:
    """Whether writing from left to right shows: shares of the oracle gain by which end is damaged."""
    rows = []
    for damage in (name for name in results.size.damages if name.startswith(("erased first", "erased last"))):
        if cells := [cell for cell in results.worthwhile(LOCAL) if cell[2] == damage]:
            names = [name for name in (AR, "refine-2", CONSTRAINED) if name in results.strategies]
            shares = {shown_as(name): share(results.captured(name, LOCAL, cells), 0) for name in names}
            rows.append({"share of the oracle gain": damage, **shares})
    return {"By which end is damaged": pd.DataFrame(rows)} if rows else {}


def _ablations(results: Results) -> dict[str, pd.DataFrame]:
    """How `ar` and `parallel` read when training differs, in the cell where most is to gain."""
    table = results.ablations()
    there = [cell for cell in results.worthwhile(LOCAL) if cell[0] == results.size.ablated]
    if table.empty or not there:
        return {}
    labels, _, damage = max(there, key=lambda cell: results.gap(cell).difference.estimate)
    here = table[table["damage"] == damage].pivot(index="trained", columns="strategy", values="exact")
    here = here.loc[[*dict.fromkeys(table["trained"])], [AR, ONE_PASS]].dropna().map(percent)
    here = here.rename(columns="`{}`".format).rename_axis(f"exact match, `{labels}`, {damage}").reset_index()
    return {"By how heads were trained": here}
