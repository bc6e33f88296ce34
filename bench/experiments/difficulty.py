"""Does autoregression read longer and harder strings better? Every length at every level of difficulty."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle, groupby, islice
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.core.experiment import Bench, Claim, Evaluation, Experiment, Part, Section, stored
from bench.core.formatting import share
from bench.core.store import Store
from bench.core.templating import prose
from bench.workloads import accuracy_tables
from bench.workloads.accuracy_tables import Comparison
from bench.workloads.held_out import MNIST, held_out_digits, level_strings, pieces, read_some, read_strings
from seqocr import metrics
from seqocr.data.synthetic.layouts import LEVELS, Layout, contact_sheet
from seqocr.files import replacing
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Value, paired_difference, proportion

LONGEST = 10  # symbols of the longest strings, if the recognizer reads so many
_AT_ONCE = 100  # strings of a piece
_AGAIN = 2  # strings of every length that are predicted again to verify what is stored
_SHEET = 18  # lines on a contact sheet
_SHEET_SUFFIX = ".sheet.png"
REAL_PHASES = {"zero-shot": "as shipped", "fine-tuned": "adapted"}  # of real lines, and what pages call them
_EACH = {"smoke": 8, "default": 100, "full": 200}


@dataclass(frozen=True)
class Settings:
    """Attributes:
    each: strings of every length.
    layout: what the level is.
    """

    level: str
    layout: Layout | None
    each: int


@dataclass(frozen=True)
class Results:
    """Attributes:
    about: source and split of the digits, strings of every length, name of the weights.
    read: one row per level, length, index and head: text, prediction, confidence.
    """

    about: dict[str, Any]
    read: pd.DataFrame

    @property
    def levels(self) -> list[str]:
        return list(self.read["level"].unique())

    @property
    def lengths(self) -> list[int]:
        return sorted(int(n) for n in self.read["length"].unique())

    @property
    def heads(self) -> list[str]:
        return list(self.read["head"].unique())

    @property
    def own_heads(self) -> list[str]:
        """Without pairs of heads, which read as the one that verifies."""
        return [head for head in self.heads if head not in strategies.speculative()]

    @cached_property
    def right(self) -> pd.DataFrame:
        """Whether each head (columns) reads each string (level, length, index) right."""
        return accuracy_tables.right(self.read, ["level", "length", "index"])

    def exact(self, level: str, head: str, length: int | None = None) -> Value:
        """Exact match at a level, of one length or of all."""
        right = self.right.loc[level if length is None else (level, length), head]
        return proportion(int(right.sum()), len(right))

    @cached_property
    def repeats(self) -> pd.DataFrame:
        """Whether each head (columns) loses repeats, and makes no other mistake, of each string (level, length, index)
        with a digit that follows itself."""
        rows = self.read[self.read["text"].map(lambda text: any(n > 1 for _, n in _runs(text)))]
        lost = [_loses_repeats(*pair) for pair in zip(rows["text"], rows["prediction"], strict=True)]
        return rows.assign(lost=lost).pivot(index=["level", "length", "index"], columns="head", values="lost")

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The autoregressive head beside every one-pass head, at every level: one family."""
        return accuracy_tables.beside_one_pass({f"`{level}`": self.right.loc[level] for level in self.levels})


