"""How far can the confidence be trusted? Of the predictions of `levels` and `real`; nothing is measured here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.core.experiment import DETAILS, LONGEST_TABLE, Bench, Experiment, Part, Section
from bench.core.formatting import percent, share
from bench.core.store import Store
from bench.core.templating import prose
from bench.experiments import difficulty, real_lines
from bench.workloads.accuracy_tables import exact
from seqocr import metrics
from seqocr.statistics import Value

SURE = 0.9  # confidence from which a text is kept, where some are left to people


class Trust(Experiment):
    name = "trust"
    page, order = DETAILS, 45
    timed = False

    def parts(self, preset: str, bench: Bench) -> list[Part]:
        return []

    def results(self, store: Store) -> pd.DataFrame | None:
        """See `trust`; levels first, then real lines before and after they were learned from."""
        tables = []
        if strings := difficulty.EXPERIMENT.results(store):
            tables.append(strings.read.assign(lines="`" + strings.read["level"] + "`"))
        if lines := real_lines.EXPERIMENT.results(store):
            own = lines.lines[lines.lines["phase"].isin(difficulty.REAL_PHASES)].rename(columns={"reader": "head"})
            place = {phase: i for i, phase in enumerate(difficulty.REAL_PHASES)}
            own = own.sort_values("phase", key=lambda phase: phase.map(place), kind="stable")
            tables.append(own.assign(lines="real, " + own["phase"].map(difficulty.REAL_PHASES)))
        return trust(pd.concat(tables, ignore_index=True)) if tables else None

    def tables(self, results: pd.DataFrame) -> dict[str, pd.DataFrame]:
        return {"trust": results}

    def sections(self, results: pd.DataFrame, everything: Mapping[str, Any]) -> list[Section]:
        # Of each kind of lines, the head that reads it best: the others differ little, as the text says.
        rows = results.loc[results.groupby("lines", sort=False)["exact"].idxmax()].to_dict("records")
        shown = pd.DataFrame(
            {
                "lines": row["lines"],
                "head": f"`{row['head']}`",
                "right": percent(row["exact"]),
                "ECE": f"{row['ece']:.3f}",
                f"confidence ≥ {SURE}": percent(row["sure"]),
                "right of those": share(Value.of(row, "sure_exact")) if row["sure"] else "",
            }
            for row in rows
        )
        kept = sorted((row for row in rows if row["sure"]), key=lambda row: row["sure_exact"])
        range_of_ece = results.groupby("lines")["ece"].agg(lambda each: each.max() - each.min()).max()
        text = prose("trust", limit=SURE, kept=kept, within=range_of_ece)
        return [Section("Calibrated confidence", text, None, shown.head(LONGEST_TABLE))]


EXPERIMENT = Trust()


def trust(read: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind of `lines` and head: what is gained by keeping only the texts it is sure of.

    `sure` is the share of lines with a confidence of at least `SURE`, `sure_exact` their exact match, `exact` that of
    all. Predictions without a confidence are left out.
    """
    rows: list[dict[str, Any]] = []
    for (lines, head), table in read.dropna(subset="confidence").groupby(["lines", "head"], sort=False):
        right, confidences = (table["text"] == table["prediction"]).to_numpy(), table["confidence"].to_numpy()
        sure = confidences >= SURE
        row = {"lines": lines, "head": head, "strings": len(table), "exact": right.mean(), "sure": sure.mean()}
        row |= exact(table[sure]).columns("sure_exact")
        rows.append(row | {"ece": metrics.expected_calibration_error(confidences, np.asarray(right))})
    return pd.DataFrame(rows)
