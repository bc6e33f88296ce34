"""Does autoregression read digit strings better? The task's five digits, read by every strategy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from bench.core import plotting, strategies
from bench.core.experiment import DETAILS, Bench, Claim, Evaluation, Experiment, Part, Section
from bench.core.formatting import percent, share
from bench.core.store import Store
from bench.core.templating import prose
from bench.workloads.accuracy_tables import Comparison, beside_one_pass, right
from bench.workloads.held_out import MNIST, held_out_digits, pieces, read_some, read_strings, task_strings
from bench.workloads.timed_models import TASK_LENGTH
from seqocr import metrics
from seqocr.files import replacing
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.registry import available_heads
from seqocr.progress import Reporter
from seqocr.statistics import Value

_AT_ONCE = 250  # strings of a piece
_AGAIN = 100  # strings that are predicted again to verify what is stored
_SAMPLES = 8  # strings shown in the report whatever is predicted; mistakes come on top
_MISTAKES = 12
_CONFUSIONS = 6  # most frequent ones named in the text


@dataclass(frozen=True)
class Settings:
    strings: int


@dataclass(frozen=True)
class Results:
    """Attributes:
    about: source and number of the strings, and the weights.
    samples: (strings shown · 28, 140) uint8.
    """

    about: dict[str, Any]
    predictions: pd.DataFrame
    samples: np.ndarray

    @cached_property
    def summary(self) -> pd.DataFrame:
        return metrics.summary(self.predictions)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The autoregressive head beside every one-pass head: one family."""
        return beside_one_pass({"five clean digits": right(self.predictions)})

    @cached_property
    def positions(self) -> pd.DataFrame:
        return metrics.positions(self.predictions)

    @cached_property
    def confusion(self) -> pd.DataFrame:
        return metrics.confusion(self.predictions, self.about["charset"])

    def exact(self, strategy: str) -> Value | None:
        """None of a head that the weights do not hold."""
        found = self.summary[self.summary["head"] == strategy].to_dict("records")
        return Value.of(found[0], "exact", found[0]["strings"]) if found else None


