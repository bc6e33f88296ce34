"""The notebook runs from top to bottom, without a network."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "quickstart.ipynb"
NOWHERE = "http://127.0.0.1:9"


@pytest.mark.timeout(900)
def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "npm_config_registry"):  # for its own process
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()  # raises what a cell raises
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    said = "".join(output.get("text", "") for output in outputs)
    assert "4,000 digits to train on" in said
    assert "truth:" in said
    tables = [output["data"]["text/plain"] for output in outputs if "text/html" in output.get("data", {})]
    (passes,) = (table.splitlines() for table in tables if "decoder passes" in table)
    assert [line.split()[:2] for line in passes[2:5]] == [["ar", "4"], ["parallel", "1"], ["ctc", "1"]]
