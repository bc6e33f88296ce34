"""What a reader with one minute sees: which head to use, a picture, a table. The same in the report and in README."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import pandas as pd

from bench.core import strategies
from bench.core.formatting import markdown_table, percent, ratio, share, time
from bench.core.templating import prose
from bench.experiments.curves import under_counted_form
from bench.report import answer_picture
from bench.report.answer_picture import ADAPTED, HARDEST
from bench.report.screen_times import ScreenTimes, screen_times
from bench.study.curve_estimates import EARLY, SEEDS, SHALLOW
from bench.study.decisions import CONSTRAINED, SPECULATIVE, Decision, decisions
from bench.study.estimates import AR, ONE_PASS
from bench.study.family_estimates import FamilyResults
from bench.study.family_session import INT8
from bench.study.sections import largest_lead, largest_loss
from bench.workloads.accuracy_tables import Comparison
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.statistics import MARGIN, WORSE, Value

_SHIPPED = "zero-shot"  # the other phase of real lines
_NOT_TRAINED = "not trained"  # a head that the weights do not hold
_HEADS = (AR, SHALLOW, ONE_PASS, "ctc")  # whose differences stand beside those of encoders


def first_screen(everything: Mapping[str, Any], plots: str = "plots") -> str:
    """Markdown, from the results of all experiments by name.

    Args:
        plots: where the pictures are, seen from the page.
    """
    times = screen_times(everything)
    generate, own = strategies.autoregressive()[:2]
    head = times.fastest
    curves = everything.get("curves")
    counted = under_counted_form(curves, curves.leads[0]) if curves else None
    answer = prose(
        "answer",
        comparisons=comparisons(everything),
        head=head,
        own=own,
        generate=generate,
        one_pass=ONE_PASS,
        speculative_name=SPECULATIVE,
        faster={name: times.over(name, head).estimate for name in (generate, own)},
        model=times.label,
        length=TASK_LENGTH,
        study=summarize_study(everything),
        curves=curves.decomposition[0] if curves else None,
        counted=counted,
        counted_is_enough=counted is not None and counted[ONE_PASS] >= counted[AR] - MARGIN,
        early=EARLY,
        shallow=times.over(SHALLOW, head) if SHALLOW in times.names else None,
        beyond=beyond_heads(everything),
        level=HARDEST,
    )
    family = everything.get("family")
    picture = f'<img src="{plots}/{answer_picture.NAME}.png" width="100%" alt="string error against time">'
    caption = prose("answer_picture", elsewhere=_real_elsewhere(everything), family=family, level=HARDEST)
    pictures = [picture, caption] if answer_picture.picture(everything) else []
    below = prose("answer_table", length=TASK_LENGTH, real=everything.get("real"), times=times, shallow=SHALLOW)
    return "\n\n".join([answer, *pictures, markdown_table(heads_table(everything, times)), below])


def comparisons(everything: Mapping[str, Any]) -> list[Comparison]:
    """`ar` beside every one-pass head: on five clean digits, at the levels, on real lines. At the levels by all shipped
    weights where these were read, else by the weights evaluated."""
    family = everything.get("family")
    levels = "family" if family and family.comparisons else "levels"
    return [
        each for name in ("accuracy", levels, "real") if name in everything for each in everything[name].comparisons
    ]


def from_scratch(everything: Mapping[str, Any]) -> dict[str, Any] | None:
    """How `ar` does beside one-pass heads where all had few strings to learn from; None: too few trainings tell."""
    family: FamilyResults | None = everything.get("family")
    if family is None or not (leads := family.leads(HARDEST)):
        return None
    alone = family.leads_alone(HARDEST)
    verdicts = [verdict for _, verdict in leads + alone]
    return {
        "lead": _least_and_most(100 * difference.estimate for difference, _ in leads),
        "alone": _least_and_most(100 * difference.estimate for difference, _ in alone) if alone else None,
        "better": sum(verdict.is_better for verdict in verdicts),
        "worse": sum(verdict.word == WORSE for verdict in verdicts),
        "compared": len(verdicts),
    }


def summarize_study(everything: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the study decides: strings where constrained decoding, and where learning, gains most over `parallel`."""
    results = everything.get("dependence")
    if results is None:
        return None
    found = decisions(results)

    def most(name: str, among: list[Decision]) -> Decision | None:
        return max(among, key=lambda decision: decision.exact[name] - decision.exact[ONE_PASS], default=None)

    structured = [decision for decision in found if decision.labels and CONSTRAINED in decision.exact]
    return {
        "constrained": most(CONSTRAINED, [decision for decision in structured if CONSTRAINED in decision.known]),
        "at_least": all(decision.exact[CONSTRAINED] >= decision.exact[AR] - MARGIN for decision in structured),
        "learned": most(AR, [decision for decision in found if decision.labels and AR in decision.learned]),
        "lead": largest_lead(results),
        "loss": largest_loss(results),
        "form": CONSTRAINED,
    }


