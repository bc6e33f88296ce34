"""Registered classes that cannot be heads, and what the command line says of them."""

from __future__ import annotations

import sys
from typing import Any

from seqocr.plugins import installed
from tests.plugin.workplace import Workplace, run

BAD_HEADS = """
from seqocr.models.heads.base import Head

class NoHead: ...

class NoKind(Head):
    name, output = "nokind", "words"

class NoName(Head):
    name, output = "other", "ctc"
"""


def refused(at: Workplace) -> dict[str, Any]:
    """What `train` says of registered classes that cannot be heads; the last station, as none could run after it."""
    site = at.folder / "bad"
    about = site / "bad_heads-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "bad_heads.py").write_text(BAD_HEADS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-heads\nVersion: 1.0\n")
    classes = {"nohead": "NoHead", "nokind": "NoKind", "noname": "NoName", "absent": "Absent"}
    points = [f"{name} = bad_heads:{found}" for name, found in classes.items()]
    (about / "entry_points.txt").write_text("\n".join(["[seqocr.heads]", *points]))
    sys.path.append(str(site))
    installed.cache_clear()
    found = {}
    for name in classes:
        code, _, error = run("train", "--heads", name, "--data", at.lines, "--level", "data", "--out", at.folder / name)
        found[name] = [code, error.strip()]
    return found
