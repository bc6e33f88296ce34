"""Sections on latency, their claims and their plots."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.core.experiment import DETAILS, Claim, Section
from bench.core.formatting import ratio, time
from bench.core.templating import prose
from bench.experiments.latency.estimates import Results, fastest
from bench.workloads.timed_models import SMALL_NATIVE, SMALL_SQUARE, TASK_LENGTH

FLAT = 2.0  # decoding the longest string over the shortest: a head that pays one pass per symbol is far beyond it


def claims(results: Results) -> list[Claim]:
    """Growth, share of the encoder and speed, of every subject with a fixed image."""
    found = []
    for t in results.fixed:
        label, (generate, own) = t.subject.label, strategies.autoregressive()[:2]
        for head in strategies.one_pass():
            flat, whole = t.flatness(head), t.over_encoder(head, TASK_LENGTH)
            said = "flat" if flat.estimate < FLAT else "grows"
            found.append(Claim(f"{label}: `{head}`, longest over shortest", said, flat))
            said = "large" if whole.estimate > 1.25 else "small"
            found.append(Claim(f"{label}: `{head}`, whole over encoder", said, whole))
        for over in (generate, own):
            value = t.speedup(fastest(t), over, TASK_LENGTH)
            said = "faster" if value.estimate > 1 else "slower"
            found.append(Claim(f"{label}: one pass over `{over}`", said, value))
        slope = t.slope(own)
        said = "grows" if slope.low > 0 else "not seen"
        found.append(Claim(f"{label}: `{own}` grows with n", said, slope, ratio=False))
    return found


def growth(results: Results) -> Section:
    """How cost grows with length."""
    main = results.main
    longest = f"n = {max(main.lengths)} over n = {min(main.lengths)}, {main.subject.label}"
    table = pd.DataFrame(
        {
            "strategy": f"`{strategy}`",
            longest: ratio(main.flatness(strategy)),
        }
        for strategy in strategies.deployed()
    )
    text = prose(
        "latency_growth",
        worst=max(t.flatness(head).estimate for t in results.fixed for head in strategies.one_pass()),
    )
    growing = {t.subject.label: t.slope("encoder") for t in results.subjects.values() if t.subject.grows}
    every = pd.DataFrame(
        {
            "strategy": f"`{strategy}`",
            **{f"ms per symbol, {t.subject.label}": time(t.slope(strategy)) for t in results.fixed},
        }
        for strategy in strategies.deployed()
    )
    details: dict[str, Any] = {"Every model": every}
    details |= {"Where the image grows": prose("latency_growing", growing=growing)} if growing else {}
    return Section("Cost against length", text, "latency", table, details)


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
    generate = strategies.autoregressive()[0]
    text = prose("latency_share", length=TASK_LENGTH, generate=generate, gains=gains_at_384(results))
    return Section("Where the time goes", text, "breakdown", table, page=DETAILS)


def gains_at_384(results: Results) -> dict[str, float] | None:
    """How many times as fast as `ar-generate` at TrOCR's own image size one pass is there, and it itself with a small
    image; None where they were not both timed."""
    generate, found = strategies.autoregressive()[0], results.subjects
    if not {SMALL_SQUARE.name, SMALL_NATIVE.name} <= set(found):
        return None
    large, small = found[SMALL_SQUARE.name], found[SMALL_NATIVE.name]
    return {
        "head": large.speedup(fastest(large), generate, TASK_LENGTH).estimate,
        "image": large.total(generate, TASK_LENGTH).estimate / small.total(generate, TASK_LENGTH).estimate,
    }


def latency_plot(results: Results) -> Figure:
    """Milliseconds a string against its length, one panel a subject, with bands of 95 % confidence."""
    subjects = list(results.subjects.values())
    figure, axes = plotting.panels(len(subjects), 4.6, 3.3)
    for axis, t in zip(axes, subjects, strict=True):
        for strategy in (*t.strategies, "encoder"):
            plotting.curve(axis, strategy, t.lengths, [t.total(strategy, n) for n in t.lengths])
        axis.set_yscale("log")  # else all that read in one pass would be one line
        plotting.plain_log_axis(axis, "y")
        axis.set_title(t.subject.label, fontsize=10)
        # 1 and 2 would touch on a long axis.
        axis.set_xticks(t.lengths if max(t.lengths) <= 10 else [n for n in t.lengths if n != 2])
        axis.set_xlabel("symbols written, n")
        axis.set_ylabel("image to text, ms")
    figure.suptitle("Latency against length, batch 1 (95 % CI)", fontsize=11)
    present = {v for t in subjects for v in t.strategies}
    plotting.legend(figure, [*(v for v in strategies.by_name() if v in present), "encoder"])
    return figure


def breakdown_plot(results: Results) -> Figure:
    """Encoder and decoder milliseconds of each strategy, stacked, at the task's length and at the longest."""
    parts = [(t, n) for t in results.fixed for n in sorted({TASK_LENGTH, max(t.lengths)})]
    figure, axes = plotting.panels(len(parts), 4.6, 2.1)
    for axis, (t, n) in zip(axes, parts, strict=True):
        shown = list(strategies.deployed())[::-1]
        encode = t.encode(n).estimate
        decode = [t.decode(v, n).estimate for v in shown]
        axis.barh(shown, [encode] * len(shown), color="#BBBBBB")
        axis.barh(shown, decode, left=encode, color=[plotting.style_of(v).colour for v in shown])
        for y, ms in enumerate(decode):
            axis.text(encode + ms, y, f" {ms / (encode + ms):.0%}", va="center", fontsize=8)
        axis.set_xlim(0, (encode + max(decode)) * 1.14)
        axis.grid(axis="y", visible=False)
        axis.set_title(f"{t.subject.label}, n = {n}", fontsize=10)
        axis.set_xlabel("ms")
    figure.suptitle("Where the time goes: encoder (grey) and decoder (colour, with its share)", fontsize=11)
    return figure