class Levels(Experiment):
    name = "levels"
    order = 30
    timed = False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        each = _EACH[preset]
        steps = LONGEST * -(-each // _AT_ONCE)
        return [
            Part(f"{self.name}-{level}", Settings(level, layout, each), steps, weights=(bench.reader,))
            for level, layout in LEVELS.items()
        ]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """Predictions of every length, and a contact sheet of the first strings."""
        settings: Settings = part.settings
        digits = held_out_digits()
        lengths = range(1, min(LONGEST, load_recognizer(part.weights[0]).max_length) + 1)
        strings = {n: level_strings(digits, settings.level, n, settings.each) for n in lengths}
        todo = [piece for n, of_length in strings.items() for piece in pieces(of_length, _AT_ONCE, length=n)]
        read_strings(part, bench, reporter, todo, strategies.heads())
        turns = islice(cycle(strings.values()), _SHEET)
        lines = [of_length[i // len(lengths) % len(of_length)][0] for i, of_length in enumerate(turns)]
        with replacing(bench.store.file(part.name, _SHEET_SUFFIX)) as temporary:
            contact_sheet(lines).save(temporary)
        about = {"source": digits.source, "split": digits.split, "each": settings.each, "reader": part.weights[0].name}
        bench.store.add_facts(part.name, about=about)

    def predict_again(self, part: Part, bench: Bench, rows: pd.DataFrame) -> pd.DataFrame:
        heads, digits = tuple(rows["head"].unique()), held_out_digits()
        tables = []
        for length in sorted(rows["length"].unique()):
            strings = level_strings(digits, part.settings.level, int(length), part.settings.each)
            tables.append(read_some(part.weights[0], strings, range(_AGAIN), heads, length=int(length)))
        return pd.concat(tables, ignore_index=True)

    def results(self, store: Store) -> Results | None:
        parts = _parts(store)
        if not parts:
            return None
        read = pd.concat([store.read(part).assign(level=level) for level, part in parts.items()], ignore_index=True)
        return Results(store.facts(next(iter(parts.values())))["about"], read)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        """By level; by level and length; and every pair of heads on the same strings."""
        read = results.read
        apart = read.assign(index=read["length"].astype(str) + "/" + read["index"].astype(str))
        pairs = [metrics.comparisons(part).assign(level=level) for level, part in apart.groupby("level", sort=False)]
        return {
            "levels": accuracy_tables.summary(read, ["level", "head"]),
            "lengths": accuracy_tables.summary(read, ["level", "length", "head"]),
            "pairs": pd.concat(pairs, ignore_index=True),
            "beside_one_pass": accuracy_tables.comparisons_table(results.comparisons),
        }

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        return {"lengths": partial(lengths_plot, results, everything.get("real"))}

    def pictures(self, store: Store) -> dict[str, Path]:
        return {level: store.file(part, _SHEET_SUFFIX) for level, part in _parts(store).items()}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        head = results.comparisons[0].head
        table = pd.DataFrame(
            {
                "exact match": f"`{level}`",
                **{f"`{name}`": share(results.exact(level, name)) for name in results.own_heads},
            }
            for level in results.levels
        )
        hardest, ends = results.levels[-1], (results.lengths[0], results.lengths[-1])
        fall = [results.exact(hardest, head, length).estimate for length in ends]
        text = prose("levels", results=results, hardest=hardest, ends=ends, head=head, fall=fall)
        pictures = " ".join(f"![{level}](plots/{level}.png)" for level in results.levels)
        details: dict[str, Any] = {"What levels are, and how heads are compared": prose("levels_method")}
        details |= {f"`{head}` beside one pass": accuracy_tables.shown_comparisons(results.comparisons)}
        details |= {f"Lines of each level: {', '.join(results.levels)}": pictures}
        return [Section("Any length, any spacing", text, "lengths", table, details)]

    def evaluations(self, results: Results) -> list[Evaluation]:
        digits = f"{results.lengths[0]} to {results.lengths[-1]} MNIST digits ({results.about['split']})"
        return [
            Evaluation(
                f"{self.name}-{level}",
                f"{digits}, level `{level}`",
                MNIST,
                {head: results.exact(level, head) for head in results.heads},
            )
            for level in results.levels
        ]

    def claims(self, results: Results) -> list[Claim]:
        return [each.claim for each in results.comparisons]


EXPERIMENT = Levels()


def _parts(store: Store) -> dict[str, str]:
    """Finished parts by level, in the order of the registry."""
    there = stored(store, Levels.name)
    return {level: part for level in LEVELS if (part := f"{Levels.name}-{level}") in there}


def _runs(text: str) -> list[tuple[str, int]]:
    """Symbols and how often each follows itself: 1122 is 1 twice, 2 twice."""
    return [(symbol, len(list(run))) for symbol, run in groupby(text)]


def _loses_repeats(text: str, prediction: str) -> bool:
    truth, read = _runs(text), _runs(prediction)
    return (
        text != prediction
        and [symbol for symbol, _ in truth] == [symbol for symbol, _ in read]
        and all(n >= m for (_, n), (_, m) in zip(truth, read, strict=True))
    )


def lengths_plot(results: Results, real: Any = None) -> Figure:
    """Exact match of the autoregressive head against length, a line per level; one-pass heads minus it, a panel per
    level; and all heads over all lengths, with real lines if they were read."""
    figure, (first, *axes, last) = plotting.panels(len(results.levels) + 2, 4.6, 3.0)
    own, others = results.comparisons[0].head, list(dict.fromkeys(each.other for each in results.comparisons))
    for place, level in enumerate(results.levels):
        values = [results.exact(level, own, n).times(100) for n in results.lengths]
        plotting.band(first, results.lengths, values, plotting.numbered_style(place), label=level)
    first.set(title=f"{own}, by level", xlabel="digits in the string", ylabel="exact match, %", ylim=(None, 101))
    first.legend(frameon=False, loc="lower left")
    for axis, level in zip(axes, results.levels, strict=True):
        axis.axhline(0, color=plotting.style_of(own).colour, lw=1.4)
        for head, aside in plotting.dodged(others, 0.3).items():
            for n in results.lengths:
                right = results.right.loc[(level, n)]
                gap = paired_difference(right[head], right[own]).difference.times(100)
                plotting.point(axis, n + aside, gap, plotting.style_of(head))
        axis.set(title=f"{level}: one pass minus {own}", xlabel="digits in the string", ylabel="points of exact match")
        axis.set_xticks(results.lengths)
    most = max(abs(edge) for axis in axes for edge in axis.get_ylim())
    for axis in axes:
        axis.set_ylim(-most, most)
    for head, aside in plotting.dodged(results.own_heads, 0.2).items():
        whole = {level: results.exact(level, head) for level in results.levels}
        if real is not None:
            whole |= {f"real,\n{name}": real.exact(head, phase) for phase, name in REAL_PHASES.items()}
        for i, value in enumerate(whole.values()):
            plotting.point(last, i + aside, value.times(100), plotting.style_of(head))
    last.set_xticks(range(len(whole)), list(whole))
    last.set(xlim=(-0.5, len(whole) - 0.5), title="all lengths", ylabel="exact match, %")
    figure.suptitle("Accuracy against length at every level (95 % CI)", fontsize=11)
    plotting.legend(figure, results.own_heads)
    return figure
