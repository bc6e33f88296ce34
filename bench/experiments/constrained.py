"""What does constrained decoding gain? Codes with a check digit, read with and without it."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from PIL import Image

from bench.core.experiment import DETAILS, Bench, Experiment, Part, Section
from bench.core.formatting import estimates, points, ratio, share, time
from bench.core.store import Store
from bench.core.templating import prose
from bench.core.timer import ByRound, Rounds, clock, counted
from bench.study.label_distributions import Luhn
from bench.workloads import fingerprints
from bench.workloads.held_out import held_out_digits, warm_up
from seqocr.data.synthetic.lines import Glyphs, SyntheticLines, TextSampler
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.decoding.automaton import Automaton
from seqocr.decoding.constraints import build_constraint
from seqocr.inference.predict import predict
from seqocr.inference.prediction import BEAM_WIDTH, Prediction, ReadOptions
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.registry import available_heads
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter
from seqocr.statistics import Paired, Value, paired_difference, proportion

NONE, PATTERN, BOTH = "any text", "8 digits", "8 digits, check digit"
CONSTRAINTS = (NONE, PATTERN, BOTH)


@dataclass(frozen=True)
class Settings(Rounds):
    """Attributes:
    each: codes that a sample reads, one by one: other ones every round.
    length: digits of a code, the last of which is Luhn's check digit.
    width: beam width of the autoregressive head.
    """

    each: int = 16
    length: int = 8
    width: int = BEAM_WIDTH


PRESETS = {"smoke": Settings(rounds=1), "default": Settings(rounds=6), "full": Settings(rounds=3, restarts=8)}


@dataclass(frozen=True)
class Results:
    """Attributes:
    settings: as measured.
    right: for each head and constraint, whether each code was read right, in the same order for all.
    by: seconds of a sample, by round, of (head, constraint); passes: mean a code.
    """

    settings: dict[str, Any]
    right: dict[tuple[str, str], list[bool]]
    by: ByRound
    passes: dict[tuple[str, str], float]

    @property
    def heads(self) -> list[str]:
        return list(dict.fromkeys(head for head, _ in self.right))

    def exact(self, head: str, constraint: str) -> Value:
        right = self.right[head, constraint]
        return proportion(sum(right), len(right))

    def gain(self, head: str, constraint: str) -> Paired:
        """Exact match under a constraint, less that without one, of the same codes."""
        return paired_difference(pd.Series(self.right[head, constraint]), pd.Series(self.right[head, NONE]))

    def milliseconds(self, head: str, constraint: str) -> Value:
        """Of a code, image to text."""
        return self.by.milliseconds((head, constraint), self.settings["each"])

    def over(self, head: str, constraint: str) -> Value:
        """How many times as long as without a constraint."""
        return self.by.over((head, constraint), (head, NONE))


class Codes(TextSampler):
    """Numbers that end in Luhn's check digit, for `SyntheticLines`."""

    def sample(self, count: int, symbols: int, generator: torch.Generator) -> list[torch.Tensor]:
        assert isinstance(self.length, int)
        seed = int(torch.randint(2**31, (), generator=generator))
        return list(torch.from_numpy(Luhn(self.length).sample(count, seed=seed)))


