"""Constraints of strangers. A short pattern can take minutes to compile, so each is tried in a process that can be
ended."""

import json
import subprocess
import sys
from functools import lru_cache

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.constraints import build_constraint
from seqocr.errors import InputError

_SECONDS = 2.0
_MOST_STATES = 20_000


def try_constraint(charset: str, pattern: str | None, check: str | None) -> Automaton | None:
    """As `build_constraint`, within limits. The same arguments give the same object, so that their lines are batched.
    InputError if `build_constraint` raises one, or it takes more time or states than is granted to strangers."""
    if pattern is None and check is None:
        return None
    found = _try(charset, pattern, check)
    if isinstance(found, str):
        raise InputError(found)
    return found


@lru_cache(maxsize=64)
def _try(charset: str, pattern: str | None, check: str | None) -> Automaton | str | None:
    """The automaton or the error message: both are cached, as finding either takes a process."""
    too_much = f"pattern {pattern!r} takes too long to compile: make it simpler, with fewer nested repetitions"
    arguments = json.dumps({"charset": charset, "pattern": pattern, "check": check})
    try:
        # An error of the pattern is raised again below.
        subprocess.run([sys.executable, "-m", __name__, arguments], capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return too_much
    try:
        automaton = build_constraint(charset, pattern=pattern, check=check)
    except InputError as error:
        return str(error)
    return too_much if automaton is not None and len(automaton.next) > _MOST_STATES else automaton


if __name__ == "__main__":
    build_constraint(**json.loads(sys.argv[1]))
