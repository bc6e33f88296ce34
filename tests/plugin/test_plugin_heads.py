"""A package of others registers a head of each kind of output, and these do all that the built-in ones do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.stations import STATIONS
from tests.plugin.workplace import KINDS

for module, extra in (("fastapi", "serve"), ("gradio", "demo"), ("onnxscript", "onnx"), ("matplotlib", "bench")):
    pytest.importorskip(module, reason=f"the extra '{extra}' is not installed")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
pytestmark = pytest.mark.timeout(1500)  # all stations, where other programs take the cores


@pytest.fixture(scope="module")
def stations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the stations give, in an environment of its own: the package installed into a folder, without network."""
    folder = tmp_path_factory.mktemp("plugin")
    site, source, work = folder / "site", folder / "source", folder / "work"
    shutil.copytree(HERE / "toy_heads", source)  # building writes beside the source
    quiet = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "install", *quiet, "--target", str(site), str(source)], check=True)
    work.mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    environment["SEQOCR_DATA"] = str(folder / "no-data")
    command = [sys.executable, str(HERE / "stations.py"), str(work)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((work / "stations.json").read_text())
    return found


@pytest.mark.parametrize("name", [name for name in STATIONS if name not in ("report", "refused")])
def test_the_same_as_the_built_in_head_of_that_kind(stations: dict[str, Any], name: str) -> None:
    found = stations[name]
    assert "error" not in found, found["error"]
    toy, built_in = (found[kind] for kind in KINDS)
    assert toy == built_in


def test_the_report_names_the_heads(stations: dict[str, Any]) -> None:
    found = stations["report"]
    assert "error" not in found, found["error"]
    heads, pair = {"mytokens", "myslots", "myctc"}, {"mytokens-speculative"}
    for name in ("constrained.csv", "accuracy.svg", "latency.svg", "lengths.svg", "throughput.svg"):
        assert set(found[name]) >= heads, name
    tables = ("accuracy", "levels", "drafts", "latency", "throughput", "costs")
    for name in ("report.md", "deployment.md", *(f"{table}.csv" for table in tables)):
        assert set(found[name]) >= heads | pair, name


def test_what_is_no_head_is_refused_in_one_line(stations: dict[str, Any]) -> None:
    found = stations["refused"]
    assert "error" not in found, found["error"]
    remedy, reason = "repair or uninstall its package", "module 'bad_heads' has no attribute 'Absent'"
    assert found == {
        "nohead": [
            2,
            f"error: head 'nohead' (bad_heads:NoHead) is no subclass of seqocr.models.heads.base.Head: {remedy}",
        ],
        "nokind": [
            2,
            "error: head 'nokind' (bad_heads:NoKind) declares the output 'words': declare one of slots, ctc, tokens",
        ],
        "noname": [2, "error: head 'noname' (bad_heads:NoName) calls itself 'other': register it by its own name"],
        "absent": [2, f"error: head 'absent' (bad_heads:Absent) cannot be imported ({reason}): {remedy}"],
    }
