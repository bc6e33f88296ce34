"""How much the first screen moves when a preset is measured again and again (`python -m bench repeat`)."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.core.sealed import REMEDY, read_sealed, write_sealed
from seqocr.errors import InputError
from seqocr.files import file_sum

TABLE, ABOUT = "repeat.csv", "repeat.json"
FIRST_SCREEN = "repeat-family"  # folder of those of the first screen's times


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
    missing = [results / name for name in (TABLE, ABOUT) if not (results / name).exists()]
    if len(missing) == 2:
        return None
    if missing:
        raise InputError(f"{missing[0]} is missing: {REMEDY}")
    about, _ = read_sealed(results / ABOUT)
    if about.get("sums", {TABLE: None})[TABLE] not in (None, file_sum(results / TABLE)):
        raise InputError(f"{results / TABLE} is not as it was written: {REMEDY}")
    try:
        found = Summary(pd.read_csv(results / TABLE), about)
        found.claims()
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{results / TABLE} cannot be read ({error}): {REMEDY}") from error
    return found


def seal(results: Path) -> None:
    """Add the checksums that an earlier version did not write."""
    if (found := summary(results)) is not None:
        write_sealed(results / ABOUT, {**found.about, "sums": {TABLE: file_sum(results / TABLE)}})
