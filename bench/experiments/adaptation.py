"""How much of your data does it take, and what do images without texts do?"""

import io
import shutil
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting
from bench.core.experiment import DETAILS, Bench, Experiment, Part, Section
from bench.core.formatting import share
from bench.core.store import Store
from bench.core.templating import prose
from bench.experiments.real_lines import EXPERIMENT as REAL
from bench.workloads import accuracy_tables
from bench.workloads.held_out import HELD_OUT, digest
from seqocr.data.folder import LineFolder
from seqocr.data.sources.datasets import DIGITS
from seqocr.inference.predictions import predict_lines
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Value
from seqocr.train.config import VALIDATION_SHARE, TrainConfig
from seqocr.train.recipe import fine_tune, fine_tuning, load_splits
from seqocr.train.self_training import MIN_IMAGES, rehearsal_lines, self_train
from seqocr.train.state import is_finished

_NO_TEXTS = 0  # labelled lines, where all are learned from without their texts
# Lines learned from, and steps: fewer lines are learned by heart sooner.
_SIZES = (30, 100, 300)  # labelled lines
_TUNED = ".tuned"  # suffix of the folder of adapted weights, while they are needed


@dataclass(frozen=True)
class Settings:
    """Attributes:
    lines: digest of the folder's names, texts and images.
    sizes: lines learned from, each in the default way; 0: all lines without their texts.
    """

    lines: str
    held_out: float
    sizes: tuple[int, ...]
    training: TrainConfig


@dataclass(frozen=True)
class Results:
    """Attributes:
    about: lines there were to learn from.
    read: one row per line held out, head and number of lines learned from (`learned`; 0: all, without texts).
    """

    about: dict[str, Any]
    read: pd.DataFrame

    @property
    def heads(self) -> list[str]:
        return list(self.read["head"].unique())

    def exact(self, learned: int, head: str) -> Value:
        return accuracy_tables.exact(self.read[(self.read["learned"] == learned) & (self.read["head"] == head)])


class Adapting(Experiment):
    name = "adapting"
    page, order = DETAILS, 42
    timed = False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        if bench.real is None:
            return []
        there = len(bench.real.split(HELD_OUT, "test")[0])
        sizes = tuple(lines for lines in _SIZES if lines < there)
        sizes += (_NO_TEXTS,) if there >= MIN_IMAGES and bench.real.charset == DIGITS else ()
        settings = Settings(digest(bench.real), HELD_OUT, sizes, TrainConfig(**fine_tuning(bench.real.charset)))
        return [Part("adapting", settings, len(sizes), weights=(bench.default,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Adapt to more and more lines, then to all without their texts; read the others each time."""
        if bench.real is None:
            return
        store, settings, out = bench.store, part.settings, bench.store.file(part.name, _TUNED)
        learned, held_out = bench.real.split(settings.held_out, "test")
        store.add_facts(part.name, about={"lines": len(learned)})
        recognizer = load_recognizer(part.weights[0]).to(bench.device)

        def adapt(count: int) -> pd.DataFrame:
            if count == _NO_TEXTS:
                tuned = _without_texts(recognizer, learned, out / str(count))
            else:
                # Of few lines, a larger share chooses the checkpoint: a tenth of 30 may be none.
                share, few = max(VALIDATION_SHARE, 6 / count), learned.first(count, "adapting")
                tuned = fine_tune(recognizer, few, out / str(count), config=settings.training, validation_share=share)
            return predict_lines(tuned.to(bench.device), held_out, quiet=True).assign(learned=count)

        bench.measure_each(part, "learned", settings.sizes, adapt, reporter)
        shutil.rmtree(out, ignore_errors=True)  # weights are no measurements

    def results(self, store: Store) -> Results | None:
        rows = self.rows(store)
        return Results(store.facts(self.name)["about"], rows[self.name]) if rows else None

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        return {"adapting": accuracy_tables.summary(results.read, ["learned", "head"])}

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Any]:
        return {"adapting": partial(_drawn, results, _same_lines(results, everything))}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        real, lines = _same_lines(results, everything), f"{results.about['lines']:,}"
        rows: dict[str, Callable[[str], Value]] = {}
        if real:
            rows["none, as shipped"] = partial(real.exact, phase="zero-shot")
        rows |= {f"{count:,}": partial(results.exact, count) for count in _labelled(results)}
        if real:
            rows[lines] = partial(real.exact, phase="fine-tuned")
        if _NO_TEXTS in set(results.read["learned"]):
            rows[f"{lines}, texts unused"] = partial(results.exact, _NO_TEXTS)
        table = pd.DataFrame(
            {"labelled lines": name, **{f"`{head}`": share(exact(head)) for head in results.heads}}
            for name, exact in rows.items()
        )
        text = prose("adapting", held_out=results.read["index"].nunique())
        return [Section("How much of your data it takes", text, "adapting", table)]


EXPERIMENT = Adapting()


def _same_lines(results: Results, everything: Mapping[str, Any]) -> Any:
    """Results of real lines, if they are of the lines that these were adapted to and read."""
    real = everything.get(REAL.name)
    if real is None or real.about["learned"] != results.about["lines"]:
        return None
    return real if real.about["held_out"] == results.read["index"].nunique() else None


def _without_texts(recognizer: Recognizer, lines: LineFolder, out: Path) -> Recognizer:
    if is_finished(out / "weights"):
        return load_recognizer(out / "weights")
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    for i, line in enumerate(lines.lines):
        shutil.copy(line.path, images / f"{i:06}-{Path(line.name).name}")
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        adapted, _ = self_train(recognizer, images, rehearsal_lines(recognizer, load_splits()), out / "weights")
    return adapted


def _labelled(results: Results) -> list[int]:
    return sorted(count for count in results.read["learned"].unique() if count != _NO_TEXTS)


def _drawn(results: Results, real: Any) -> Figure:
    figure, (axis,) = plotting.panels(1, 5.5, 3.6)
    columns: dict[str, Callable[[str], Value]] = {}
    if real:
        columns["none,\nas shipped"] = partial(real.exact, phase="zero-shot")
    columns |= {f"{count:,}": partial(results.exact, count) for count in _labelled(results)}
    if real:
        columns[f"{results.about['lines']:,}"] = partial(real.exact, phase="fine-tuned")
    for head, aside in plotting.dodged(results.heads, 0.16).items():
        for i, exact in enumerate(columns.values()):
            plotting.point(axis, i + aside, exact(head).times(100), plotting.style_of(head))
    axis.set_xticks(range(len(columns)), list(columns))
    axis.set(xlabel="labelled lines", ylabel="exact match, %", title="Adapting to real lines (95 % CI)")
    plotting.legend(figure, results.heads)
    return figure
