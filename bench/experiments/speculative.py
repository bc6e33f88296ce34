"""What does speculative decoding save? Trained weights, on synthetic lines of every level."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from bench.core import plotting, strategies
from bench.core.experiment import DETAILS, Bench, Claim, Experiment, Part, Section
from bench.core.formatting import estimates, percent, ratio, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, Rounds, clock
from bench.experiments.difficulty import Results as Readings
from bench.workloads import fingerprints
from bench.workloads.held_out import held_out_digits, level_strings, warm_up
from bench.workloads.timed_models import TASK_LENGTH, count_passes
from seqocr.data.synthetic.layouts import LEVELS
from seqocr.decoding.output import DecodeFunction
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Value


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    length: symbols of every string.
    each: strings that a sample reads, one by one: other ones every round.
    """

    length: int = TASK_LENGTH
    each: int = 16


PRESETS = {"smoke": Settings(rounds=2), "default": Settings(rounds=10), "full": Settings(rounds=3, restarts=8)}


@dataclass(frozen=True)
class Results:
    """Attributes:
    length, each: as measured.
    by: seconds that a sample's strings take together, by round, of (level, strategy).
    passes: mean a string, by (level, strategy).
    """

    length: int
    each: int
    by: ByRound
    passes: dict[tuple[str, str], float]

    @property
    def levels(self) -> list[str]:
        return list(dict.fromkeys(level for level, _ in self.passes))

    @property
    def strategies(self) -> list[str]:
        return list(dict.fromkeys(strategy for _, strategy in self.passes))

    def milliseconds(self, level: str, strategy: str) -> Value:
        """Of a string, image to text, confidence included."""
        return self.by.milliseconds((level, strategy), self.each)

    def over(self, level: str, strategy: str, other: str) -> Value:
        """How many times as long a strategy takes as another."""
        return self.by.over((level, strategy), (level, other))


