"""What a stored measurement is bound to: its settings, its weights, and how the code behaves."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from seqocr.decoding.calibration import KEY


def of_calibration(folder: Path) -> Any:
    """What calibrates a recognizer's confidences; None where nothing does."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return config.get("provenance", {}).get(KEY)


@cache
def of_weights(folder: Path) -> str:
    """The digest of a recognizer's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]
