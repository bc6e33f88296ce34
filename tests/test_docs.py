"""What the documents say of the shipped weights is what the weights say of themselves, and their Python runs."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.hugging_face import export_hugging_face

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


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = [
    pytest.param(program, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL))
]
SAMPLE = "seqocr/demo/examples/grid-77253.png"
PORT = 7860  # of the server in documents


@pytest.mark.parametrize("program", PROGRAMS)
def test_python_of_the_documents_runs(program: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """Literally, where there is a line.png, the sample of the repository, and what they export or ask."""
    source = embedded_digits()
    digits = torch.stack([source.images[source.labels == label][0] for label in (1, 2, 3, 4)])
    Image.fromarray(digits.permute(1, 0, 2).reshape(28, 112).numpy()).save(tmp_path / "line.png")
    (tmp_path / SAMPLE).parent.mkdir(parents=True)
    shutil.copy(ROOT / SAMPLE, tmp_path / SAMPLE)
    monkeypatch.chdir(tmp_path)
    if "runs/hf" in program:
        export_hugging_face(load_recognizer(weights_path("tiny")), Path("runs/hf"))
    with asked_server(program):
        exec(compile(program, "document", "exec"), {"__name__": "document"})
    if said := re.findall(r"print\(.*\)  # (.*)", program):
        assert capsys.readouterr().out.splitlines() == said
    elif "print(" in program:
        assert re.match(r"\d+ [01]\.\d+", capsys.readouterr().out)


def asked_server(program: str) -> AbstractContextManager[Any]:
    if f":{PORT}" not in program:
        return nullcontext()
    from tests.serving.test_serve import serving  # which is skipped without its extra

    return serving(port=PORT)


def test_the_head_that_the_documents_show_is_the_templates() -> None:
    shown = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    template = ROOT / "examples" / "my-head"
    assert f"```python\n{(template / 'src' / 'my_head' / 'head.py').read_text(encoding='utf-8')}```" in shown
    points = (template / "pyproject.toml").read_text(encoding="utf-8")
    for block in re.findall(r"```toml\n(.*?)```", shown, re.DOTALL):
        assert block.strip() in points
