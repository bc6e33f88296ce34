"""The template for packages of others: built, installed into an environment of its own, trained and benchmarked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the extra 'bench' is not installed")

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "examples" / "my-head"
QUIET = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of an environment that has the template, built as a wheel."""
    folder = tmp_path_factory.mktemp("template")
    source = shutil.copytree(TEMPLATE, folder / "source")  # building writes beside the source
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *QUIET, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *QUIET, "--target", str(folder / "site"), str(wheel)], check=True)
    paths = f"{folder / 'site'}{os.pathsep}{ROOT}"
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "SEQOCR_DATA": str(folder / "no-data")}


def run(command: list[str], environment: dict[str, str], place: Path = ROOT) -> str:
    done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(installed: dict[str, str], tmp_path: Path) -> None:
    tests = shutil.copytree(TEMPLATE / "tests", tmp_path / "tests")
    run([sys.executable, "-m", "pytest", "-q", str(tests)], installed, tmp_path)


@pytest.mark.timeout(900)
def test_it_is_trained_and_benchmarked(installed: dict[str, str], tmp_path: Path) -> None:
    run([sys.executable, str(Path(__file__).with_name("template.py")), str(tmp_path)], installed)
    found = json.loads((tmp_path / "template.json").read_text())
    assert "my-slots" in found["accuracy.csv"]
    assert "my-slots" in found["report.md"]
    assert {"my-runtime", "my-reader"} <= set(found["deployment.md"])


BAD = """
from bench.backends.base import Backend

wrong_kind = object()
other_name = Backend("other", None)
eager = Backend("eager", None)
"""


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("x = bad:absent", "seqocr.backends 'x' (bad:absent) cannot be imported (module 'bad' has no attribute"),
        ("x = bad:wrong_kind", "seqocr.backends 'x' (bad:wrong_kind) is no bench.backends.base.Backend: repair or"),
        ("x = bad:other_name", "seqocr.backends 'x' (bad:other_name) calls itself 'other': register it by its own"),
        ("eager = bad:eager", "seqocr.backends 'eager' (bad:eager) has the name of one of ours: repair or uninstall"),
    ],
)
def test_what_is_no_runtime_is_refused_in_one_line(tmp_path: Path, point: str, said: str) -> None:
    about = tmp_path / "bad-1.0.dist-info"
    about.mkdir()
    (tmp_path / "bad.py").write_text(BAD)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[seqocr.backends]\n{point}\n")
    command = [sys.executable, "-m", "bench", "run", "--preset", "full", "--only", "runtimes", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: {said}")
