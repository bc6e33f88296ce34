"""How what is compared looks in every plot."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core import strategies

# Okabe and Ito's colours, told apart by people with any colour vision; markers differ too.
_COLOURS = (
    "#D55E00",
    "#E69F00",
    "#CC79A7",
    "#0072B2",
    "#009E73",
    "#56B4E9",
    "#B59F00",
    "#7B4EA3",
    "#A04000",
    "#1B9E77",
)
_MARKERS = "sovD^P*X<"


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    line: str
    label: str


ENCODER = Look("#555555", "", "--", "encoder alone")


def look(name: str) -> Look:
    """Of a way to decode, or of the encoder alone: the same in every plot, by its place in the registry."""
    if name == "encoder":
        return ENCODER
    found = strategies.ways()
    place = list(found).index(name)
    return Look(_COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)], "-", found[name].label)


def numbered(place: int) -> Look:
    """Of something that is no way to decode, by its place in a list."""
    return Look(f"C{place % 10}", "os^Dv"[(place + place // 10) % 5], "-", "")
