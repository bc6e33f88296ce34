"""Saved measurements: one folder a run, one CSV a cell, every raw value kept.

A run is what one machine measured with one preset and one version of the code, so that rows that cannot be compared
never meet in one table. A run that was killed goes on in its own folder; another machine starts another.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import bench
import seqocr
from bench.plan import Plan
from seqocr import environment
from seqocr.data.folder import LineFolder
from seqocr.errors import InputError
from seqocr.files import write_csv, write_json

# What decides whether two measurements may stand in one table. The commit is not among it: the digest of the code is.
_IDENTITY = (
    *("cpu", "gpu", "cores", "threads", "vector_instructions"),
    *("python", "torch", "transformers", "onnxruntime", "openvino"),
)
_NOT_MEASURING = {
    "answer.py",
    "formatting.py",
    "line_report.py",
    "gates.py",
    "plots.py",
    "report.py",
    "statistics.py",
}  # these may change without measuring again


LINES = "lines"  # what runs of `bench.lines` are called


class Store:
    """The measurements of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def for_plan(cls, results: Path, plan: Plan, device: str = "cpu", weights: Path | None = None) -> Store:
        """The folder of this plan on this machine, new or begun earlier."""
        return cls._of(results, plan.preset, [repr(plan)], device, weights)

    @classmethod
    def for_lines(
        cls, results: Path, count: int, real: LineFolder | None, device: str = "cpu", weights: Path | None = None
    ) -> Store:
        """The folder of what is read beyond the task (`bench.lines`), new or begun earlier."""
        listed = [(line.name, line.text) for line in real.lines] if real else []
        return cls._of(results, LINES, [count, listed], device, weights)

    @classmethod
    def _of(cls, results: Path, name: str, what: list[Any], device: str, weights: Path | None) -> Store:
        facts = {**environment.describe(), "device": device}
        identity = [*what, device, code_digest(weights), *(facts[name] for name in _IDENTITY)]
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        store = cls(results / "raw" / f"{name}-{digest}")
        if not (store.folder / "run.json").exists():
            store.write_facts({"preset": name, "started": now(), "finished": None, "environment": facts})
        return store

    @classmethod
    def latest(cls, results: Path) -> Store:
        """The run of a plan that was finished last.

        Raises:
            InputError: there is none.
        """
        finished = cls._finished(results, lines=False)
        if finished is None:
            raise InputError(f"{results / 'raw'} holds no finished run: measure first, with `make bench`")
        return finished

    @classmethod
    def latest_lines(cls, results: Path) -> Store | None:
        """The run of `bench.lines` that was finished last."""
        return cls._finished(results, lines=True)

    @classmethod
    def _finished(cls, results: Path, lines: bool) -> Store | None:
        stores = [cls(path.parent) for path in (results / "raw").glob("*/run.json")]
        found = [s for s in stores if s.facts().get("finished") and (s.facts()["preset"] == LINES) == lines]
        return max(found, key=lambda store: store.facts()["finished"], default=None)

    def facts(self) -> dict[str, Any]:
        """run.json: preset, environment, times.

        Raises:
            InputError: it is missing or corrupt.
        """
        path = self.folder / "run.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): delete {self.folder} and measure again") from error
        return dict(facts)

    def write_facts(self, facts: dict[str, Any]) -> None:
        write_json(self.folder / "run.json", facts)

    def path(self, name: str) -> Path:
        return self.folder / name

    def has(self, name: str) -> bool:
        return self.path(f"{name}.csv").exists()

    def write(self, name: str, table: pd.DataFrame) -> None:
        write_csv(self.path(f"{name}.csv"), table)

    def read(self, name: str) -> pd.DataFrame:
        """A saved table. Texts of digits stay texts.

        Raises:
            InputError: it is missing or corrupt.
        """
        path = self.path(f"{name}.csv")
        texts = {"text": str, "prediction": str}
        try:
            return pd.read_csv(
                path, dtype=texts, keep_default_na=False, na_values={"peak_bytes": [""], "confidence": [""]}
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): delete it and run `make bench` again") from error


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_digest(weights: Path | None = None) -> str:
    """Of every source file and weight that what is measured depends on."""
    digest = hashlib.sha256()
    for package in (seqocr, bench):
        root = Path(str(package.__file__)).parent
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.safetensors")]):
            if path.name not in _NOT_MEASURING:
                digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    if weights is not None and (weights / "model.safetensors").is_file():
        digest.update((weights / "model.safetensors").read_bytes())
    return digest.hexdigest()
