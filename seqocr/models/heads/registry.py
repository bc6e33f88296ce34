"""The heads there are. To add one: a file beside this one, and its class in one of these lists; or a package of your
own that names it under the entry point group `seqocr.heads`."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

from seqocr.errors import InputError
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import OUTPUTS, Head
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.heads.parallel import ParallelHead
from seqocr.models.heads.permuted import PermutedHead
from seqocr.models.heads.refining import RefiningHead, SlotsHead
from seqocr.models.heads.reversed import ReversedHead
from seqocr.models.heads.shallow import ShallowHead
from seqocr.models.heads.speculative import SpeculativePair, find_pairs
from seqocr.plugins import REMEDY, check_name, installed, load_plugin

ENTRY_POINTS = "seqocr.heads"
HEADS: dict[str, type[Head]] = {head.name: head for head in (AutoregressiveHead, ParallelHead, CTCHead)}
# Built, trained and measured only where they are asked for by name.
STUDIED: dict[str, type[Head]] = {
    head.name: head for head in (ShallowHead, ReversedHead, RefiningHead, SlotsHead, PermutedHead)
}


def available_heads() -> dict[str, type[Head]]:
    """All heads by name but those of the study: built-in ones, then those of installed packages.

    Raises:
        InputError: a package's head cannot be imported, or is no head.
    """
    return {**HEADS, **{name: _load(plugin) for name, plugin in _plugins().items() if name not in HEADS}}


def head_class(name: str) -> type[Head]:
    """
    Raises:
        InputError: there is no such head, or it cannot be imported.
    """
    if built_in := HEADS.get(name, STUDIED.get(name)):
        return built_in
    if (plugin := _plugins().get(name)) is None:
        raise InputError(f"unknown head {name!r}: choose from {', '.join((*HEADS, *STUDIED, *_plugins()))}")
    return _load(plugin)


def pairs_of(heads: Mapping[str, Any]) -> dict[str, SpeculativePair]:
    """The pairs that a recognizer's heads make for speculative decoding, by name."""
    pairs = [SpeculativePair(heads[verifier], heads[drafter]) for verifier, drafter in find_pairs(heads)]
    return {pair.name: pair for pair in pairs}


def _plugins() -> dict[str, EntryPoint]:
    return installed(ENTRY_POINTS)


@cache
def _load(plugin: EntryPoint) -> type[Head]:
    found, where = load_plugin(plugin, "head")
    if not (isinstance(found, type) and issubclass(found, Head)):
        raise InputError(f"{where} is no subclass of seqocr.models.heads.base.Head: {REMEDY}")
    if (declared := getattr(found, "output", None)) not in OUTPUTS:
        raise InputError(f"{where} declares the output {declared!r}: declare one of {', '.join(OUTPUTS)}")
    check_name(where, found.name, plugin)
    return found
