"""What the regression checks hold against the committed baseline: a line for each thing that is worse."""

from __future__ import annotations

import math
from typing import Any

from bench.regression import STRINGS
from bench.workloads.timed_models import LENGTHS

# How far a ratio to the encoder may rise above the baseline's; README.md has the runs that justify it.
TOLERANCE = 1.75
# Decoding the longest string over the shortest, for heads that need one pass: what a head that does more for a longer
# text goes beyond, and noise does not.
FLATNESS = 1.7
# Strings more than the baseline's that a runtime may read otherwise: processors without 8-bit dot products round
# differently from those that have them.
MORE_DISAGREEMENTS = 3


def changed_counts(found: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """One line for every passes or FLOPs count, of those found, that is not the baseline's."""
    lines = []
    for kind in found.keys() & {"passes", "flops", "runtime_passes"}:
        for name in sorted(found[kind].keys() | baseline[kind].keys()):
            now, before = found[kind].get(name), baseline[kind].get(name)
            if now != before:
                lines.append(f"{kind} of {name}: {now}, baseline {before}")
    return lines


def risen_disagreements(found: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """One line for every runtime and head that reads more strings otherwise than eager mode does than it used to."""
    return [
        f"{name} reads {now} of {STRINGS} strings otherwise than eager mode, baseline {baseline['disagreements'][name]}"
        for name, now in found["disagreements"].items()
        if now > baseline["disagreements"].get(name, math.inf) + MORE_DISAGREEMENTS
    ]


def grown_with_length(found: dict[str, float], limit: float = FLATNESS) -> list[str]:
    """One line for every head that needs one pass and yet takes longer for a longer string."""
    return [
        f"{name} decodes {max(LENGTHS)} symbols in {ratio:.2f} times the time of {min(LENGTHS)} (limit {limit})"
        for name, ratio in found.items()
        if ratio > limit
    ]


def risen_ratios(found: dict[str, float], baseline: dict[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """One line for every strategy whose cost over the encoder's has risen beyond the tolerance."""
    return [
        f"{name} decodes in {ratio:.3f} of the encoder's time, "
        f"baseline {baseline['ratios'][name]:.3f} (tolerance {tolerance}×)"
        for name, ratio in found.items()
        if ratio > baseline["ratios"].get(name, math.inf) * tolerance
    ]


def risen_paths(found: dict[str, float], baseline: dict[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """One line for every path to a prediction whose cost over what is done on it has risen beyond the tolerance."""
    return [
        f"{name} takes {ratio:.2f} times what it is made of, baseline {baseline['paths'][name]:.2f} "
        f"(tolerance {tolerance}×)"
        for name, ratio in found.items()
        if ratio > baseline["paths"][name] * tolerance
    ]
