"""What does it read of real lines, before and after it is adapted to others of their kind?"""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.core import strategies
from bench.core.experiment import LONGEST_TABLE, Bench, Claim, Evaluation, Experiment, Part, Section
from bench.core.formatting import estimates, not_run, share, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import clock
from bench.experiments.difficulty import REAL_PHASES
from bench.peers import peers, unavailable
from bench.peers.base import Peer
from bench.workloads import accuracy_tables, fingerprints
from bench.workloads.accuracy_tables import Comparison
from bench.workloads.held_out import HELD_OUT, digest
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.data.folder import Line
from seqocr.data.images import open_line
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Value, median
from seqocr.train.config import TrainConfig
from seqocr.train.recipe import fine_tune, fine_tuning

_TUNED = ".tuned"  # suffix of the folder of fine-tuned weights, while they are needed
_SAVE_EVERY = 20  # lines


@dataclass(frozen=True)
class Settings:
    """Attributes:
    lines: digest of the folder's names, texts and images.
    peers: those that read besides, if they can be had.
    """

    lines: str
    held_out: float
    peers: tuple[str, ...]
    training: TrainConfig


@dataclass(frozen=True)
class RealReader:
    """Something that reads line images as they are, and what it had learned before.

    Attributes:
        name: as the report has it.
        phase: "zero-shot", "fine-tuned" or "as it comes".
        read: a line (h, w) uint8 to its text and the confidence in it, which others do not give.
    """

    name: str
    phase: str
    read: Callable[[torch.Tensor], tuple[str, float | None]]


@dataclass(frozen=True)
class Results:
    """Attributes:
    about: the folder, how many lines were learned from and held out, how long that took, what others are.
    lines: one row per line, reader and phase: kind, which is the line's folder below that of all, text, prediction,
        confidence, seconds.
    """

    about: dict[str, Any]
    lines: pd.DataFrame

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per reader and phase, the best first."""
        found = accuracy_tables.summary(self.lines, ["phase", "reader"])
        return found.sort_values("exact", ascending=False, kind="stable", ignore_index=True)

    @cached_property
    def kinds(self) -> pd.DataFrame:
        """One row per kind, phase and reader; none if all lines are of one folder."""
        if "kind" not in self.lines or self.lines["kind"].nunique() < 2:
            return pd.DataFrame()
        return accuracy_tables.summary(self.lines, ["kind", "phase", "reader"])

    def _of(self, reader: str, phase: str) -> pd.DataFrame:
        return self.lines[(self.lines["reader"] == reader) & (self.lines["phase"] == phase)]

    @property
    def heads(self) -> list[str]:
        return list(self.lines.loc[self.lines["phase"].isin(REAL_PHASES), "reader"].unique())

    def exact(self, reader: str, phase: str) -> Value:
        """Exact match of the lines held out."""
        return accuracy_tables.exact(self._of(reader, phase))

    def milliseconds(self, reader: str, phase: str) -> Value:
        """From the file to the text: the median."""
        return median(self._of(reader, phase)["seconds"]).times(1e3)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The autoregressive head beside every one-pass head, in both phases: one family."""
        right = accuracy_tables.right(self.lines, readers=["phase", "reader"])
        return accuracy_tables.beside_one_pass(
            {f"real lines, {name}": right[phase] for phase, name in REAL_PHASES.items()}
        )