class Accuracy(Experiment):
    name = "accuracy"
    page, order = DETAILS, 20
    timed = False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        strings = 200 if preset == "smoke" else 2000
        return [Part(self.name, Settings(strings), -(-strings // _AT_ONCE), weights=(bench.task,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Predictions, images of the first strings and of the worst mistakes, and where the digits came from."""
        source = held_out_digits()
        strings = task_strings(part.settings.strings, source)
        predictions = read_strings(part, bench, reporter, pieces(strings, _AT_ONCE), strategies.read())
        chosen = _samples(predictions)
        lines, _ = strings.batch(chosen)
        with replacing(bench.store.file(part.name, ".samples.png")) as temporary:
            Image.fromarray(torch.cat(list(lines)).numpy()).save(temporary)
        recognizer = load_recognizer(part.weights[0])
        about = {"source": source.source, "split": source.split, "strings": len(strings), "samples": chosen}
        about |= {"charset": recognizer.charset, "provenance": recognizer.provenance}
        bench.store.add_facts(part.name, about=about)

    def predict_again(self, part: Part, bench: Bench, rows: pd.DataFrame) -> pd.DataFrame:
        strings = task_strings(part.settings.strings)
        return read_some(part.weights[0], strings, range(_AGAIN), tuple(rows["head"].unique()))

    def results(self, store: Store) -> Results | None:
        about = store.facts(self.name).get("about")
        if about is None:
            return None
        return Results(about, store.read(self.name), np.array(Image.open(store.file(self.name, ".samples.png"))))

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        tables = {"comparisons": metrics.comparisons(results.predictions), "positions": results.positions}
        return {"accuracy": results.summary, **tables, "confusion": results.confusion}

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"accuracy": partial(accuracy_plot, results), "samples": partial(strings_plot, results)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        shown = pd.DataFrame(
            {
                "strategy": f"`{row['head']}`",
                "exact match": share(Value.of(row, "exact"), 2),
                "digits right": percent(row["digit_accuracy"], 2),
                "CER": percent(row["cer"], 2),
                "ECE": f"{row['ece']:.4f}",
            }
            for row in results.summary.to_dict("records")
        )
        details = {
            "First strings, and mistakes": "![First strings, and mistakes](plots/samples.png)",
            "Most frequent confusions": prose("confusions", confusions=_confusions(results.confusion)),
        }
        text = prose("accuracy", results=results, length=TASK_LENGTH)
        return [Section("Accuracy on five digits", text, "accuracy", shown, details)]

    def evaluations(self, results: Results) -> list[Evaluation]:
        lines = f"{TASK_LENGTH} MNIST digits ({results.about['split']}) on a grid"
        rows = results.summary.to_dict("records")
        exact = {row["head"]: Value.of(row, "exact", row["strings"]) for row in rows}
        return [Evaluation(self.name, lines, MNIST, exact)]

    def claims(self, results: Results) -> list[Claim]:
        return [each.claim for each in results.comparisons]


EXPERIMENT = Accuracy()


def _samples(predictions: pd.DataFrame) -> list[int]:
    """The first strings, then those that some heads read right and others wrong, then those that are read wrong with
    most confidence."""
    wrong = predictions[predictions["prediction"] != predictions["text"]]
    worst = wrong.groupby("index").agg(heads=("head", "size"), confidence=("confidence", "mean"))
    worst["agreed"] = worst["heads"] == predictions["head"].nunique()
    order = worst.sort_values(["agreed", "confidence"], ascending=[True, False]).index.tolist()
    first = list(range(min(_SAMPLES, predictions["index"].nunique())))
    return first + [index for index in order if index not in first][:_MISTAKES]


def _confusions(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The most frequent ones; pairs of heads read as one of them does."""
    wrong = table[(table["truth"] != table["read"]) & table["head"].isin(list(available_heads()))]
    return wrong.sort_values("count", ascending=False, kind="stable").head(_CONFUSIONS).to_dict("records")


def accuracy_plot(results: Results) -> Figure:
    """Exact match of each strategy, and accuracy by position, with Wilson intervals."""
    names = [name for name in strategies.read() if name in set(results.summary["head"])]
    figure, (left, right) = plotting.panels(2, 4.8, 3.2)
    for y, name in enumerate(names[::-1]):
        if (exact := results.exact(name)) is not None:
            plotting.point(left, exact.times(100), y, plotting.style_of(name))
    left.set_yticks(range(len(names)), names[::-1])
    left.set_ylim(-0.5, len(names) - 0.5)
    left.set_xlabel(f"whole-string exact match, % ({results.about['strings']:,} strings)")
    left.set_title("Exact match (Wilson 95 % CI)", fontsize=10)
    # Other strategies of a head predict the same here: the heads are enough, side by side so that bars do not cover.
    own = [name for name in names if name in strategies.heads()]
    for i, name in enumerate(own):
        part, style = results.positions[results.positions["head"] == name], plotting.style_of(name)
        x = part["position"] + (i - (len(own) - 1) / 2) * 0.16
        errors = np.array([part["accuracy"] - part["low"], part["high"] - part["accuracy"]]) * 100
        more: dict[str, Any] = {"fmt": style.marker, "color": style.colour, "capsize": 3, "ms": 5, "label": name}
        right.errorbar(x, part["accuracy"] * 100, yerr=errors, **more)
    right.set_xticks(sorted(results.positions["position"].unique()))
    right.set_xlabel("position in the string")
    right.set_ylabel("digits read right, %")
    right.set_title("Accuracy by position (Wilson 95 % CI)", fontsize=10)
    figure.legend(loc="outside lower right", ncols=4, frameon=False)
    return figure


def strings_plot(results: Results) -> Figure:
    """Line images with each head's prediction beside them; wrong ones crossed and in red."""
    wide = results.predictions.pivot(index="index", columns="head", values="prediction")
    truth = results.predictions.drop_duplicates("index").set_index("index")["text"]
    heads = [name for name in strategies.heads() if name in wide.columns]
    shown = results.about["samples"]
    lines = np.split(results.samples, len(shown))
    aspect = lines[0].shape[1] / lines[0].shape[0]
    at = {"truth": aspect + 0.5} | {name: aspect + 3.1 + 3.2 * i for i, name in enumerate(heads)}
    figure = Figure(figsize=(8.2, 0.42 * len(lines) + 0.75), layout="constrained")
    axis = figure.add_subplot()
    for row, (index, line) in enumerate(zip(shown, lines, strict=True)):
        axis.imshow(255 - line, cmap="gray", vmin=0, vmax=255, extent=(0, aspect, row + 0.94, row + 0.06))
        for name, x in at.items():
            text = str(truth[index] if name == "truth" else wide.loc[index, name])
            wrong: dict[str, Any] = {"color": "#C1121F", "weight": "bold"} if text != truth[index] else {}
            said = text + " ✗" * bool(wrong)
            axis.text(x, row + 0.5, said, va="center", family="monospace", fontsize=11, **wrong)
    for title, x in {"image": aspect / 2 - 0.8, **at}.items():
        axis.text(x, -0.3, title, va="center", weight="bold")
    axis.set(xlim=(0, max(at.values()) + 3.2), ylim=(len(lines), -0.7), aspect="auto")
    axis.axis("off")
    return figure
