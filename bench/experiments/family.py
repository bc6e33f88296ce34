"""Timed and trained: what heads read and take on encoders of several sizes, of the same weights (`make family`)."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.core import plotting, strategies
from bench.core.experiment import DETAILS, LONGEST_TABLE, Claim, Reported, Section
from bench.core.formatting import digits, percent, share
from bench.core.store import IDENTITY, Store
from bench.core.templating import prose
from bench.study import study_of
from bench.study.crnn import NAME as CRNN
from bench.study.estimates import AR
from bench.study.family import TABLE, TIMES
from bench.study.family_estimates import READS_AS, FamilyResults
from bench.study.family_session import INT8
from seqocr.statistics import Value

LEVEL = "wild"  # of the picture and the table
_SHOWN = ("ar-generate", "ar", "ar-1layer", "ar-speculative", "parallel", "ctc", "parseq", "parseq-once")
_COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00")  # of encoders, in their order


class Family(Reported):
    name = "family"
    page, order = DETAILS, 28

    def results(self, store: Store) -> FamilyResults | None:
        study = study_of(store)
        if study is None or not study.has(TABLE):
            return None
        times = study.read(TIMES) if study.has(TIMES) else pd.DataFrame(columns=["encoder", "batch", "strategy"])
        timed = study.facts(TIMES)
        return FamilyResults(
            study.read(TABLE),
            study.facts(TABLE),
            times,
            timed,
            crnn=study.read(CRNN) if study.has(CRNN) else pd.DataFrame(),
            elsewhere=any(_is_another(each["environment"], store) for each in timed.values() if "environment" in each),
        )

    def tables(self, results: FamilyResults) -> dict[str, pd.DataFrame]:
        found = {"family": results.table(), "family_claims": results.family}
        return found | ({"family_times": results.times_table()} if len(results.times) else {})

    def sections(self, results: FamilyResults, everything: Mapping[str, Any]) -> list[Section]:
        rows = []
        for name in _SHOWN:
            row = {"strategy": f"`{name}`"}
            for encoder in results.encoders:
                reads = READS_AS.get(name, name) in results.strategies(encoder)
                exact = results.exact(encoder, LEVEL, name).estimate if reads else None
                row[f"{encoder}: `{LEVEL}`"] = percent(exact) if exact is not None else ""
                if name in results.timed_strategies(encoder):
                    row[f"{encoder}, ms"] = digits(results.milliseconds(encoder, 1, name).estimate)
            rows.append(row)
        text = prose(
            "family",
            results=results,
            level=LEVEL,
            judged=results.family["verdict"].value_counts().to_dict(),
            compared=[*results.family["encoder"].unique()],
            claims=len(results.family),
            ended=len(results.facts["trainings"]),
        )
        details: dict[str, Any] = {"Every set": _sets(results), f"`{AR}` beside others": _claims_table(results)}
        return [Section("Timed and trained", text, None, pd.DataFrame(rows).fillna("").head(LONGEST_TABLE), details)]

    def claims(self, results: FamilyResults) -> list[Claim]:
        exact = Claim.of_family(f"{{encoder}}, `{{level}}`: `{AR}` beside `{{other}}`, trainings", results.family)
        return [*exact, *results.time_claims]


EXPERIMENT = Family()


def _is_another(machine: Mapping[str, Any], store: Store) -> bool:
    """Whether it is not the machine of a run."""
    own = store.facts("run")["environment"]
    return any(machine.get(name) != own.get(name) for name in IDENTITY)


def _sets(results: FamilyResults) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "encoder": encoder,
            "strings": name,
            **{
                f"`{strategy}`": share(results.exact(encoder, name, strategy))
                for strategy in results.strategies(encoder)
            },
        }
        for encoder in results.encoders
        for name in results.sets
    ).fillna("")


def _claims_table(results: FamilyResults) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "encoder": row["encoder"],
            "level": f"`{row['level']}`",
            "heads": f"`{AR}` minus `{row['other']}`",
            "points": f"{row['difference'] * 100:+.2f}",
            "seeds": row["seeds"],
            "verdict": row["verdict"],
        }
        for row in results.family.to_dict("records")
    )


def family_plot(results: FamilyResults) -> Figure:
    """Strings not read right against time, at batch 1 and against throughput at batch 64: a colour an encoder, a marker
    a head, hollow where PyTorch runs it, filled where int8 graphs do. Bars are over trainings and over restarts; the
    line is what nothing is better than."""
    figure, axes = plotting.panels(2, 5.4, 4.4)
    for axis, batch in zip(axes, (1, 64), strict=True):
        points = []
        for encoder, name, exact in _shown_points(results, batch):
            head, is_graph = name.split(",")[0], INT8 in name
            ms, error = results.milliseconds(encoder, batch, name), exact.map(lambda x: max(100 * (1 - x), 0.1))
            across = ms if batch == 1 else ms.map(lambda x: 1e3 / x)
            style = plotting.PlotStyle(_colour(results, encoder, head), _marker(head), "", head)
            plotting.point(axis, across, error, style, **({} if is_graph else {"mfc": "white"}))
            points.append((across.estimate, error.estimate))
        axis.set(xscale="log", yscale="log")
        front = _front(points, least=batch == 1)
        axis.plot(*zip(*front, strict=True), color="black", lw=2.2, zorder=1)
        axis.set_xlabel("image to text, ms a string (batch 1)" if batch == 1 else f"strings a second (batch {batch})")
        for which in ("x", "y"):
            plotting.plain_log_axis(axis, which)
    axes[0].set_ylabel(f"strings not read right, % ({LEVEL}, 1 to 10 digits)")
    figure.legend(handles=_handles(results), loc="outside lower center", ncols=5, frameon=False)
    return figure


def _shown_points(results: FamilyResults, batch: int) -> Iterator[tuple[str, str, Value]]:
    """Encoders and strategies that were timed at a batch size, with their exact match. CRNN, which was timed beside
    every encoder and belongs to none, comes with the last."""
    timed = [name for name in results.encoders if batch in results.batches(name)]
    for encoder in timed:
        for name in results.timed_strategies(encoder):
            head = name.split(",")[0]
            if head == CRNN:
                exact = results.crnn_exact(LEVEL) if encoder == timed[-1] else None
            else:
                exact = (results.int8_exact if INT8 in name else results.exact)(encoder, LEVEL, head)
            if exact is not None:
                yield encoder, name, exact


def _colour(results: FamilyResults, encoder: str, head: str) -> str:
    return "black" if head == CRNN else _COLOURS[results.encoders.index(encoder) % len(_COLOURS)]


def _front(points: list[tuple[float, float]], least: bool) -> list[tuple[float, float]]:
    """Points that no other is both faster and better than, the fastest first."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0] if least else -point[0], point[1])):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found


def _marker(head: str) -> str:
    if head in strategies.by_name():
        return plotting.style_of(head).marker
    return {"ar-1layer": "v", "parseq": "p", "parseq-once": "h", "parseq-refined": "*", CRNN: "x"}[head]


def _handles(results: FamilyResults) -> list[Line2D]:
    shown = [(encoder, name) for encoder, name, _ in _shown_points(results, 1)]
    grey: dict[str, Any] = {"color": "#555555", "ls": ""}
    heads = [
        Line2D([], [], marker=_marker(name), mfc="white", label=name, **grey)
        for name in dict.fromkeys(name for _, name in shown if INT8 not in name)
    ]
    encoders = [
        Line2D([], [], color=_colour(results, encoder, ""), marker="s", ls="", label=encoder)
        for encoder in dict.fromkeys(encoder for encoder, _ in shown)
    ]
    graph = Line2D([], [], marker="s", label=f"filled: {INT8} graph", **grey)
    return [*heads, *encoders, graph]
