"""What an experiment is: its configuration, how it is measured, its statistics, tables, plots and part of the report.

One module of `bench.experiments` is one experiment. Only the first screen knows any of them by name.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from matplotlib.figure import Figure

from bench.core import fingerprint
from bench.core.store import Store
from bench.core.timer import measure_rounds
from seqocr.data.folder import LineFolder
from seqocr.inference.shipped import READER, SHIPPED, weights_path
from seqocr.progress import Reporter
from seqocr.statistics import Value

PRESETS = ("smoke", "default", "full")
# The page that answers which head to use, what it leaves out, and what a head costs in use.
REPORT, DETAILS, DEPLOYMENT = "report", "details", "deployment"
LONGEST_TABLE = 8  # rows of a table in a section


@dataclass(frozen=True)
class Part:
    """What is stored, resumed and measured again as one.

    Attributes:
        name: of its tables; begins with the experiment's name.
        settings: a frozen dataclass: all that the measurement depends on besides code and weights.
        steps: for the progress bar.
        weights: folders of the recognizers that it runs; none where weights are random.
        timed: nothing else may run while it is measured; None: as its experiment says.
    """

    name: str
    settings: Any
    steps: int = 1
    weights: tuple[Path, ...] = ()
    timed: bool | None = None


@dataclass
class Bench:
    """What is measured with.

    Attributes:
        task: folder of the recognizer that reads the task's five digits; reader: of the one that reads synthetic lines
            of any level; default: of the one that real lines are read by, as by those who name none.
        real: labelled real lines, if there are any.
        workers: other processes for what is not timed; None: it runs in this one.
    restart: number of this process, of those that measure a timed part.
    """

    store: Store
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    task: Path = SHIPPED
    reader: Path = READER
    default: Path = field(default_factory=partial(weights_path, None))
    real: LineFolder | None = None
    workers: Executor | None = None
    restart: int = 0

    def measure_rounds(
        self, part: Part, samples: Sequence[Any], sample: Callable[..., Iterable[dict[str, Any]]], reporter: Reporter
    ) -> None:
        """Measure as many rounds of samples as a part's settings say: see `timer.measure_rounds`."""
        measure_rounds(self.store, part.name, part.settings, samples, sample, reporter, self.restart)

    def measure_each(
        self,
        part: Part,
        column: str,
        todo: Iterable[Any],
        read: Callable[[Any], pd.DataFrame],
        reporter: Reporter,
        steps: int = 1,
    ) -> None:
        """Add a part's rows of each of `todo` that its column does not hold yet, saving as they come."""
        tables = [self.store.read(part.name)] if self.store.has(part.name) else []
        done = set(tables[0][column]) if tables else set()
        for each in (each for each in todo if each not in done):
            tables.append(read(each))
            self.store.write(part.name, pd.concat(tables, ignore_index=True))
            reporter.advance(part.name, steps)


@dataclass(frozen=True)
class Section:
    """A section of the report: a picture, a table of at most `LONGEST_TABLE` rows, and what it means in plain words.

    Attributes:
        details: longer tables and texts, by what to call them: on the page of details, or folded away.
        page: that it stands on, if it is not its experiment's.
    """

    title: str
    text: str
    plot: str | None = None
    table: pd.DataFrame | None = None
    details: Mapping[str, pd.DataFrame | str] = field(default_factory=dict)
    page: str = ""


@dataclass(frozen=True)
class Claim:
    """Something that the first screen says, for `bench repeat`.

    Attributes:
        name: the same in every run.
        verdict: the words that would flip.
        value: the number behind it.
        ratio: whether the number is a ratio of times.
    """

    name: str
    verdict: str
    value: Value
    ratio: bool = True

    @classmethod
    def of_family(cls, name: str, judged: pd.DataFrame) -> list[Claim]:
        """One per row of a judged family (`bench.study.estimates.judge`); the row's columns fill `name`, a format."""
        return [
            cls(name.format(**row), row["verdict"], Value.of(row, "difference", row["seeds"]), ratio=False)
            for row in judged.to_dict("records")
        ]


@dataclass(frozen=True)
class Evaluation:
    """Exact match of weights on lines that they did not learn from, for their model card.

    Attributes:
        part: that measured it.
        lines: their kind, in words; dataset: its name on the Hugging Face hub, or of a folder.
        exact: by head.
    """

    part: str
    lines: str
    dataset: str
    exact: Mapping[str, Value]


