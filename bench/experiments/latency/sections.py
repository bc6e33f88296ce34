"""Sections on latency, and what they claim."""

from __future__ import annotations

import pandas as pd

from bench.core import strategies
from bench.core.experiment import Claim, Section
from bench.core.formatting import ratio, time
from bench.core.templating import prose
from bench.experiments.latency.estimates import Results, fastest
from bench.workloads.timed_models import SMALL_NATIVE, SMALL_SQUARE, TASK_LENGTH
from seqocr.statistics import Value

_DRAFTED = 20  # symbols of the drafts that the text speaks of
FLAT = 2.0  # decoding the longest string over the shortest: a head that pays one pass per symbol is far beyond it


def claims(results: Results) -> list[Claim]:
    """Growth, share of the encoder and speed, of every subject with a fixed image."""
    found = []
    for t in results.fixed:
        label, (generate, own) = t.subject.label, strategies.autoregressive()[:2]
        for head in strategies.one_pass():
            flat = t.flatness(head)
            found.append(Claim(f"{label}: `{head}`, longest over shortest", _flat(flat), flat))
            whole = t.over_encoder(head, TASK_LENGTH)
            said = _over(whole, 1.25, "large", "small")
            found.append(Claim(f"{label}: `{head}`, whole over encoder", said, whole))
        best = fastest(t)
        for over in (generate, own):
            value = t.speedup(best, over, TASK_LENGTH)
            said = _over(value, 1, "faster", "slower")
            found.append(Claim(f"{label}: one pass over `{over}`", said, value))
        slope = t.slope(own)
        found.append(
            Claim(f"{label}: `{own}` grows with n", "grows" if slope.low > 0 else "not seen", slope, ratio=False)
        )
    return found


def _flat(value: Value) -> str:
    return "flat" if value.estimate < FLAT else "grows"


def _over(value: Value, limit: float, above: str, below: str) -> str:
    return above if value.estimate > limit else below


def growth(results: Results) -> Section:
    """How cost grows with length."""
    main = results.main
    longest = f"n = {max(main.lengths)} over n = {min(main.lengths)}, {main.subject.label}"
    table = pd.DataFrame(
        {
            "strategy": f"`{strategy}`",
            **{f"ms per symbol, {t.subject.label}": time(t.slope(strategy)) for t in results.fixed},
            longest: ratio(main.flatness(strategy)),
        }
        for strategy in strategies.deployed()
    )
    own, n = strategies.by_symbol()[0], _DRAFTED if _DRAFTED in main.lengths else max(main.lengths)
    text = prose(
        "latency_growth",
        worst=max(t.flatness(head).estimate for t in results.fixed for head in strategies.one_pass()),
        own=own,
        n=n,
        label=main.subject.label,
        verified={name: main.decodes(name, own, n).estimate for name in strategies.speculative()},
        growing={t.subject.label: t.slope("encoder") for t in results.subjects.values() if t.subject.grows},
    )
    return Section("Cost against length", text, "latency", table)


def whole(results: Results) -> Section:
    """What dropping autoregression saves of the whole."""
    table = pd.DataFrame(
        {
            "model": t.subject.label,
            "encoder, ms": time(t.encode(TASK_LENGTH)),
            **{
                f"one pass, times as fast as `{over}`": ratio(t.speedup(fastest(t), over, TASK_LENGTH))
                for over in strategies.autoregressive()
            },
            **{f"`{name}` over encoder": ratio(t.over_encoder(name, TASK_LENGTH)) for name in strategies.one_pass()},
        }
        for t in results.fixed
    )
    generate, found = strategies.autoregressive()[0], results.subjects
    gains = None
    if {SMALL_SQUARE.name, SMALL_NATIVE.name} <= set(found):
        large, small = found[SMALL_SQUARE.name], found[SMALL_NATIVE.name]
        start = large.total(generate, TASK_LENGTH).estimate
        gains = {
            "head": large.speedup(fastest(large), generate, TASK_LENGTH).estimate,
            "image": start / small.total(generate, TASK_LENGTH).estimate,
        }
    text = prose("latency_share", length=TASK_LENGTH, generate=generate, gains=gains)
    return Section("Where the time goes", text, "breakdown", table)
