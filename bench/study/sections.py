"""The study's sections of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.core.experiment import LONGEST_TABLE, Section
from bench.core.formatting import percent, points, ratio, share
from bench.core.templating import prose
from bench.study.cost import Cost, dearest
from bench.study.decisions import CONSTRAINED, CTC_CONSTRAINED, SPECULATIVE, decision_table, shown_as
from bench.study.design import BASE_LAW, LENGTH
from bench.study.estimates import AR, JOINT, LOCAL, MARGINAL, ONE_PASS, SEEN, Cell, Results
from bench.study.label_distributions import LABEL_DISTRIBUTIONS
from bench.study.predictions import SLOTS
from bench.workloads.timed_models import TASK_LENGTH, TINY

_VERDICTS = {"better": "better", "worse": "worse", "the same": "within 1 point", "open": "undecided"}
# In the order of the table; the first ones are shown, all are in its details.
_SHARED = (
    AR,
    SPECULATIVE,
    ONE_PASS,
    SLOTS,
    "refine-2",
    CONSTRAINED,
    MARGINAL,
    JOINT,
    "ar-1layer",
    "ctc",
    "refine",
    CTC_CONSTRAINED,
)


def answer(results: Results, everything: Mapping[str, Any]) -> Section:
    """Which strategy for which strings, and where `ar` is ahead."""
    text = prose(
        "dependence_answer",
        equal=results.gap((BASE_LAW, BASE_LAW, results.size.damages[0])),
        lead=largest_lead(results),
        one_pass=ONE_PASS,
        constrained=shown_as(CONSTRAINED),
    )
    details = {
        "How the study was made": _setting(results),
        "Caveats, measured": _caveats(results, everything),
        "Cells by verdict": _verdicts(results),
    }
    return Section("When does autoregression pay?", text, "dependence", decision_table(results), details)


def largest_lead(results: Results) -> dict[str, Any] | None:
    """The damaged cell of dependent symbols where `ar` is ahead of `parallel` by most; None where it is in none."""
    rows = results.family[results.family["other"] == ONE_PASS]
    dependent = (rows["law"] == rows["read"]) & (rows["law"] != BASE_LAW) & (rows["damage"] != results.size.damages[0])
    found = rows[dependent & (rows["verdict"] == "better")].nlargest(1, "difference").to_dict("records")
    if not found:
        return None
    (row,) = found
    cell: Cell = (row["law"], row["read"], row["damage"])
    return {
        **row,
        "oracle": results.mean(cell, "exact", MARGINAL),
        "beside_constrained": results.gap(cell, AR, CONSTRAINED).difference
        if CONSTRAINED in results.strategies
        else None,
    }


def largest_loss(results: Results) -> dict[str, Any]:
    """Where having learned a label distribution costs most on independent digits: strategy, distribution, damage."""
    prices = {
        (results.price(law, name, damage).estimate, name, law, damage)
        for law in results.laws
        if law != BASE_LAW
        for name in _heads(results)
        for damage in results.size.shifted
    }
    _, name, law, damage = min(prices)
    of = {"strategy": name, "law": law, "damage": damage}
    return {**of, "price": results.price(law, name, damage), "other": results.price(law, ONE_PASS, damage)}


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
    return Section(title, text, "likelihoods", table.head(LONGEST_TABLE), details)


def shift(results: Results) -> Section:
    """What a learned label distribution costs where it does not hold: one row each, its costliest damage."""
    rows = []
    for law in (law for law in results.laws if law != BASE_LAW):
        damage = min(results.size.shifted, key=lambda damage: results.price(law, AR, damage).estimate)
        prices = {f"`{name}`": points(results.price(law, name, damage)) for name in _heads(results)}
        rows.append({"learned": f"`{law}`", "damage": damage, **prices})
    text = prose("dependence_shift", loss=largest_loss(results), one_pass=ONE_PASS)
    return Section("What a learned label distribution costs where it does not hold", text, None, pd.DataFrame(rows))


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
    hard = min(results.size.shifted, key=lambda d: float(results.exact((BASE_LAW, BASE_LAW, d), ONE_PASS).mean()))
    if "frequencies" in results.size.seeds:
        frequent = results.gap(("frequencies", "frequencies", hard)).difference
    pool = LABEL_DISTRIBUTIONS["pool"](LENGTH).total_correlation
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
        exact={} if results.again is None else results.again.rows.set_index("strategy")["exact"],
    )


def _verdicts(results: Results) -> pd.DataFrame:
    by_other = results.family.groupby("other", sort=False)["verdict"]
    return pd.DataFrame(
        {
            f"`{AR}` beside": f"`{other}`",
            **{said: int((verdicts == verdict).sum()) for verdict, said in _VERDICTS.items()},
        }
        for other, verdicts in by_other
    )


def _axis(results: Results) -> list[dict[str, Any]]:
    """By strategy that takes symbols as independent: the nats that it loses to `ar`, as a multiple of C."""
    likelihoods = results.likelihoods()
    found = []
    for other, rows in likelihoods[~likelihoods["law"].isin(results.unlearned())].groupby("other", sort=False):
        lost, c = rows["nats_lost"].to_numpy(), rows["C"].to_numpy()
        if len(rows) > 2 and c.any() and lost.any():
            found.append({"name": other, "times": lost @ c / (c @ c), "correlation": np.corrcoef(c, lost)[0, 1]})
    return found


def _shares(results: Results) -> pd.DataFrame:
    """One row per strategy: share of the oracle gain, lead over the marginal oracle, exact match, passes, time."""
    cells, worth = results.worthwhile(), results.worthwhile(LOCAL)
    if not cells:
        return pd.DataFrame()
    law, _, damage = cells[0]
    rows = []
    for name in (name for name in _SHARED if name in results.strategies):
        row = {"strategy": shown_as(name)}
        if worth:
            row["share of the oracle gain"] = share(results.captured(name, LOCAL), 0)
        row |= {
            "points over the marginal oracle": points(results.ahead(cells, name, MARGINAL)),
            f"exact match, `{law}`, {damage}": percent(results.mean(cells[0], "exact", name)),
            "decoder passes": f"{results.passes(name):.2f}",
        }
        rows.append(row | ({} if results.cost is None else {f"time over `{ONE_PASS}`": _cost(results.cost, name)}))
    return pd.DataFrame(rows)


def _cost(cost: Cost, name: str) -> str:
    """Of constrained decoding, the dearest of the constraints that were timed."""
    if name in (CONSTRAINED, CTC_CONSTRAINED):
        return ratio(dearest(cost, name.removesuffix(" + constraint"), ONE_PASS))
    return ratio(cost.over(name, ONE_PASS)) if name in cost.strategies else ""


def _by_end(results: Results) -> dict[str, pd.DataFrame]:
    """Whether writing from left to right shows: shares of the oracle gain by which end is damaged."""
    rows = []
    for damage in (name for name in results.size.damages if name.startswith(("erased first", "erased last"))):
        if cells := [cell for cell in results.worthwhile(LOCAL) if cell[2] == damage]:
            names: Sequence[str] = [name for name in (AR, "refine-2", CONSTRAINED) if name in results.strategies]
            shares = {shown_as(name): share(results.captured(name, LOCAL, cells), 0) for name in names}
            rows.append({"share of the oracle gain": damage, **shares})
    return {"By which end is damaged": pd.DataFrame(rows)} if rows else {}


def _ablations(results: Results) -> dict[str, pd.DataFrame]:
    """How `ar` and `parallel` read when training differs, in the cell where most is to gain."""
    table = results.ablations()
    there = [cell for cell in results.worthwhile(LOCAL) if cell[0] == results.size.ablated]
    if table.empty or not there:
        return {}
    law, _, damage = max(there, key=lambda cell: results.gap(cell).difference.estimate)
    here = table[table["damage"] == damage].pivot(index="trained", columns="strategy", values="exact")
    rows = [
        {f"exact match, `{law}`, {damage}": trained, **{f"`{name}`": percent(here.loc[trained, name]) for name in both}}
        for both in [(AR, ONE_PASS)]
        for trained in dict.fromkeys(table["trained"])
        if here.loc[trained, list(both)].notna().all()
    ]
    return {"By how heads were trained": pd.DataFrame(rows)}