class Drafts(Experiment):
    name = "drafts"
    page, order = DETAILS, 15

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        settings = PRESETS[preset]
        return [Part(self.name, settings, settings.steps, weights=(bench.reader,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A sample is one level: every strategy reads the same strings, one by one, in random order."""
        settings: Settings = part.settings
        recognizer, digits = load_recognizer(part.weights[0]).to(bench.device), held_out_digits()
        decoders = {
            name: decode for name, decode in recognizer.decode_functions().items() if name in strategies.heads()
        }
        count = settings.each * settings.steps
        lines = {level: level_strings(digits, level, settings.length, count) for level in LEVELS}
        turns = dict.fromkeys(LEVELS, bench.restart * settings.of_each)

        def sample(level: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            start = turns[level] * settings.each % (len(lines[level]) - settings.each + 1)
            turns[level] += 1
            images = lines[level].batch(range(start, start + settings.each))[0]
            inputs = [recognizer.processor([image]).to(bench.device) for image in images]
            for name in shuffle.sample(list(decoders), len(decoders)):
                work = partial(_read, recognizer.encoder, decoders[name])
                warm_up(partial(work, inputs[:1]))
                passes, timing = clock(partial(work, inputs), bench.device)
                yield {"level": level, "strategy": name, "strings": len(inputs), "passes": passes, **timing}

        bench.measure_rounds(part, list(LEVELS), sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        return fingerprints.of_recognizer(part.weights[0], part.settings.length, strategies.heads())

    def results(self, store: Store) -> Results | None:
        if not (tables := self.rows(store)):
            return None
        rows, settings = tables[self.name], store.facts(self.name)["depends"]["settings"]
        passes = rows.groupby(["level", "strategy"])[["passes", "strings"]].sum()
        mean = (passes["passes"] / passes["strings"]).to_dict()
        if not {name for _, name in mean} & set(strategies.speculative()):
            return None  # none of these weights verifies drafts
        ordered = [(level, name) for level in LEVELS for name in strategies.heads() if (level, name) in mean]
        by = ByRound(rows, ["level", "strategy"])
        return Results(settings["length"], settings["each"], by, {key: mean[key] for key in ordered})

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = [
            {
                "level": level,
                "strategy": name,
                "passes": passes,
                "ms": results.milliseconds(level, name),
                **{f"over_{other}": results.over(level, name, other) for other in _others(results, level)},
            }
            for (level, name), passes in results.passes.items()
        ]
        return {"drafts": estimates(rows)}

    def plots(self, results: Results, everything: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
        read = everything.get("levels")
        return {"drafts": partial(passes_plot, read)} if read is not None and "passes" in read.read else {}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        read, shown = everything.get("levels"), _speculative(results)
        table = pd.DataFrame(
            {
                "level": f"`{level}`",
                "passes": f"{results.passes[level, name]:.2f}",
                f"`{name}`, ms": time(results.milliseconds(level, name)),
                **{
                    f"over `{other}`": ratio(results.over(level, name, other))
                    for other in (writer, *_one_pass(results, level))
                },
                **({f"same text as `{writer}`": _agreement(read, level, name, writer)} if read is not None else {}),
            }
            for level, name, writer in shown
        ).fillna("")
        over = [results.over(level, name, _fastest(results, level)).estimate for level, name, _ in shown]
        writers = list(dict.fromkeys(writer for *_, writer in shown))
        text = prose("drafts", length=results.length, writers=writers, least=min(over), most=max(over))
        plot = "drafts" if self.plots(results, everything) else None
        return [Section("Speculative decoding", text, plot, table)]

    def claims(self, results: Results) -> list[Claim]:
        found = []
        for level, name, writer in _speculative(results):
            value = results.over(level, name, writer)
            said = "faster" if value.estimate < 1 else "slower"
            found.append(Claim(f"`{level}`: `{name}` beside `{writer}`", said, value))
        return found


EXPERIMENT = Drafts()


@torch.inference_mode()
def _read(encoder: Callable[[torch.Tensor], torch.Tensor], decode: DecodeFunction, inputs: list[torch.Tensor]) -> int:
    """Lines one by one; how many passes it took."""
    return sum(count_passes(decode, encoder(pixel_values)) for pixel_values in inputs)


def _speculative(results: Results) -> list[tuple[str, str, str]]:
    """(level, strategy that verifies drafts, head whose texts it gives)."""
    found = [(name, strategies.head_of(name)) for name in strategies.speculative() if name in results.strategies]
    return [(level, *each) for level in results.levels for each in found]


def _one_pass(results: Results, level: str) -> list[str]:
    return [name for name in strategies.one_pass() if (level, name) in results.passes]


def _others(results: Results, level: str) -> list[str]:
    """What the table compares a strategy with."""
    return [*(name for name in strategies.by_symbol() if (level, name) in results.passes), *_one_pass(results, level)]


def _fastest(results: Results, level: str) -> str:
    """The one-pass head that takes the least time."""
    return min(_one_pass(results, level), key=lambda name: results.milliseconds(level, name).estimate)


def _agreement(read: Readings, level: str, name: str, writer: str) -> str:
    rows = read.read[read.read["level"] == level]
    wide = rows.pivot(index=["length", "index"], columns="head", values="prediction")
    if name not in wide:
        return ""
    same = int((wide[name] == wide[writer]).sum())
    return f"{same:,} of {len(wide):,} ({percent(same / len(wide), 0)})"


def passes_plot(read: Readings) -> Figure:
    """Mean decoder passes per string against its length, a panel per level."""
    figure, axes = plotting.panels(len(read.levels), 3.6, 2.9, columns=3)
    shown = [name for name in (*strategies.by_symbol(), *strategies.speculative()) if name in read.heads]
    for axis, level in zip(axes, read.levels, strict=True):
        for name in shown:
            rows = read.read[(read.read["level"] == level) & (read.read["head"] == name)]
            mean, style = rows.groupby("length")["passes"].mean(), plotting.style_of(name)
            axis.plot(mean.index, mean, style.line, color=style.colour, marker=style.marker, ms=4)
        axis.set_title(level, fontsize=10)
        axis.set_xticks(read.lengths)
        axis.set_xlabel("digits in the string")
        axis.set_ylim(0, None)
    axes[0].set_ylabel("decoder passes a string")
    figure.suptitle("Decoder passes with and without speculative decoding", fontsize=11)
    plotting.legend(figure, shown)
    return figure