class Constrained(Experiment):
    name = "forms"
    page, order = DETAILS, 65

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        settings = PRESETS[preset]
        return [Part(self.name, settings, settings.steps, (bench.reader,))]

    def measure(self, part: Part, bench: Bench, reporter: Reporter) -> None:
        """A sample is a head: the same codes are read under every constraint, one by one, in random order."""
        settings: Settings = part.settings
        recognizer = load_recognizer(part.weights[0]).to(bench.device)
        count = settings.each * settings.steps
        lines = SyntheticLines(Glyphs(held_out_digits()), Codes(settings.length), WriterStyle(), count=count, seed=1)
        pattern = rf"\d{{{settings.length}}}"
        given: list[dict[str, str]] = [{}, {"pattern": pattern}, {"pattern": pattern, "check": "luhn"}]
        built = (build_constraint(recognizer.charset, **each) for each in given)
        constraints = dict(zip(CONSTRAINTS, built, strict=True))
        heads = [head for head in available_heads() if head in recognizer.heads]
        turns = dict.fromkeys(heads, bench.restart * settings.of_each)

        def sample(head: str, shuffle: random.Random) -> Iterator[dict[str, Any]]:
            start = turns[head] * settings.each % count
            turns[head] += 1
            images, texts = lines.batch(range(start, start + settings.each))
            pictures = [Image.fromarray(image.numpy()) for image in images]
            for name in shuffle.sample(list(constraints), len(constraints)):
                work = partial(_read, recognizer, head, constraints[name], settings.width)
                warm_up(partial(work, pictures[:1]))
                read, timing = clock(partial(work, pictures), bench.device)
                right = "".join(str(int(each.text == text)) for each, text in zip(read, texts, strict=True))
                of = {"head": head, "constraint": name, "first": start, "right": f"={right}"}
                yield {**of, "passes": sum(each.passes for each in read), **timing}

        bench.measure_rounds(part, heads, sample, reporter)

    def fingerprint(self, part: Part, bench: Bench) -> dict[str, Any]:
        return fingerprints.of_recognizer(part.weights[0], part.settings.length, tuple(available_heads()))

    def results(self, store: Store) -> Results | None:
        if not (tables := self.rows(store)):
            return None
        settings, rows = store.facts(self.name)["depends"]["settings"], tables[self.name]
        of_kind = dict(iter(counted(rows).sort_values("first").groupby(["head", "constraint"])))
        ordered = [(head, name) for head in available_heads() for name in CONSTRAINTS if (head, name) in of_kind]
        right = {key: [c == "1" for text in of_kind[key]["right"] for c in text[1:]] for key in ordered}
        passes = {key: float(of_kind[key]["passes"].sum()) / len(right[key]) for key in ordered}
        return Results(settings, right, ByRound(rows, ["head", "constraint"]), passes)

    def tables(self, results: Results) -> dict[str, pd.DataFrame]:
        rows = [
            {
                "head": head,
                "constraint": constraint,
                "codes": len(right),
                "exact": results.exact(head, constraint),
                "ms": results.milliseconds(head, constraint),
                "passes": results.passes[head, constraint],
                **({"gain": results.gain(head, constraint).difference} if constraint != NONE else {}),
            }
            for (head, constraint), right in results.right.items()
        ]
        return {"constrained": estimates(rows)}

    def sections(self, results: Results, everything: Mapping[str, Any]) -> list[Section]:
        rows = [
            {
                "head": f"`{head}`",
                "exact match, unconstrained": share(results.exact(head, NONE)),
                PATTERN: share(results.exact(head, PATTERN)),
                BOTH: share(results.exact(head, BOTH)),
                "gain, points": points(results.gain(head, BOTH).difference),
                "passes": f"{results.passes[head, NONE]:.1f}, {results.passes[head, BOTH]:.1f}",
                "ms per code": time(results.milliseconds(head, BOTH)),
                "over unconstrained": ratio(results.over(head, BOTH)),
            }
            for head in results.heads
        ]
        gains = [results.gain(head, BOTH).difference.estimate * 100 for head in results.heads]
        count = len(next(iter(results.right.values())))
        text = prose("constrained", settings=results.settings, count=count, least=min(gains), most=max(gains))
        return [Section("Constrained decoding", text, None, pd.DataFrame(rows))]


EXPERIMENT = Constrained()


def _read(
    recognizer: Recognizer, head: str, constraint: Automaton | None, width: int, pictures: list[Image.Image]
) -> list[Prediction]:
    """Codes one by one, by search also without a constraint."""
    options = ReadOptions(head, constraint, beam_width=width, symbols=True, min_fit=0)
    return [predict(recognizer, [picture], options)[0] for picture in pictures]
