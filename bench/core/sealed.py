"""JSON of measurements that holds its own SHA-256, and damage of what it describes."""

import json
from pathlib import Path
from typing import Any

from seqocr.errors import InputError
from seqocr.files import UNSEALED, is_sealed, seal, shown, write_text

_SEAL = "sha256"
REMEDY = "restore it from git, or measure again"


def write_sealed(path: Path, facts: dict[str, Any]) -> None:
    text = json.dumps({_SEAL: UNSEALED, **facts}, indent=2, ensure_ascii=False) + "\n"
    write_text(path, seal(text.encode()).decode())


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """What JSON holds, and whether it has a checksum, as earlier versions wrote none.

    Raises:
        InputError: it is corrupt, or not as it was written.
    """
    try:
        content = path.read_bytes()
        facts = json.loads(content)
        if not isinstance(facts, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown(path)} cannot be read ({error}): {REMEDY}") from error
    if _SEAL in facts and not is_sealed(content):
        raise InputError(f"{shown(path)} is not as it was written: {REMEDY}")
    return facts, facts.pop(_SEAL, None) is not None
