"""Words that the project does not use, since the field has better ones (docs/glossary.md has the terms)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_COUNTED = "(pass|symbol|line|head|row|process|step)"
BANNED = {
    r"believed|beliefs?": "soft labels",
    r"lawful": "structured, label distribution",
    r"honest(ly)? (confidences?|ones)": "calibrated",
    r"lines of (one's|your|their) own|own lines": "your data, custom data",
    r"drawn (lines?|ones|strings)": "synthetic lines",
    r"ideal readers?": "oracle reader",
    r"told apart": "two-sample classifier test",
    r"ways? to decode": "decoding strategy",
    r"what was (asked|read|said|told)": "a noun",
    rf"(a|one) {_COUNTED} (a|one) {_COUNTED}": "one ... per ...",
    r"read-many|ar-verified|QuickReader": "predict-batch, ar-speculative, OnnxRecognizer",
}
# Where old spellings are still accepted, or history is told.
EXEMPT = {
    "tests/test_language.py",
    "tests/cli/test_cli.py",
    "tests/bench/core/test_store.py",
    "tests/bench/test_recomputed.py",
    "CHANGELOG.md",
    "bench/core/store.py",
    "seqocr/cli/app.py",
}


def tracked(*patterns: str) -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return [name for name in listing.stdout.splitlines() if name not in EXEMPT and (ROOT / name).is_file()]


@pytest.mark.parametrize("banned", BANNED)
def test_banned_words(banned: str) -> None:
    found = [
        f"{name}:{number}: {match.group()!r}, say {BANNED[banned]}"
        for name in tracked("*.py", "*.md", "*.j2", "Makefile", "Dockerfile")
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if (match := re.search(rf"\b({banned})\b", line, re.IGNORECASE))
    ]
    assert not found, "\n".join(found)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
