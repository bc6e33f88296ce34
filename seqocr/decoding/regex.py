"""Regular expressions as automata."""

import re
from typing import Any

import interegular
from interegular.fsm import anything_else

from seqocr.decoding.automaton import ACCEPT, Automaton, accept_if, build, minimise
from seqocr.errors import InputError

_MAX_STATES = 200_000


def compile_regex(pattern: str, charset: str) -> Automaton:
    """The texts that match a regular expression from beginning to end; `^` and `$` there are allowed. InputError if it
    cannot be parsed, no text of the charset matches it, or it names a symbol outside the charset."""
    inner = re.sub(r"(?<!\\)\$$", "", pattern.removeprefix("^"))
    try:
        re.compile(inner)
        machine: Any = interegular.parse_pattern(inner).to_fsm()
    except Exception as error:  # interegular's errors have no common base class
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"--pattern {pattern!r} cannot be used ({reason}): give a regular expression without look-behind, "
            "references to groups, or anchors inside"
        ) from None
    if len(machine.states) > _MAX_STATES:
        raise InputError(f"--pattern {pattern!r} has {len(machine.states):,} states: give a simpler one")
    if outside := sorted(_literals(inner) - set(charset)):
        raise InputError(
            f"--pattern {pattern!r} has {outside[0]!r}, which is not in the charset {charset!r}: these weights cannot "
            "read it"
        )
    other = machine.alphabet.get(anything_else)
    keys = [machine.alphabet.get(symbol, other) for symbol in charset]

    def step(state: int, i: int) -> tuple[int, float] | None:
        after = machine.map.get(state, {}).get(keys[i])
        return None if after is None else (after, ACCEPT)

    try:
        return minimise(build(machine.initial, step, lambda state: accept_if(state in machine.finals), len(charset)))
    except InputError:
        raise InputError(
            f"--pattern {pattern!r} matches no text of the charset {charset!r}: give one that matches some"
        ) from None


def _literals(pattern: str) -> set[str]:
    """Letters and digits that a pattern names one by one: not in classes such as \\d, in counts, or in ranges."""
    bare = re.sub(r"\\.|\{[\d,]*\}|\(\?[a-zA-Z]+\)|\(\?P<\w+>|\w-\w|\[\^[^\]]*\]", " ", pattern)
    return {symbol for symbol in bare if symbol.isalnum()}
