"""Saved measurements: a folder a run, a part of it a few tables and a JSON of facts, every raw value kept.

A run is what one machine measured with one preset and one set of weights, so that rows that cannot be compared never
meet in one table. A part also notes what it depends on (settings and weights). One that was killed goes on where it
was; one whose dependencies have changed is measured again, and no other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from seqocr import environment
from seqocr.errors import InputError
from seqocr.files import replacing, write_json

# What decides whether two measurements may stand in one report.
_IDENTITY = (
    *("cpu", "gpu", "cores", "threads", "vector_instructions"),
    *("python", "torch", "transformers", "onnxruntime", "openvino"),
)
# In parts that were measured before evidence was bound to behaviour.
_DIGESTS_OF_SOURCE = {"code", "training", "reading"}
_TEXTS = ("text", "prediction")  # columns of digits that are no numbers
# Names in measurements of earlier versions, and what they are called now. Files keep them; reading maps them.
_COLUMNS = {"variant": "strategy", "way": "strategy"}
_VALUES = {"ar-verified": "ar-speculative"}


class Store:
    """The measurements of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, results: Path, preset: str, device: str, about: dict[str, Any]) -> Store:
        """The folder of such a run on this machine, new or begun earlier.

        Args:
            about: what else is part of the run's identity: weights and real lines, as JSON has them.
        """
        machine = {**environment.describe(), "device": device}
        identity = [preset, about, device, *(machine[name] for name in _IDENTITY)]
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        store = cls(results / "raw" / f"{preset}-{digest}")
        if not store.file("run", ".json").exists():
            facts = {"preset": preset, **about, "started": now(), "finished": None, "environment": machine}
            store.write_facts("run", facts)
        return store

    @classmethod
    def latest(cls, results: Path) -> Store:
        """The run that was finished last.

        Raises:
            InputError: there is none.
        """
        if not (stores := cls.finished_runs(results)):
            raise InputError(f"{results / 'raw'} holds no finished run: measure first, with `make bench`")
        return stores[-1]

    @classmethod
    def finished_runs(cls, results: Path) -> list[Store]:
        """The finished runs in a results folder, the one that was finished last at the end."""
        stores = [cls(path.parent) for path in sorted((results / "raw").glob("*/run.json"))]
        finished = {store: str(store.facts("run").get("finished") or "") for store in stores}
        return sorted((store for store in stores if finished[store]), key=lambda store: finished[store])

    def file(self, name: str, suffix: str) -> Path:
        path = self.folder / f"{name}{suffix}"
        for old, new in _VALUES.items():
            earlier = self.folder / f"{name.replace(new, old)}{suffix}"
            path = earlier if earlier.exists() and not path.exists() else path
        return path

    def facts(self, name: str) -> dict[str, Any]:
        """Of the run ("run"), or of a part; empty if there are none.

        Raises:
            InputError: they are corrupt.
        """
        path = self.file(name, ".json")
        if not path.exists():
            return {}
        try:
            return dict(_renamed(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): delete {self.folder} and measure again") from error

    def environment(self, part: str) -> dict[str, Any]:
        """The machine that a part was measured on, and the commit: the run's machine, if the part names no other."""
        facts = self.facts(part)
        machine = facts.get("environment") or self.facts("run")["environment"]
        return {**machine, "commit": facts["commit"]}

    def write_facts(self, name: str, facts: dict[str, Any]) -> None:
        write_json(self.file(name, ".json"), facts)

    def add_facts(self, name: str, **facts: Any) -> None:
        self.write_facts(name, {**self.facts(name), **facts})

    def has(self, table: str) -> bool:
        return self.file(table, ".csv.gz").exists()

    def write(self, table: str, rows: pd.DataFrame) -> None:
        with replacing(self.file(table, ".csv.gz")) as temporary:
            # The same bytes from the same rows: no time of writing, and no digits beyond what a clock can tell.
            rows.to_csv(temporary, index=False, float_format="%.7g", compression={"method": "gzip", "mtime": 0})

    def read(self, table: str) -> pd.DataFrame:
        """A saved table, with the names of today. Texts of digits stay texts.

        Raises:
            InputError: it is missing or corrupt.
        """
        path = self.file(table, ".csv.gz")
        try:
            columns = pd.read_csv(path, nrows=0).columns
            missing = {name: [""] for name in columns if name not in _TEXTS}
            rows = pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False, na_values=missing)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} cannot be read ({error}): delete {self.folder} and measure again") from error
        for name in rows.columns.difference(_TEXTS):
            if pd.api.types.is_string_dtype(rows[name]):
                rows[name] = rows[name].replace(_VALUES, regex=True)
        return rows.rename(columns=_COLUMNS)

    def begin(self, part: str, depends: dict[str, Any], again: bool = False) -> list[str]:
        """Make ready to measure a part: what it holds of other dependencies is deleted.

        Returns:
            the names of the dependencies that had changed.
        """
        facts = self.facts(part)
        changed = changes(facts.get("depends", depends), depends)
        if again or changed or "depends" not in facts:
            self.delete(part)
            self.write_facts(part, {"depends": depends, "commit": environment.commit(), "finished": None})
        return changed

    def finish(self, part: str) -> None:
        self.add_facts(part, finished=now())

    def finished(self, part: str, depends: dict[str, Any]) -> bool:
        facts = self.facts(part)
        return bool(facts.get("finished")) and not changes(facts.get("depends", {}), depends)

    def delete(self, part: str) -> None:
        for path in self.folder.glob(f"{part}.*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def parts(self) -> list[str]:
        """Of which something has been measured."""
        return sorted(_renamed(path.stem) for path in self.folder.glob("*.json") if path.stem != "run")


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what is not as it was, one by one where dependencies are listed by name."""
    found = []
    for name in sorted((before.keys() | after.keys()) - _DIGESTS_OF_SOURCE):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        else:
            found.append(name)
    return found


def _renamed(facts: Any) -> Any:
    """JSON with the names of today."""
    if isinstance(facts, dict):
        return {_COLUMNS.get(key, _renamed(key)): _renamed(value) for key, value in facts.items()}
    if isinstance(facts, list):
        return [_renamed(each) for each in facts]
    if isinstance(facts, str):
        for old, new in _VALUES.items():
            facts = facts.replace(old, new)
    return facts


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