class Experiment:
    """Subclass this in a module of `bench.experiments` and name an instance EXPERIMENT there.

    Attributes:
        name: short, for files.
        page: that has its sections, `REPORT`, `DETAILS` or `DEPLOYMENT`; order: its place there.
        timed: nothing else may run while it is measured; a part may say otherwise.
        on_request: takes long, and is measured only where it is named (`--only`).
        packages: that it needs beyond the bench's own, by module, as pip calls them.
        names: columns of its tables that name what a row measures. quantities: that hold a positive number, measured in
            rounds or line by line; counts: that hold an exact one. `bench compare` reads them.
    """

    name: ClassVar[str]
    page: ClassVar[str] = REPORT
    order: ClassVar[int] = 100
    timed: ClassVar[bool] = True
    on_request: ClassVar[bool] = False
    packages: ClassVar[Mapping[str, str]] = {}
    names: ClassVar[tuple[str, ...]] = (
        *("strategy", "head", "peer", "reader", "runtime", "what", "phase", "kind", "level", "constraint"),
        *("layers", "learned", "training", "workers", "length", "batch"),
    )
    quantities: ClassVar[tuple[str, ...]] = ("seconds",)
    counts: ClassVar[tuple[str, ...]] = ()

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        """What a preset measures; nothing if it leaves this out."""
        raise NotImplementedError

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Measure what is missing of a part, saving as it goes."""
        raise NotImplementedError

    def rows(self, store: Store) -> dict[str, pd.DataFrame]:
        """The tables of its finished parts; of a part called EXPERIMENT-NAME by NAME."""
        return {part.removeprefix(f"{self.name}-"): store.read(part) for part in stored(store, self.name)}

    def results(self, store: Store) -> Any:
        """Statistics of what is stored, handed to all that follows; None if there is nothing."""
        raise NotImplementedError

    def tables(self, results: Any) -> dict[str, pd.DataFrame]:
        """To be written to tables/NAME.csv."""
        return {}

    def plots(self, results: Any, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        """To be drawn as plots/NAME.png and .svg; `everything` holds all experiments' results by name."""
        return {}

    def pictures(self, store: Store) -> dict[str, Path]:
        """Images that were measured, to be copied to plots/NAME.png."""
        return {}

    def sections(self, results: Any, everything: Mapping[str, Any]) -> list[Section]:
        raise NotImplementedError

    def evaluations(self, results: Any) -> list[Evaluation]:
        """For the model cards of the weights that its parts name."""
        return []

    def claims(self, results: Any) -> list[Claim]:
        return []

    def is_timed(self, part: Part) -> bool:
        return self.timed if part.timed is None else part.timed

    def missing(self, part: Part) -> str:
        """Why a part cannot be measured on this machine; empty if it can."""
        return ""

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        """How the code behaves that a part runs (`bench.workloads.fingerprints`), or the first losses of its
        trainings; nothing where predictions are the evidence."""
        return {}

    def predict_again(self, part: Part, bench: Bench, rows: pd.DataFrame) -> pd.DataFrame | None:
        """Some of a part's rows as the code now predicts them: `prediction`, and the columns that name a row. None of
        a part without predictions."""
        return None

    def depends(self, part: Part) -> dict[str, Any]:
        """What a part depends on, as JSON."""
        weights = {folder.name: fingerprint.of_weights(folder) for folder in part.weights}
        weights |= {f"{f.name}, calibration": fingerprint.of_calibration(f) for f in part.weights}
        settings = json.loads(json.dumps(dataclasses.asdict(part.settings), default=str))
        return {"settings": settings, "weights": weights}


def stored(store: Store, experiment: str) -> list[str]:
    """The finished parts of an experiment, in the order in which they were finished."""
    facts = {part: store.facts(part) for part in store.parts() if part.split("-")[0] == experiment}
    return sorted((p for p in facts if facts[p].get("finished")), key=lambda part: facts[part]["finished"])


class Reported(Experiment):
    """An experiment whose results a command of its own measures, for hours, such as `python -m bench curves`."""

    timed = False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return []

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        raise NotImplementedError