def beyond_heads(everything: Mapping[str, Any]) -> dict[str, Any]:
    """What matters more than the head: the encoder's size, adapting to real lines, a graph in int8. Of each, points of
    exact match or times as fast, least and most of the heads; only what was measured."""
    found: dict[str, Any] = {}
    family: FamilyResults | None = everything.get("family")
    real = everything.get("real")
    several = [name for name in family.trained if family.seeds(name) >= SEEDS] if family else []
    if family and len(several) > 1:
        small, large = several[0], several[-1]
        exact = {name: {head: family.exact(name, HARDEST, head).estimate for head in _HEADS} for name in (small, large)}
        found["encoders"] = (small, large)
        found["gained"] = _least_and_most(100 * (exact[large][head] - exact[small][head]) for head in _HEADS)
    if family and several and family.longest_trained:
        found["trained"] = family.longest_trained
        for key, name in (("long", family.longest_trained), ("short", several[-1])):
            found[key] = _least_and_most(100 * family.exact(name, HARDEST, head).estimate for head in _HEADS)
        found["short_name"] = several[-1]
    if family and family.main and (graphs := _with_graphs(family, family.main)):
        found["faster"] = _least_and_most(family.times_of_int8(family.main, 1, head) for head in graphs)
        found["lost"] = _least_and_most(
            100 * (family.exact(family.main, HARDEST, head).estimate - value.estimate) for head, value in graphs.items()
        )
    if real and ADAPTED in set(real.summary["phase"]):
        found["adapted"] = _least_and_most(
            100 * (real.exact(head, ADAPTED).estimate - real.exact(head, _SHIPPED).estimate) for head in real.heads
        )
    names = {"gained": "the encoder", "trained": "its training", "adapted": "your data", "faster": "the runtime"}
    return {**found, "named": [named for key, named in names.items() if key in found]} if found else {}


def _with_graphs(family: FamilyResults, encoder: str) -> dict[str, Value]:
    """Exact match of an encoder's graphs that were timed, by head."""
    timed = [head for head in _HEADS if f"{head}, {INT8}" in family.timed_strategies(encoder)]
    exact = {head: family.int8_exact(encoder, HARDEST, head) for head in timed}
    return {head: value for head, value in exact.items() if value is not None}


def _least_and_most(found: Iterable[float]) -> tuple[float, float]:
    numbers = sorted(found)
    return numbers[0], numbers[-1]


def heads_table(everything: Mapping[str, Any], times: ScreenTimes) -> pd.DataFrame:
    """One row per deployed strategy, and `SHALLOW` where it was timed: what it reads, what it takes."""
    family = everything.get("family")
    rows = []
    for name in times.names:
        row = {"strategy": f"`{name}`", "decoder passes": _passes(name)}
        if family is not None and times.label == family.main:
            row[f"`{HARDEST}`, any length"] = share(family.exact(times.label, HARDEST, name))
        else:
            row |= _of_shipped_weights(everything, name)
        if real := everything.get("real"):
            row["real lines, adapted"] = _cell(name, real.heads, partial(real.exact, phase=ADAPTED))
        row[f"{times.label}, ms"] = time(times.milliseconds(name))
        row["over one pass"] = ratio(times.over(name, times.fastest)) if name != times.fastest else "1"
        rows.append(row)
    return pd.DataFrame(rows)


def _of_shipped_weights(everything: Mapping[str, Any], name: str) -> dict[str, str]:
    exact, levels = _five_digits(everything, name), everything.get("levels")
    found = {f"exact match, {TASK_LENGTH} digits": percent(exact.estimate) if exact else _NOT_TRAINED}
    if levels:
        found[f"`{HARDEST}`, any length"] = _cell(name, levels.heads, partial(levels.exact, HARDEST))
    return found


def _cell(name: str, there: Collection[str], exact: Callable[[str], Value]) -> str:
    if name != SHALLOW and name not in strategies.heads():
        return f"as `{strategies.head_of(name)}`"  # other strategies of a head read as it does
    return share(exact(name)) if name in there else _NOT_TRAINED


def _five_digits(everything: Mapping[str, Any], name: str) -> Value | None:
    """Exact match of the task; of `SHALLOW`, by a decoder trained on the frozen encoder of the weights."""
    if name != SHALLOW:
        found: Value | None = everything["accuracy"].exact(name)
        return found
    depth = everything.get("depth")
    return depth.exact(min(depth.layers)) if depth is not None and not depth.right.empty else None


def _passes(name: str) -> str:
    found = strategies.by_name().get(name)
    if found is None or not (found.is_speculative or found.is_one_pass):
        return "n + 1"
    return "1 or more" if found.is_speculative else "1"


def _real_elsewhere(everything: Mapping[str, Any]) -> bool:
    return "real" in everything and bool(everything["real"].about.get("elsewhere"))
