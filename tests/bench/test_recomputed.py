"""The numbers of the first screen, computed again from the raw rows, by nothing but pandas: no code of the bench."""

from __future__ import annotations

import json
import re
from math import sqrt
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "results" / "study"
Z = 1.959964  # of 95 %


def published() -> Path:
    """The folder of the run that README shows."""
    runs = [path for path in (ROOT / "results" / "raw").glob("*/run.json") if json.loads(path.read_text())["finished"]]
    (full,) = [path.parent for path in runs if json.loads(path.read_text())["preset"] == "full"]
    return full


def rows(name: str, folder: Path | None = None) -> pd.DataFrame:
    texts = {"text": str, "prediction": str}
    path = (folder or published()) / f"{name}.csv.gz"
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={"seconds": [""], "passes": [""]})


@pytest.fixture(scope="module")
def screen() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text[text.index("<!-- numbers") : text.index("<!-- end of numbers")]


@pytest.fixture(scope="module")
def table(screen: str) -> pd.DataFrame:
    """Of the first screen, by strategy."""
    lines = [line.strip("| ").split(" | ") for line in screen.splitlines() if line.startswith("| ")]
    return pd.DataFrame(lines[1:], columns=lines[0]).set_index("strategy")


def numbers(cell: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", cell)]


def wilson(right: int, n: int) -> list[float]:
    """Percent: the share and its interval (Wilson 1927)."""
    p = right / n
    middle, half = p + Z * Z / (2 * n), Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return [100 * p, *(100 * (middle + sign * half) / (1 + Z * Z / n) for sign in (-1, 1))]


def test_exact_match_of_five_digits(table: pd.DataFrame) -> None:
    read = rows("accuracy")
    right = (read["text"] == read["prediction"]).groupby(read["head"]).mean() * 100
    right["ar-speculative"] = right.get("ar-verified", right.get("ar-speculative"))  # as it was called before
    depth = rows("depth-accuracy")
    depth = depth[depth["layers"] == depth["layers"].min()]
    right["ar-1layer"] = (depth["text"] == depth["prediction"]).mean() * 100
    for strategy, cell in table["exact match, 5 digits"].items():
        assert numbers(cell) == [pytest.approx(right[str(strategy).strip("`")], abs=0.051)], strategy


@pytest.mark.parametrize(
    ("column", "part", "phase"),
    [("`wild`, any length", "levels-wild", None), ("real lines, adapted", "real", "fine-tuned")],
)
def test_exact_match_and_its_interval(table: pd.DataFrame, column: str, part: str, phase: str | None) -> None:
    read = rows(part)
    read = read if phase is None else read[read["phase"] == phase]
    right = (
        (read["text"] == read["prediction"]).groupby(read["head" if phase is None else "reader"]).agg(["sum", "size"])
    )
    for head in ("ar", "parallel", "ctc"):
        expected = wilson(*(int(count) for count in right.loc[head]))
        assert numbers(table.loc[f"`{head}`", column]) == pytest.approx(expected, abs=0.051), head


def test_times_and_how_many_times_as_long_as_one_pass(screen: str, table: pd.DataFrame) -> None:
    """The page has estimates over restarts that leave disturbed samples out; plain medians are within some percent."""
    timed = rows("baselines-small-32x160")
    timed = timed[timed["batch"] == 1]
    assert f"over {timed['restart'].nunique()} restarts" in screen
    assert timed["restart"].nunique() >= 8
    seconds = timed.pivot_table(index=["restart", "round"], columns="strategy", values="seconds")
    (column,) = [name for name in table if name.endswith(", ms")]
    (one_pass,) = [strategy.strip("`") for strategy in table.index if table.loc[strategy, "over one pass"] == "1"]
    for strategy in table.index:
        name = strategy.strip("`")
        ms = seconds[name].groupby("restart").median() * 1e3
        assert ms.median() == pytest.approx(numbers(table.loc[strategy, column])[0], rel=0.07), strategy
        over = (seconds[name] / seconds[one_pass]).groupby("restart").median()
        said, *interval = numbers(table.loc[strategy, "over one pass"])
        assert over.median() == pytest.approx(said, rel=0.03), strategy
        if interval:
            assert over.between(interval[0] * 0.95, interval[1] * 1.05).mean() >= 0.75, strategy
    (said_of_one_layer,) = re.findall(r"With a decoder of one layer, `ar` takes (\S+) \(", screen)
    assert float(said_of_one_layer) == numbers(table.loc["`ar-1layer`", "over one pass"])[0]


def test_damaged_strings_from_a_short_list(screen: str) -> None:
    (said,) = re.findall(r"It reads (\S+) % of damaged strings from a short list, `ar` (\S+) %", screen)
    read = rows("readings", STUDY)
    lists, seeds = ["lexicon-20", "lexicon-100"], range(5)
    main = [f"{labels}-seed{seed}" for labels in lists for seed in seeds]
    read = read[read["training"].isin(main) & (read["read"] == read["law"]) & (read["damage"] != "clean")]
    exact = read.groupby("way")["exact"].mean() * 100
    assert [exact["parallel + form"], exact["ar"]] == pytest.approx([float(number) for number in said], abs=0.051)


def test_what_the_lead_is_made_of(screen: str) -> None:
    """Means over seeds of heads trained alone, and of what they read under a form counted from the training strings."""
    read = rows("curves", STUDY)
    pattern = r"of `(\S+)`, ([^,]+), it reads \+(\S+) .*?points more than `parallel` after 1,000 steps, "
    pattern += r"\+(\S+) .*?after ([\d,]+)\."
    ((labels, damage, early, late, steps),) = re.findall(pattern, screen)
    cell = read[(read["labels"] == labels) & (read["damage"] == damage)]
    last = int(steps.replace(",", ""))

    def exact(strategy: str, heads: str, steps: int) -> float:
        chosen = cell[(cell["strategy"] == strategy) & (cell["heads"] == heads) & (cell["steps"] == steps)]
        return float(chosen["exact"].mean() * 100)

    leads = [exact("ar", "ar", steps) - exact("parallel", "parallel", steps) for steps in (1000, last)]
    assert leads == pytest.approx([float(early), float(late)], abs=0.0051)
    oracles = [exact(f"oracle {reader}", "oracles", 0) for reader in ("joint", "marginal")]
    (gain,) = re.findall(r"Taking symbols as independent costs oracle readers (\S+) points there", screen)
    assert oracles[0] - oracles[1] == pytest.approx(float(gain), abs=0.051)
    (forms,) = re.findall(r"counted from the training strings, `parallel` reads (\S+) %, `ar` (\S+) %", screen)
    counted = [exact(f"{head} + counted form", head, last) for head in ("parallel", "ar")]
    assert counted == pytest.approx([float(number) for number in forms], abs=0.051)
