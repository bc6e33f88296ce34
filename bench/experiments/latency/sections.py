"""What the report says and draws of latency."""

from __future__ import annotations

import pandas as pd

from bench.core import strategies
from bench.core.experiment import Claim, Section
from bench.experiments.latency.estimates import Results, fastest
from bench.report.formatting import ratio, time
from bench.workloads.timed_models import SMALL_NATIVE, SMALL_SQUARE, TASK_LENGTH
from seqocr.statistics import Value

_DRAFTED = 20  # symbols of the drafts that the text speaks of
FLAT = 2.0  # decoding the longest string over the shortest: a head that pays a pass a symbol is far beyond it


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
    rows = []
    for variant in strategies.deployed():
        row = {"way to decode": f"`{variant}`"}
        for t in results.fixed:
            row[f"{t.subject.label}: ms a symbol"] = time(t.slope(variant))
            row[f"n = {max(t.lengths)} over n = {min(t.lengths)}, {t.subject.label}"] = ratio(t.flatness(variant))
        rows.append(row)
    worst = max(t.flatness(head).estimate for t in results.fixed for head in strategies.one_pass())
    of = results.main
    own, n = strategies.autoregressive()[-1], _DRAFTED if _DRAFTED in of.lengths else max(of.lengths)
    checked = "; ".join(
        f"{n} symbols take `{name}` {ratio(of.decodes(name, own, n))} times as long as `{own}`"
        for name in strategies.verified()
    )
    text = (
        "A way that decodes token by token pays a decoder pass a symbol. A one-pass head needs one pass whatever the "
        f"text. Built for the longest string, it decodes in at most {worst:.2f} times the time of one built for the "
        "shortest. A draft that is right is verified in one pass, whose work grows with the text: "
        f"{checked} ({of.subject.label}). The table is of decoding alone; the encoder comes on top, for every head "
        "alike."
    )
    for t in results.subjects.values():
        if t.subject.grows:
            text += (
                f" Where the image grows with the string ({t.subject.label}), every head takes longer for a longer "
                f"string: the encoder alone takes {time(t.slope('encoder'), ' ms')} a symbol."
            )
    return Section("Cost against length", text, "latency", pd.DataFrame(rows))


def whole(results: Results) -> Section:
    """What dropping autoregression saves of the whole."""
    rows = []
    for t in results.fixed:
        head = fastest(t)
        rows.append(
            {
                "model": t.subject.label,
                "encoder, ms": time(t.encode(TASK_LENGTH)),
                **{
                    f"times as fast as `{over}`": ratio(t.speedup(head, over, TASK_LENGTH))
                    for over in strategies.autoregressive()
                },
                **{
                    f"`{name}` over encoder": ratio(t.over_encoder(name, TASK_LENGTH)) for name in strategies.one_pass()
                },
            }
        )
    text = (
        f'Image to text, n = {TASK_LENGTH}, batch 1, confidence included. "Times as fast" is of the faster '
        "one-pass head. The encoder is the floor for every head: the larger the image, the less there is to save by "
        "decoding at once."
    )
    found = results.subjects
    if {SMALL_SQUARE.name, SMALL_NATIVE.name} <= set(found):
        large, small = found[SMALL_SQUARE.name], found[SMALL_NATIVE.name]
        start = large.total(strategies.autoregressive()[0], TASK_LENGTH).estimate
        one_pass = large.speedup(fastest(large), strategies.autoregressive()[0], TASK_LENGTH).estimate
        image = start / small.total(strategies.autoregressive()[0], TASK_LENGTH).estimate
        both = start / small.total(fastest(small), TASK_LENGTH).estimate
        text += (
            f" Start from `{strategies.autoregressive()[0]}` at 384×384. A one-pass head makes it "
            f"{one_pass:.2f} times as fast, a 32×160 image {image:.1f} times, both together {both:.1f} times "
            "(the image sizes were timed one after the other). The smaller image's cost in accuracy is not measured."
        )
    return Section("Where the time goes", text, "breakdown", pd.DataFrame(rows))