class Real(Experiment):
    name = "real"
    order = 40

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        if bench.real is None:
            return []
        others = {name: peer for name, peer in peers().items() if peer.trained and not peer.strategy}
        settings = Settings(digest(bench.real), HELD_OUT, tuple(others), TrainConfig(**fine_tuning(bench.real.charset)))
        return [Part("real", settings, len(bench.real.split(HELD_OUT, "test")[1]), weights=(bench.default,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Fine-tune on most lines; read the rest with weights before and after, and with every peer."""
        if bench.real is None:
            return
        store, settings, out = bench.store, part.settings, bench.store.file(part.name, _TUNED)
        learned, held_out = bench.real.split(settings.held_out, "test")
        rows = store.read(part.name).to_dict("records") if store.has(part.name) else []
        done = 1 + max((row["index"] for row in rows), default=-1)
        if done < len(held_out):
            recognizer = load_recognizer(part.weights[0]).to(bench.device)
            tuned = fine_tune(recognizer, learned, out, config=settings.training)
            absent = unavailable(settings.peers)
            with TemporaryDirectory() as scratch:
                there = [name for name in settings.peers if name not in absent]
                made = {name: peers()[name].load(recognizer, Path(scratch), False) for name in there}
                about = {"folder": bench.real.directory.resolve().name, "lines": len(bench.real)}
                about |= {"learned": len(learned), "held_out": len(held_out), "not_run": absent}
                about |= {name: tuned.provenance[name] for name in ("step", "seconds")}
                store.add_facts(part.name, about=about | {"others": {name: made[name].about for name in made}})
                everyone = [*_own(recognizer, "zero-shot"), *_own(tuned, "fine-tuned")]
                everyone += [RealReader(name, "as it comes", partial(_read_by, peer)) for name, peer in made.items()]
                for reader in everyone:
                    _read_file(reader, held_out.lines[done].path)  # the first time takes longer
                for index in range(done, len(held_out)):
                    rows += list(_readings(everyone, held_out.lines[index], index, bench.device))
                    if (index + 1) % _SAVE_EVERY == 0 or index + 1 == len(held_out):
                        store.write(part.name, pd.DataFrame(rows))
                    reporter.advance(part.name)
        shutil.rmtree(out, ignore_errors=True)  # weights are no measurements

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        return fingerprints.of_recognizer(part.weights[0], TASK_LENGTH, strategies.heads())

    def results(self, store: Store) -> Results | None:
        rows = self.rows(store)
        if not rows:
            return None
        facts = store.facts(self.name)
        weights = next((name for name in facts.get("depends", {}).get("weights", {}) if "," not in name), "")
        elsewhere = store.is_of_another_machine(self.name)
        return Results({**facts["about"], "weights": weights, "elsewhere": elsewhere}, rows[self.name])

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = results.summary.to_dict("records")
        found = {"real": estimates({**row, "ms": results.milliseconds(row["reader"], row["phase"])} for row in rows)}
        return found | ({"real_kinds": results.kinds} if len(results.kinds) else {})

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        readers = results.summary.groupby("reader", sort=False)
        table = pd.DataFrame(_row(results, reader, rows) for reader, rows in readers)
        text = prose("real", about=results.about, comparisons=results.comparisons, folds=everything.get("folds"))
        details: dict[str, Any] = {"Every reader": table} if len(table) > LONGEST_TABLE else {}
        details["How others are read"] = prose("real_method")
        details |= {f"`{results.heads[0]}` beside one pass": accuracy_tables.shown_comparisons(results.comparisons)}
        if len(results.kinds):
            details["Each kind of lines"] = _by_kind(results.kinds)
        if others := results.about["others"]:
            details["Other readers"] = "; ".join(f"{name}: {what}" for name, what in others.items()) + "."
        if absent := not_run(results.about["not_run"]):
            details["Readers that are not here"] = absent
        return [Section("Real lines", text, None, table.head(LONGEST_TABLE), details)]

    def evaluations(self, results: Results) -> list[Evaluation]:
        shipped, folder = next(iter(REAL_PHASES)), results.about["folder"]
        exact = {head: results.exact(head, shipped) for head in results.heads}
        return [Evaluation(self.name, f"real lines, `{folder}`", folder, exact)]

    def claims(self, results: Results) -> list[Claim]:
        return [each.claim for each in results.comparisons]


EXPERIMENT = Real()


def _row(results: Results, reader: str, summary: pd.DataFrame) -> dict[str, str]:
    """Of a reader of ours, or of another one, which has one phase, and no column of adapted weights."""
    by_phase = {row["phase"]: row for row in summary.to_dict("records")}
    shipped, _ = REAL_PHASES
    row = {"reader": f"`{reader}`" if shipped in by_phase else reader}
    by_phase.setdefault(shipped, by_phase.get("as it comes"))
    for phase, name in REAL_PHASES.items():
        found = by_phase.get(phase)
        row[f"exact match, {name}"] = share(Value.of(found, "exact")) if found else ""
    return {**row, "ms per line": time(results.milliseconds(reader, summary["phase"].iloc[-1]))}


def _by_kind(kinds: pd.DataFrame) -> pd.DataFrame:
    """Exact match of each reader (rows) on each kind of lines, as shipped or as it comes, and adapted."""
    cells = pd.DataFrame(
        {
            "reader": f"`{row['reader']}`, {phase}" if (phase := REAL_PHASES.get(row["phase"])) else row["reader"],
            "kind": f"{row['kind']}, {row['strings']} lines",
            "exact match": share(Value.of(row, "exact")),
        }
        for row in kinds.to_dict("records")
    )
    return cells.pivot(index="reader", columns="kind", values="exact match").rename_axis(columns=None).reset_index()


def _own(recognizer: Recognizer, phase: str) -> list[RealReader]:
    def read(head: str, line: torch.Tensor) -> tuple[str, float]:
        (prediction,) = predict(recognizer, [line], ReadOptions(head))
        return prediction.text, prediction.confidence

    return [RealReader(head, phase, partial(read, head)) for head in (*recognizer.heads, *recognizer.pairs())]


def _read_by(peer: Peer, line: torch.Tensor) -> tuple[str, None]:
    return peer.read([line])[0], None


def _read_file(reader: RealReader, path: Path) -> tuple[str, float | None]:
    return reader.read(torch.from_numpy(np.array(open_line(path))))


def _kind(line: Line) -> str:
    folder, slash, _ = line.name.replace("\\", "/").partition("/")
    return folder if slash else ""


def _readings(everyone: list[RealReader], line: Line, index: int, device: torch.device) -> Iterator[dict[str, Any]]:
    """One line, from the file to the text, by everyone in random order."""
    for reader in random.Random(index).sample(everyone, len(everyone)):
        (text, confidence), timing = clock(partial(_read_file, reader, line.path), device)
        facts = {"index": index, "kind": _kind(line), "reader": reader.name, "phase": reader.phase, **timing}
        yield {**facts, "text": line.text, "prediction": text, "confidence": confidence}
