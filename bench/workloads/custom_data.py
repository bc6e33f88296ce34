"""Real lines that the bench reads: which of them are kept out of training, and which folder it is."""

from __future__ import annotations

import hashlib

from seqocr.data.folder import LineFolder

HELD_OUT = 0.2  # share of a folder that is never trained on


def digest(folder: LineFolder) -> str:
    """Of what the lines are called, say and show."""
    found = hashlib.sha256()
    for line in folder.lines:
        found.update(f"{line.name}\0{line.text}\0".encode(errors="surrogateescape"))
        found.update(hashlib.sha256(line.path.read_bytes()).digest())
    return found.hexdigest()[:16]
