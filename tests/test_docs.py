"""What the documents say of the shipped weights is what the weights say of themselves, and their Python runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.shipped import weights_path

ROOT = Path(__file__).parent.parent
TRAINING = ROOT / "docs" / "training-log.md"
RUNS = ["tiny-1", "tiny", *(f"strings-{i}" for i in (1, 2, 3, 4, 5, 6, 8)), "strings"]
"""Each went on from the one before."""


def test_the_table_of_runs_agrees_with_the_weights() -> None:
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in TRAINING.read_text().splitlines()]
    table = {row[0]: row for row in rows if len(row) > 1}
    provenance = json.loads((weights_path("strings") / "config.json").read_text())["provenance"]
    for name in reversed(RUNS):
        last = provenance["validation"][-1]
        _, _, _, _, steps, minutes, _, after = table[name]
        assert steps.split()[0] == f"{provenance['step']:,}", name
        assert minutes == f"{provenance['seconds'] / 60:.0f}", name
        assert after == ", ".join(f"{100 * last['exact'][head]:.1f}" for head in ("ar", "parallel", "ctc")), name
        provenance = provenance.get("init")
    assert provenance is None


@pytest.mark.parametrize("document", ["README.md", "docs/read.md"])
def test_their_python_runs(document: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    source = embedded_digits()
    digits = torch.stack([source.images[source.labels == label][0] for label in (1, 2, 3, 4)])
    Image.fromarray(digits.permute(1, 0, 2).reshape(28, 112).numpy()).save(tmp_path / "line.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, document, "exec"), {})
    assert re.match(r"\d+ [01]\.\d+", capsys.readouterr().out)
