"""Whether a constraint suits what reads: how much of it a head can write, and how likely what it allows."""

from functools import lru_cache

import numpy as np

from seqocr.decoding.automaton import REJECT, Automaton
from seqocr.errors import InputError

# Of synthetic lines of 4 to 9 digits (300 each of grid, jitter and wild; parallel and ctc) under lists of 60 and 1,000
# codes, this empties 98 to 100 % where the list does not have the line, and 0 to 4 % of those read right where it does.
MIN_FIT = 0.001
_LONGEST = 200  # symbols of a text; an automaton that goes on beyond has no limit of its own
_MOST_COUNTED = 1_000_000  # texts: of more, such as those of a check digit, lengths say more


@lru_cache(maxsize=16)
def unreachable_texts(automaton: Automaton, charset: str, longest: int, head: str, output: str = "slots") -> str:
    """What a head cannot write of the accepted texts, in one sentence; empty where it can write all, or where their
    length has no limit: then nobody has said that long ones are to come.

    Args:
        automaton: of the accepted texts, without dead ends.
        longest: symbols that the head can write.
        head: its name; output: that it declares.

    Raises:
        InputError: it can write none of them.
    """
    counts = count_texts(automaton)
    lengths = [n for n, count in enumerate(counts) if count]
    limit = f"head {head} of these weights writes at most {longest} symbols"
    if not lengths or lengths[0] > longest:
        shortest = lengths[0] if lengths else _LONGEST
        raise InputError(
            f"{limit}, and no text that satisfies the constraint is so short: they have {shortest} or more. Choose "
            "another --head, or train weights that write longer texts"
        )
    if output == "ctc" and not _fits_frames(automaton, longest):
        raise InputError(
            f"head {head} of these weights has {longest} frames, and no text that satisfies the constraint fits: a "
            "symbol takes one, and one more where it repeats the last. Choose another --head"
        )
    beyond = [n for n in lengths if n > longest]
    if not beyond or len(counts) > _LONGEST:
        return ""
    total = sum(counts[n] for n in beyond)
    listed = ", ".join(map(str, beyond))
    if total > _MOST_COUNTED:
        return f"{limit}: of the texts that satisfy the constraint, it cannot read those of {listed}"
    first = "".join(charset[i] for i in _first_beyond(automaton, longest))
    return f"{limit}: of the texts that satisfy the constraint, it cannot read {total:,.0f}, the first of them {first}"


def count_texts(automaton: Automaton) -> list[float]:
    """How many accepted texts there are of each length, from 0 on; no limit: more than `_LONGEST` counts."""
    alive, final = automaton.next >= 0, automaton.final > REJECT
    paths = np.zeros(len(final))
    paths[0] = 1
    counts: list[float] = []
    while paths.any() and len(counts) <= _LONGEST:
        counts.append(float(paths[final].sum()))
        after = np.repeat(paths, alive.sum(axis=1))
        paths = np.bincount(automaton.next[alive], after, len(final)).astype(np.float64)
    return counts


def _fits_frames(automaton: Automaton, frames: int) -> bool:
    """Whether so many frames of CTC can spell an accepted text: equal symbols have a blank between them."""
    paths = automaton.ctc_topology
    reached = np.arange(1)
    for _ in range(frames):
        after = np.unique(paths.next[reached])
        reached = after[after >= 0]
    return bool((paths.final[reached] > REJECT).any())


def _first_beyond(automaton: Automaton, longest: int) -> list[int]:
    """The first accepted text of more than `longest` symbols, in the order of ids, of finitely many."""
    rest = np.where(automaton.final > REJECT, 0.0, REJECT)  # symbols of the longest text from each state on
    grown = np.zeros(0)
    while not np.array_equal(rest, grown):
        after = np.where(automaton.next >= 0, rest[automaton.next] + 1, REJECT)
        rest, grown = np.maximum(rest, after.max(axis=1)), rest
    ids: list[int] = []
    state = 0
    while len(ids) <= longest or automaton.final[state] == REJECT:
        steps = automaton.next[state]
        reaches = [i for i in np.flatnonzero(steps >= 0).tolist() if len(ids) + 1 + rest[steps[i]] > longest]
        ids.append(reaches[0])
        state = int(steps[reaches[0]])
    return ids
