"""The heads there are. To add one: a file beside this one, and its class in one of these lists."""

from __future__ import annotations

from collections.abc import Mapping

from seqocr.errors import InputError
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import Head
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.heads.parallel import ParallelHead
from seqocr.models.heads.refining import RefiningHead
from seqocr.models.heads.shallow import ShallowHead
from seqocr.models.heads.speculative import SpeculativePair

HEADS: dict[str, type[Head]] = {head.name: head for head in (AutoregressiveHead, ParallelHead, CTCHead)}
# Built, trained and measured only where they are asked for by name.
STUDIED: dict[str, type[Head]] = {head.name: head for head in (ShallowHead, RefiningHead)}

# Two heads of a recognizer that read together.
PAIRS: dict[str, type[SpeculativePair]] = {pair.name: pair for pair in (SpeculativePair,)}


def head_class(name: str) -> type[Head]:
    """
    Raises:
        InputError: there is no such head.
    """
    if name not in HEADS and name not in STUDIED:
        raise InputError(f"unknown head {name!r}: choose from {', '.join((*HEADS, *STUDIED))}")
    return HEADS[name] if name in HEADS else STUDIED[name]


def pairs_of(heads: Mapping[str, Head]) -> dict[str, SpeculativePair]:
    """The pairs that heads make, by name."""
    made = {name: pair.of(heads) for name, pair in PAIRS.items()}
    return {name: pair for name, pair in made.items() if pair is not None}
