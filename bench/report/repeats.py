"""How much the first screen moves when a preset is measured again and again (`python -m bench repeat`)."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from seqocr.errors import InputError

TABLE, ABOUT = "repeat.csv", "repeat.json"


@dataclass(frozen=True)
class Summary:
    """Of a repeated preset.

    Attributes:
        rows: one a run and claim.
        about: preset, times, disturb, commit.
    """

    rows: pd.DataFrame
    about: dict

    def claims(self) -> pd.DataFrame:
        """One row per claim: usual verdict, how often it was another, median of its number, how far it moved."""
        found = []
        for claim, part in self.rows.groupby("claim", sort=False):
            usual, middle = part["verdict"].mode()[0], part["estimate"].median()
            found.append(
                {
                    "claim": claim,
                    "verdict": usual,
                    "flipped": int((part["verdict"] != usual).sum()),
                    "median": middle,
                    "moved": float((part["estimate"] / middle - 1).abs().max()) if part["ratio"].all() else None,
                }
            )
        return pd.DataFrame(found)

    @property
    def flipped(self) -> int:
        return int(self.claims()["flipped"].sum())

    @property
    def moved(self) -> float:
        return float(self.claims()["moved"].max())

    def table(self) -> pd.DataFrame:
        """The claims whose numbers moved most."""
        most = self.claims().dropna(subset="moved").sort_values(["flipped", "moved"], ascending=False, kind="stable")
        return pd.DataFrame(
            {
                "claim": row["claim"],
                "verdict": row["verdict"],
                "flipped": row["flipped"],
                "median": f"{row['median']:.2f}",
                "moved at most": f"{row['moved']:.1%}",
            }
            for row in most.head(8).to_dict("records")
        )


def summary(results: Path) -> Summary | None:
    """Of what `bench repeat` wrote there; None if it never ran.

    Raises:
        InputError: it is damaged.
    """
    if not (results / TABLE).exists() or not (results / ABOUT).exists():
        return None
    try:
        about = json.loads((results / ABOUT).read_text(encoding="utf-8"))
        found = Summary(pd.read_csv(results / TABLE), about)
        found.claims()
    except (ValueError, KeyError) as error:
        raise InputError(f"{results / TABLE} cannot be read ({error}): restore it, or delete it") from error
    return found
