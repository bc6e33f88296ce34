"""Constraints on a text, as one automaton: a regular expression, a check digit, a lexicon."""

import stat
from functools import reduce
from pathlib import Path

from seqocr.decoding.automaton import Automaton, build_lexicon, intersect
from seqocr.decoding.check_digits import build_check
from seqocr.decoding.regex import compile_regex
from seqocr.errors import InputError
from seqocr.files import shown

MOST_BYTES = 10_000_000  # of a lexicon: a million codes, whose automaton takes gigabytes


def build_constraint(
    charset: str, *, pattern: str | None = None, check: str | None = None, lexicon: Path | str | None = None
) -> Automaton | None:
    """Build the automaton of the texts that satisfy every given constraint.

    Args:
        charset: the symbols that can be read.
        pattern: a regular expression that the whole text matches.
        check: a check digit, a name of `seqocr.decoding.check_digits.CHECKS`.
        lexicon: a file of texts, one per line.

    Returns:
        the automaton over the charset's ids; None without a constraint.

    Raises:
        InputError: a constraint cannot be used with this charset, or no text satisfies all of them.
    """
    automata: dict[str, Automaton] = {}
    if pattern is not None:
        automata[f"--pattern {pattern}"] = compile_regex(pattern, charset)
    if check is not None:
        automata[f"--check {check}"] = build_check(check, charset)
    if lexicon is not None:
        automata[f"--lexicon {lexicon}"] = read_lexicon(Path(lexicon), charset)
    if not automata:
        return None
    try:
        return reduce(intersect, automata.values())
    except InputError:
        raise InputError(f"{' and '.join(automata)}: no text satisfies all of them; leave one out") from None


def read_lexicon(path: Path, charset: str) -> Automaton:
    """The texts of a file, one per line; empty lines do not count. InputError if the file cannot be read, is none (a
    device) or larger than `MOST_BYTES`, has no text, or one with a symbol outside the charset."""
    name, strings = shown(path), []
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise InputError(f"--lexicon {name} is no text file of at most {MOST_BYTES:,} bytes: give one")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise InputError(f"--lexicon {name} cannot be read ({reason}): give a text file, one text per line") from error
    for number, text in enumerate(map(str.strip, lines), 1):
        if outside := [symbol for symbol in text if symbol not in charset]:
            wrong = f"{shown(text)!r} has {outside[0]!r}, which is not in the charset {charset!r}"
            raise InputError(f"--lexicon {name}, line {number:,}: {wrong}")
        if text:
            strings.append(tuple(map(charset.index, text)))
    if not strings:
        raise InputError(f"--lexicon {name} has no text: give one per line")
    return build_lexicon(strings, len(charset))
