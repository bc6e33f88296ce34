"""Forms that strangers ask for. A short pattern can take minutes to prepare, so each is tried by a process that can be
ended."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache

from seqocr.decoding.automaton import Automaton
from seqocr.decoding.constraints import build_constraint
from seqocr.errors import InputError

_SECONDS = 2.0
_MOST_STATES = 20_000


def tried_form(charset: str, pattern: str | None, check: str | None) -> Automaton | None:
    """As `build_constraint`; the same object for the same form, so that lines of one form are read together.

    Raises:
        InputError: as `build_constraint`, or it takes more than is granted to strangers.
    """
    if pattern is None and check is None:
        return None
    found = _tried(charset, pattern, check)
    if isinstance(found, str):
        raise InputError(found)
    return found


@lru_cache(maxsize=64)
def _tried(charset: str, pattern: str | None, check: str | None) -> Automaton | str | None:
    """The form, or why it is refused: both are kept, as finding either takes a process of its own."""
    too_much = (
        f"pattern {pattern!r} takes too long to prepare: make it simpler, with fewer repetitions inside repetitions"
    )
    asked = json.dumps({"charset": charset, "pattern": pattern, "check": check})
    try:
        # What it says of a wrong form is said by `build_constraint` below.
        subprocess.run(
            [sys.executable, "-m", __name__, asked],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return too_much
    try:
        form = build_constraint(charset, pattern=pattern, check=check)
    except InputError as error:
        return str(error)
    return too_much if form is not None and len(form.next) > _MOST_STATES else form


if __name__ == "__main__":
    build_constraint(**json.loads(sys.argv[1]))
