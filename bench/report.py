"""results/report.md, tables and plots from saved measurements alone. Words and numbers come from the statistics."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench import plots
from bench.answer import Answer
from bench.formatting import interval, markdown_table, milliseconds, percent, points, proportion, ratio, si
from bench.line_report import LineResults
from bench.plan import HEADS, ONE_PASS, SUBJECTS, TASK_LENGTH
from bench.statistics import Results, analyse
from bench.store import Store
from seqocr.files import write_csv, write_text

_UNSTABLE = 0.10  # coefficient of variation from which the report warns, as pyperf does
_CONFUSIONS = 8  # most frequent ones named in the text


def write_report(store: Store, results_folder: Path, of_lines: Store | None = None) -> Path:
    """Write report.md, plots/ and tables/ into the results folder; returns the report's path.

    Args:
        store: the run of a plan.
        of_lines: that of `bench.lines`; without it the report says nothing of levels and real lines.
    """
    results, lines = analyse(store), LineResults(of_lines) if of_lines else None
    if lines:
        for name, table in lines.tables().items():
            write_csv(results_folder / "tables" / f"{name}.csv", table)
        lines.draw(results_folder / "plots")
    labels = {name: subject.label for name, subject in SUBJECTS.items() if name in set(results.costs["subject"])}
    for name, table in results.tables().items():
        if name != "predictions":  # they are saved with the measurements
            write_csv(results_folder / "tables" / f"{name}.csv", table)
    drawn = plots.draw_all(results, store, results_folder / "plots", labels)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"table": markdown_table, "percent": percent}
    text = environment.get_template("report.md.j2").render(
        r=results,
        facts=results.facts,
        labels=labels,
        drawn=drawn,
        run=store.folder.name,
        n=TASK_LENGTH,
        rates=store.read("rates").max(),
        answer=Answer(results, labels),
        tables=Tables(results, labels),
        lines=lines,
        unstable=results.stability[results.stability["variation"] > _UNSTABLE].to_dict("records"),
    )
    path = results_folder / "report.md"
    write_text(path, text)
    return path


class Tables:
    """The report's tables, formatted."""

    def __init__(self, results: Results, labels: dict[str, str]) -> None:
        self.results, self.labels = results, labels

    def fits(self) -> pd.DataFrame:
        rows = [
            {
                "subject": self.labels[row["subject"]],
                "variant": f"`{row['variant']}`",
                "a, ms": milliseconds(row["a_ms"]),
                "b, ms a symbol": f"{row['b_ms']:.3g} ({row['b_low']:.3g} to {row['b_high']:.3g})",
                "R²": f"{row['r2']:.3f}",
            }
            for row in self.results.fits.to_dict("records")
            if row["phase"] == ("total" if row["variant"] == "encoder" else "decode")
        ]
        return pd.DataFrame(rows)

    def flatness(self) -> pd.DataFrame:
        whole = {(row["subject"], row["variant"]): row for row in self.results.overhead.to_dict("records")}
        rows = [
            {
                "subject": self.labels[row["subject"]],
                "variant": f"`{row['variant']}`",
                "decode, longest / shortest n": f"{row['long']} / {row['short']}: {ratio(row)}",
                "whole / encoder alone": ratio(whole[key])
                if (key := (row["subject"], row["variant"])) in whole
                else "",
            }
            for row in self.results.flatness.to_dict("records")
        ]
        return pd.DataFrame(rows)

    def speedups(self) -> pd.DataFrame:
        table = self.results.speedups[self.results.speedups["variant"].isin(HEADS)]
        rows = []
        for (subject, length, variant), part in table.groupby(["subject", "length", "variant"], sort=False):
            over = {row["over"]: ratio(row) for row in part.to_dict("records")}
            cells = {f"over `{name}`": over.get(name, "") for name in ("ar-generate", "ar")}
            rows.append({"subject": self.labels[subject], "n": length, "variant": f"`{variant}`", **cells})
        return pd.DataFrame(rows)

    def accuracy(self) -> pd.DataFrame:
        rows = [
            {
                "head": f"`{row['head']}`",
                "strings": f"{row['strings']:,}",
                "exact match": proportion(row, "exact"),
                "digits right": percent(row["digit_accuracy"]),
                "CER": percent(row["cer"]),
                "ECE": f"{row['ece']:.4f}",
            }
            for row in self.results.accuracy.to_dict("records")
        ]
        return pd.DataFrame(rows)

    def comparisons(self) -> pd.DataFrame:
        rows = [
            {
                "heads": f"`{row['head']}` − `{row['other']}`",
                "difference, points": points(row),
                "only first right": row["only_head_right"],
                "only second right": row["only_other_right"],
                "McNemar p": f"{row['p_value']:.2g}",
            }
            for row in self.results.comparisons.to_dict("records")
        ]
        return pd.DataFrame(rows)

    def confusions(self) -> str:
        """The most frequent ones in words; empty if nothing was misread."""
        table = self.results.confusion
        wrong = table[(table["truth"] != table["read"]) & table["head"].isin(HEADS)]
        most = wrong.sort_values("count", ascending=False).head(_CONFUSIONS)
        return ", ".join(f"{r['truth']} → {r['read']} (`{r['head']}`, {r['count']})" for r in most.to_dict("records"))

    def costs(self) -> pd.DataFrame:
        rows = []
        for (subject, variant), part in self.results.costs.groupby(["subject", "variant"], sort=False):
            here = part[part["length"] == TASK_LENGTH].iloc[0]
            far = part.sort_values("length").iloc[-1]
            rows.append(
                {
                    "subject": self.labels[subject],
                    "variant": f"`{variant}`",
                    "parameters": si(here["parameters"]),
                    f"passes, n = {TASK_LENGTH}": here["passes"],
                    f"FLOPs, n = {TASK_LENGTH}": si(here["flops"]),
                    "FLOPs, longest n": f"{si(far['flops'])} (n = {far['length']})",
                    "peak memory": f"{si(here['peak_bytes'])}B",
                }
            )
        return pd.DataFrame(rows)

    def limits(self) -> pd.DataFrame:
        """At the task's length, and for autoregressive variants what a symbol costs besides."""
        rows = []
        for (subject, variant), part in self.results.limits.groupby(["subject", "variant"], sort=False):
            here = part[part["length"] == TASK_LENGTH].iloc[0]
            short, long = part.iloc[part["length"].argmin()], part.iloc[part["length"].argmax()]
            symbols = max(long["length"] - short["length"], 1)
            a_symbol = {
                name: (long[f"{name}_ms"] - short[f"{name}_ms"]) / symbols for name in ("compute", "memory", "measured")
            }
            bound = max(a_symbol["compute"], a_symbol["memory"])
            rows.append(
                {
                    "subject": self.labels[subject],
                    "variant": f"`{variant}`",
                    "FLOPs": si(here["flops"]),
                    "bytes": f"{si(here['bytes'])}B",
                    "bound, ms": f"{here['bound_ms']:.3g} "
                    f"({'matrix rate' if here['compute_ms'] > here['memory_ms'] else 'memory'})",
                    "measured, ms": milliseconds(here["measured_ms"]),
                    "share of the limit": f"{here['share']:.1%}",
                    "bound / measured, ms a symbol": f"{bound:.3g} / {milliseconds(a_symbol['measured'])}"
                    if variant.startswith("ar")
                    else "",
                }
            )
        return pd.DataFrame(rows)

    def runtimes(self) -> pd.DataFrame:
        """One row a subject and runtime: speed of each head, its cost over the encoder, and the slope a symbol."""
        r, rows = self.results, []
        speed = r.runtime_speed.set_index(["subject", "runtime", "variant", "batch"])
        overhead = r.runtime_overhead.set_index(["subject", "runtime", "variant"])
        for slope in r.runtime_slopes[r.runtime_slopes["variant"] == "ar"].to_dict("records"):
            key = (slope["subject"], slope["runtime"])
            row = {
                "subject": self.labels[slope["subject"]],
                "runtime": slope["runtime"],
                "encoder, ms": milliseconds(speed.loc[(*key, "encoder", 1), "ms"]),
            }
            for head in ONE_PASS:
                row[f"`{head}` / encoder"] = ratio(overhead.loc[(*key, head)])
            row["`ar`, ms a symbol"] = interval(slope)
            row["over eager `ar-generate`"] = ratio(slope)
            rows.append(row)
        return pd.DataFrame(rows)

    def runtime_speed(self) -> pd.DataFrame:
        """One row a subject, runtime, head and batch size: strings a second, and over eager."""
        table = self.results.runtime_speed
        rows = [
            {
                "subject": self.labels[row["subject"]],
                "runtime": row["runtime"],
                "head": f"`{row['variant']}`",
                "batch": row["batch"],
                "strings/s": f"{row['batch'] / row['ms'] * 1e3:,.0f}",
                "× eager": ratio(row),
            }
            for row in table[table["variant"].isin(HEADS)].to_dict("records")
        ]
        return pd.DataFrame(rows)

    def runtime_agreement(self) -> pd.DataFrame:
        rows = [
            {
                "runtime": row["runtime"],
                "head": f"`{row['head']}`",
                "strings": f"{row['strings']:,}",
                "read otherwise than eager": f"{row['disagreements']}: {proportion(row, 'rate')}",
                "exact match": percent(row["exact"]),
                "change, points": points(row),
            }
            for row in self.results.runtime_agreement.to_dict("records")
            if row["runtime"] != "eager"
        ]
        return pd.DataFrame(rows)

    def depth(self) -> pd.DataFrame:
        rows = [
            {
                "decoder layers": row["layers"],
                "exact match": proportion(row, "exact") if row["strings"] > 0 else "not trained",
                "ms a symbol": interval(row),
                f"decoding {TASK_LENGTH} symbols, ms": f"{milliseconds(row['decode_ms'])} "
                f"({milliseconds(row['decode_low'])} to {milliseconds(row['decode_high'])})",
            }
            for row in self.results.depth.to_dict("records")
        ]
        return pd.DataFrame(rows)

    def peers(self) -> pd.DataFrame:
        rows = [
            {
                "reader": row["peer"],
                "exact match": proportion(row, "exact") if row["trained"] else "no weights here",
                "CER": percent(row["cer"]) if row["trained"] else "",
                "ms a line, batch 1": f"{milliseconds(row['ms'])} "
                f"({milliseconds(row['ms_low'])} to {milliseconds(row['ms_high'])})",
                f"lines/s, batch {row['batch']}": f"{row['rate']:,.0f} "
                f"({row['rate_low']:,.0f} to {row['rate_high']:,.0f})",
                "what": row["about"],
            }
            for row in self.results.peers.to_dict("records")
        ]
        return pd.DataFrame(rows)

    def load(self) -> pd.DataFrame:
        """One row a subject, runtime and head; what LoadGen did not call VALID is marked."""
        table, rows = self.results.load, []
        for (subject, runtime, head), part in table.groupby(["subject", "runtime", "head"], sort=False):
            by = {row["scenario"]: row for row in part.to_dict("records")}

            def shown(scenario: str, text: str, by: dict = by) -> str:
                return text.format(**by[scenario]) + ("" if by[scenario]["valid"] else " (not valid)")

            rows.append(
                {
                    "subject": self.labels[subject],
                    "runtime": runtime,
                    "head": f"`{head}`",
                    "SingleStream, p90 ms": shown("SingleStream", "{value:.2f}"),
                    "Offline, lines/s": shown("Offline", "{value:,.0f}"),
                    "Server, lines/s": shown("Server", "{rate:,.0f}"),
                    "Server, p99 ms": f"{by['Server']['p99_ms']:.1f}",
                }
            )
        return pd.DataFrame(rows)
