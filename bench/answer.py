"""The answer at the top of the report: sentences whose words and numbers follow from the statistics."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.formatting import interval, milliseconds, proportion
from bench.plan import HEADS, ONE_PASS, SMALL_NATIVE, SMALL_SQUARE, SUBJECTS, TASK_LENGTH
from bench.statistics import Results


@dataclass(frozen=True)
class Answer:
    """The sentences and tables at the top of the report, each derived from the statistics."""

    results: Results
    labels: dict[str, str]

    def table(self) -> pd.DataFrame:
        """One row a head: accuracy, passes, what a symbol costs, and latency of every fixed-size subject."""
        r, rows = self.results, []
        accuracy = r.accuracy.set_index("head")
        for head in ("ar-generate", *HEADS):
            one = accuracy.loc[head]
            passes = r.costs[(r.costs["variant"] == head) & (r.costs["length"] == TASK_LENGTH)]["passes"].iloc[0]
            row = {
                "head": f"`{head}`",
                f"exact match, {int(one['strings']):,} strings": proportion(one, "exact"),
                f"decoder passes, n = {TASK_LENGTH}": int(passes),
            }
            for subject in self._fixed():
                here = self._latency(subject, head, TASK_LENGTH)
                row[f"{self.labels[subject]}: ms (of which decoder)"] = (
                    f"{milliseconds(here['total_ms'])} ({milliseconds(here['decode_ms'])})"
                )
            rows.append(row)
        return pd.DataFrame(rows)

    def accuracy(self) -> str:
        """Whether autoregression reads better than the best head that needs one pass."""
        r = self.results
        exact = r.accuracy.set_index("head")["exact"]
        best = max(ONE_PASS, key=lambda head: exact[head])
        row, sign = self._comparison("ar", best)
        difference, low, high = sign * row["difference"], *sorted((sign * row["low"], sign * row["high"]))
        confidence = f"95 % CI {low * 100:+.2f} to {high * 100:+.2f}; McNemar p = {row['p_value']:.2g}"
        strings = f"{r.facts['accuracy']['strings']:,} {r.facts['accuracy']['split']} strings of {TASK_LENGTH}"
        if low > 0:
            verdict = "Autoregression does buy accuracy here"
        elif high < 0:
            verdict = "Autoregression reads worse here"
        else:
            verdict = "Autoregression buys no measurable accuracy here"
        return (
            f"**{verdict}**: on the same {strings}, `ar` minus `{best}`, the better one-pass head, is "
            f"{difference * 100:+.2f} points of exact match ({confidence})."
        )

    def slope(self) -> str:
        """What a symbol costs each kind of head."""
        r, parts, ratios = self.results, [], []
        for subject in self._fixed():
            generate, own = (self._fit(subject, head) for head in ("ar-generate", "ar"))
            flat = r.flatness[r.flatness["subject"] == subject].set_index("variant")
            ratios += [flat.loc[head, "ratio"] for head in ONE_PASS]
            longest, shortest = flat["long"].iloc[0], flat["short"].iloc[0]
            parts.append(
                f"on {self.labels[subject]} a symbol costs `ar-generate` {interval(generate)} ms "
                f"and `ar` {interval(own)} ms, while one-pass decoding of {longest} symbols takes "
                + " and ".join(f"{flat.loc[h, 'ratio']:.2f} (`{h}`)" for h in ONE_PASS)
                + f" times that of {shortest}"
            )
        rising = all(self._fit(s, h)["b_low"] > 0 for s in self._fixed() for h in ("ar-generate", "ar"))
        verdict = (
            f"Autoregressive cost rises with every symbol, one-pass decoding grows {max(ratios):.2f}-fold at most"
            if rising
            else "The growth of autoregressive cost could not be told from noise everywhere"
        )
        return f"**{verdict}**: {'; '.join(parts)} (batch 1)."

    def whole(self) -> str:
        """What dropping autoregression saves from image to text, and how much of the whole the encoder is."""
        r, parts = self.results, []
        for subject in self._fixed():
            at = r.speedups[(r.speedups["subject"] == subject) & (r.speedups["length"] == TASK_LENGTH)]
            fast = at[at["variant"].isin(ONE_PASS)]
            shown = []
            for over in ("ar-generate", "ar"):
                best = fast[fast["over"] == over].sort_values("ratio").iloc[-1]
                shown.append(f"{best['ratio']:.2f} times ({best['low']:.2f} to {best['high']:.2f}) as fast as `{over}`")
            share = self._latency(subject, "ar", TASK_LENGTH)
            encoder = share["encode_ms"] / share["total_ms"]
            parts.append(f"{self.labels[subject]}: {', '.join(shown)}; the encoder is {encoder:.0%} of what `ar` takes")
        return (
            f"**From image to text, n = {TASK_LENGTH}, the faster one-pass head** is, on " + "; on ".join(parts) + "."
        )

    def image(self) -> str:
        """What a smaller image saves, beside what a one-pass head does; empty unless both sizes were measured."""
        r = self.results
        large, small = SMALL_SQUARE.name, SMALL_NATIVE.name
        at = r.latency[r.latency["length"] == TASK_LENGTH].set_index(["subject", "variant"])["total_ms"]
        if not {large, small} <= set(at.index.get_level_values("subject")):
            return ""
        fastest = {s: min(at[s, head] for head in ONE_PASS) for s in (large, small)}
        start = at[large, "ar-generate"]
        head, image, both = start / fastest[large], start / at[small, "ar-generate"], start / fastest[small]
        verdict, size = "saves more than" if image > head else "saves less than", self.labels[small].split(", ")[1]
        return (
            f"**A smaller image {verdict} a one-pass head**: from `ar-generate` on {self.labels[large]}, "
            f"n = {TASK_LENGTH}, a one-pass head alone is {head:.2f} times as fast, an image of {size} alone "
            f"{image:.2f} times, both together {both:.1f} times (ratios of means)."
        )

    def advice(self) -> str:
        """Which head to deploy, as far as these measurements say."""
        r = self.results
        exact = r.accuracy.set_index("head")["exact"]
        best = max(ONE_PASS, key=lambda head: exact[head])
        row, sign = self._comparison("ar", best)
        low = min(sign * row["low"], sign * row["high"])
        growing = [s for s in self.labels if SUBJECTS[s].grows]
        caveat = ""
        if growing:
            encoder = self._fit(growing[0], "encoder", phase="total")
            if encoder["b_low"] > 0:
                caveat = (
                    f" No head is O(1) when the image must grow with the string: the encoder alone then takes "
                    f"{interval(encoder)} ms a symbol ({self.labels[growing[0]]})."
                )
        if low > 0:
            return f"**Which head**: `ar` where accuracy decides, `{best}` where latency does.{caveat}"
        return f"**Which head**: `{best}`; on strings like these nothing speaks for paying a pass a symbol.{caveat}"

    def _fixed(self) -> list[str]:
        return [name for name in self.labels if not SUBJECTS[name].grows]

    def _latency(self, subject: str, variant: str, length: int) -> pd.Series:
        table = self.results.latency
        return table[(table["subject"] == subject) & (table["variant"] == variant) & (table["length"] == length)].iloc[
            0
        ]

    def _fit(self, subject: str, variant: str, phase: str = "decode") -> pd.Series:
        table = self.results.fits
        return table[(table["subject"] == subject) & (table["variant"] == variant) & (table["phase"] == phase)].iloc[0]

    def _comparison(self, head: str, other: str) -> tuple[pd.Series, int]:
        """The comparison of two heads, and 1 or -1 for the order in which it is stored."""
        table = self.results.comparisons
        same = table[(table["head"] == head) & (table["other"] == other)]
        if len(same):
            return same.iloc[0], 1
        return table[(table["head"] == other) & (table["other"] == head)].iloc[0], -1
