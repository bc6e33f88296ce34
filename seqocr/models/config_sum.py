"""The checksum in `config.json` of weights and of exported graphs, of all that changes how they read.

That is all but the provenance, of which it is the calibration alone.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from seqocr.errors import InputError
from seqocr.files import shown

_SUM, _CALIBRATION = "sha256", "calibration"
_HEXADECIMAL = re.compile("[0-9a-f]{64}")


def with_sum(config: dict[str, Any]) -> dict[str, Any]:
    """A config with its checksum, at the end."""
    return {**without_sum(config), _SUM: _sum_of(config)}


def without_sum(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != _SUM}


def check_sum(path: Path, config: dict[str, Any]) -> None:
    """Raise an InputError if a config has a checksum, as earlier versions wrote none, and is not what it is of."""
    sums = [name for name, value in config.items() if isinstance(value, str) and _HEXADECIMAL.fullmatch(value)]
    if (_SUM in config or sums) and config.get(_SUM) != _sum_of(config):  # its name may be what is damaged
        raise InputError(
            f"{shown(path)} is not as it was written: copy it again; if it was edited on purpose, delete its {_SUM}"
        )


def _sum_of(config: dict[str, Any]) -> str:
    provenance = config.get("provenance")
    calibration = provenance.get(_CALIBRATION) if isinstance(provenance, dict) else None
    kept = {**without_sum(config), "provenance": {_CALIBRATION: calibration}}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
