"""Saved measurements: a folder a run, a part of it a few tables and a JSON of facts, every raw value kept.

A run is what one machine measured with one preset and one set of weights, so that rows that cannot be compared never
meet in one table. A part also notes what it depends on (settings and weights), how the code behaved (its fingerprint)
and the commit. It is measured in a folder of its own, `unfinished/PART`, where an interrupted one goes on, and takes
the place of an earlier one only when it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.fingerprint import differences, libraries
from bench.core.sealed import REMEDY, read_sealed, write_sealed
from seqocr import environment
from seqocr.errors import InputError
from seqocr.files import file_sum, replacing

# What decides whether two measurements may stand in one report.
IDENTITY = (
    *("cpu", "gpu", "cores", "threads", "vector_instructions"),
    *("python", "torch", "transformers", "onnxruntime", "openvino"),
)
# Settings that earlier versions had not, and what they did.
_EARLIER = {"restarts": 1, "warmup": 0}
_UNFINISHED = "unfinished"  # folder of parts that are being measured
_TEXTS = ("text", "prediction")  # columns of digits that are no numbers
# Names in measurements of earlier versions, and what they are called now. Files keep them; reading maps them.
_COLUMNS = {"variant": "strategy", "way": "strategy", "form": "constraint", "visit": "sample"}
_COLUMNS |= {"law": "labels", "laws": "distributions"}
_VALUES = {"ar-verified": "ar-speculative"}
_VALUES |= {f"{head} + form": f"{head} + constraint" for head in ("parallel", "ctc")}
# The checksum of a config, recorded while it stood for the graphs whose checksums it lists: that of these graphs.
_VALUES |= {"53923460a27f97aa": "6803f35b298af753"}  # seqocr/weights/strings/onnx/config.json of commit f109140
_VALUES |= {f"ideal {name}": f"oracle {name}" for name in ("local", "marginal", "joint")}


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
        identity = [preset, about, device, *(machine[name] for name in IDENTITY)]
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        store = cls(results / "raw" / f"{preset}-{digest}")
        if not store.file("run", ".json").exists():
            about = {"preset": preset, **about, "started": now(), "finished": None, "environment": machine}
            store.write_facts("run", about)
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
    def within(cls, folder: Path) -> Store:
        """The run whose folder this is, or of a results folder the run that was finished last.

        Raises:
            InputError: there is none.
        """
        if (folder / "run.json").exists():
            return cls(folder)
        if not (folder / "raw").is_dir():
            raise InputError(f"{folder} is no run: give a folder that has run.json, or a results folder, that has raw")
        return cls.latest(folder)

    @classmethod
    def finished_runs(cls, results: Path) -> list[Store]:
        """The finished runs in a results folder, the one that was finished last at the end."""
        stores = [cls(path.parent) for path in sorted((results / "raw").glob("*/run.json"))]
        finished = {store: store.finished_at() for store in stores}
        return sorted((store for store in stores if finished[store]), key=lambda store: str(finished[store]))

    def finished_at(self) -> str | None:
        """When the run was finished; None: it was not.

        Raises:
            InputError: its facts are damaged.
        """
        found = self.facts("run").get("finished")
        try:
            return None if found is None else datetime.fromisoformat(found).isoformat()
        except (TypeError, ValueError) as error:
            path = self.file("run", ".json")
            raise InputError(f"{path} says that it was finished at {found!r}, which is no time: {REMEDY}") from error

    def file(self, name: str, suffix: str) -> Path:
        path = self.folder / f"{name}{suffix}"
        for old, new in _VALUES.items():
            earlier = self.folder / f"{name.replace(new, old)}{suffix}"
            path = earlier if earlier.exists() and not path.exists() else path
        return path

    def facts(self, name: str) -> dict[str, Any]:
        """Of the run ("run"), or of a part; empty if there are none.

        Raises:
            InputError: they are corrupt, or not as they were written.
        """
        path = self.file(name, ".json")
        if not path.exists():
            return {}
        return dict(_renamed(read_sealed(path)[0]))

    def is_sealed(self, name: str) -> bool:
        """Whether facts have a checksum, as all have that this version writes."""
        return read_sealed(self.file(name, ".json"))[1]

    def environment(self, part: str) -> dict[str, Any]:
        """The machine that a part was measured on, and the commit: the run's machine, if the part names no other."""
        facts = self.facts(part)
        machine = facts.get("environment") or self.facts("run")["environment"]
        return {**machine, "commit": facts.get("commit")}

    def write_facts(self, name: str, facts: dict[str, Any]) -> None:
        write_sealed(self.file(name, ".json"), facts)

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
        except (OSError, ValueError, EOFError, zlib.error) as error:
            raise InputError(f"{path} cannot be read ({error}): {REMEDY}") from error
        for name in rows.columns.difference(_TEXTS):
            if pd.api.types.is_string_dtype(rows[name]):
                today = {value: _renamed(value) for value in rows[name].dropna().unique()}
                if any(new != value for value, new in today.items()):
                    rows[name] = rows[name].map(today)
        return rows.rename(columns=_COLUMNS)

    def begin(self, part: str, depends: dict[str, Any], fingerprint: dict[str, Any] | None = None) -> Store:
        """Where to measure a part: what is there of other dependencies or another behaviour is deleted."""
        unfinished = self.unfinished(part)
        facts = unfinished.facts(part)
        if not facts or changes(facts, depends, fingerprint):
            shutil.rmtree(unfinished.folder, ignore_errors=True)
            evidence = {"depends": depends, "fingerprint": fingerprint or {}, "libraries": libraries()}
            evidence |= self._other_machine()
            unfinished.write_facts(part, {**evidence, "commit": environment.commit(), "finished": None})
        return unfinished

    def _other_machine(self) -> dict[str, Any]:
        """Facts of a part that is measured here, if the run began on another machine."""
        own, here = self.facts("run").get("environment"), environment.describe()
        differs = own and any(own.get(name) != here[name] for name in IDENTITY if name in here)
        return {"environment": here} if differs else {}

    def is_of_another_machine(self, part: str) -> bool:
        return bool(self.facts(part).get("environment"))

    def finish(self, part: str) -> None:
        """Put a part that is complete in the place of an earlier one. Interrupted, `finish_all` goes on."""
        unfinished = self.unfinished(part)
        if not unfinished.facts(part)["finished"]:
            unfinished.add_facts(part, finished=now(), sums=unfinished.sums(part))
        self.file(part, ".json").unlink(missing_ok=True)  # the new ones come last: until then, the part does not count
        for path in sorted(unfinished.folder.iterdir(), key=lambda path: path.name == f"{part}.json"):
            path.replace(self.folder / path.name)
        unfinished.folder.rmdir()
        with contextlib.suppress(OSError):  # others are unfinished
            unfinished.folder.parent.rmdir()

    def finish_all(self) -> None:
        """Finish the parts that were complete when they were interrupted."""
        for folder in sorted((self.folder / _UNFINISHED).glob("*")):
            if self.unfinished(folder.name).facts(folder.name).get("finished"):
                self.finish(folder.name)

    def finish_run(self, finished: str | None) -> None:
        """Note that the run is complete, and of which parts; those of an earlier version get their checksums."""
        if "parts" not in self.facts("run"):
            self.seal_parts()
        self.add_facts("run", finished=finished, parts=[p for p in self.parts() if self.facts(p).get("finished")])

    def sums(self, *names: str) -> dict[str, str]:
        """Checksums of the files of tables, by name; of what belongs to them, such as pictures, too."""
        paths = [path for path in sorted(self.folder.iterdir()) if path.is_file() and path.suffix != ".json"]
        return {_renamed(p.name): file_sum(p) for p in paths if _renamed(p.name).split(".")[0] in names}

    def seal(self, tables: Mapping[str, Sequence[str]] | None = None) -> None:
        """Add the checksums that an earlier version did not write.

        Args:
            tables: of parts whose tables have other names.
        """
        self.seal_parts(tables)
        if finished := self.facts("run").get("finished"):
            self.finish_run(finished)

    def seal_parts(self, tables: Mapping[str, Sequence[str]] | None = None) -> None:
        """As `seal`, of the parts alone."""
        for part in self.parts():
            facts = self.facts(part)
            if facts.get("finished") and "sums" not in facts:
                self.write_facts(part, {**facts, "sums": self.sums(part, *(tables or {}).get(part, ()))})

    def unfinished(self, part: str) -> Store:
        """Where a part is being measured."""
        return Store(self.folder / _UNFINISHED / part)

    def finished(self, part: str, depends: dict[str, Any], fingerprint: dict[str, Any] | None = None) -> bool:
        facts = self.facts(part)
        return bool(facts.get("finished")) and not changes(facts, depends, fingerprint)

    def delete(self, part: str) -> None:
        for path in self.folder.glob(f"{part}.*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def parts(self) -> list[str]:
        """Of which something has been measured."""
        return sorted(_renamed(path.stem) for path in self.folder.glob("*.json") if path.stem != "run")


def changes(facts: dict[str, Any], depends: dict[str, Any], fingerprint: dict[str, Any] | None = None) -> list[str]:
    """The names of what is not as a part's facts say: settings, weights, and the behaviour of strategies.

    A fingerprint that was not recorded, or with other libraries, cannot be compared.
    """
    found = changed_dependencies(facts.get("depends", depends), depends)
    if fingerprint and facts.get("fingerprint") and facts.get("libraries") == libraries():
        found += differences(facts["fingerprint"], fingerprint)
    return found


def changed_dependencies(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what is not as it was, one by one where dependencies are listed by name."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += [
                key
                for key in sorted(old.keys() | new.keys())
                if not _agree(old.get(key, _EARLIER.get(key)), new.get(key))
            ]
        else:
            found.append(name)
    return found


def _agree(old: Any, new: Any) -> bool:
    """Whether settings are as they were. One that a training or a layout did not have then is no difference: whether
    the code behaves as it did is told by predictions and losses."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and _agree(value, new[key]) for key, value in old.items())
    return bool(old == new)


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
