"""The numbers of the first screen, computed again from the raw rows, by nothing but pandas: no code of the bench."""

from __future__ import annotations

import json
import re
from itertools import combinations_with_replacement
from math import sqrt
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import binomtest

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


@pytest.fixture(scope="module")
def encoder(table: pd.DataFrame) -> str:
    """Of the table's times."""
    (column,) = [name for name in table if name.endswith(", ms")]
    return str(column).removesuffix(", ms")


@pytest.fixture(scope="module")
def family() -> pd.DataFrame:
    """Which strings each strategy read right (columns): one row per encoder, set, seed and string."""
    read = rows("family", STUDY)
    strategies = json.loads((STUDY / "family.json").read_text())["depends"]["strategies"]
    said = read["prediction"].str.split(" ", expand=True).set_axis(strategies, axis=1)
    right = said.eq("=") | said.eq(read["text"], axis=0)
    right["ar-generate"] = right["ar-speculative"] = right["ar"]  # they predict the same
    return pd.concat([read[["encoder", "set", "seed"]], right], axis=1)


def test_exact_match_of_the_weights_that_were_timed(table: pd.DataFrame, encoder: str, family: pd.DataFrame) -> None:
    read = family[(family["encoder"] == encoder) & (family["set"] == "wild")]
    assert read["seed"].nunique() == 1
    for strategy, cell in table["`wild`, any length"].items():
        right = read[str(strategy).strip("`")]
        assert numbers(cell) == pytest.approx(wilson(int(right.sum()), len(right)), abs=0.051), strategy


def test_exact_match_of_real_lines_and_its_interval(table: pd.DataFrame) -> None:
    read = rows("real")
    read = read[read["phase"] == "fine-tuned"]
    right = (read["text"] == read["prediction"]).groupby(read["reader"]).agg(["sum", "size"])
    for head in ("ar", "parallel", "ctc"):
        expected = wilson(*(int(count) for count in right.loc[head]))
        assert numbers(table.loc[f"`{head}`", "real lines, adapted"]) == pytest.approx(expected, abs=0.051), head


def test_times_and_how_many_times_as_long_as_one_pass(screen: str, table: pd.DataFrame, encoder: str) -> None:
    """The page has estimates over restarts that leave disturbed samples out; plain medians are within some percent."""
    seconds = timed(encoder)
    restarts = seconds.index.get_level_values("restart").nunique()
    assert restarts >= 8
    assert f"over {restarts} restarts" in screen
    (one_pass,) = [strategy.strip("`") for strategy in table.index if table.loc[strategy, "over one pass"] == "1"]
    for strategy in table.index:
        name = strategy.strip("`")
        ms = seconds[name].groupby("restart").median() * 1e3
        middle = pd.Series([(a + b) / 2 for a, b in combinations_with_replacement(ms, 2)]).median()  # Hodges, Lehmann
        assert middle == pytest.approx(numbers(table.loc[strategy, f"{encoder}, ms"])[0], rel=0.07), strategy
        over = (seconds[name] / seconds[one_pass]).groupby("restart").median()
        said, *interval = numbers(table.loc[strategy, "over one pass"])
        assert over.median() == pytest.approx(said, rel=0.03), strategy
        if interval:
            assert over.between(interval[0] * 0.95, interval[1] * 1.05).mean() >= 0.75, strategy
    (said_of_one_layer,) = re.findall(r"With a decoder of one layer, `ar` takes (\S+) \(", screen)
    assert float(said_of_one_layer) == numbers(table.loc["`ar-1layer`", "over one pass"])[0]


def timed(encoder: str) -> pd.DataFrame:
    """Seconds of batch 1: one row per restart and round, one column per strategy."""
    found = rows("family-times", STUDY)
    found = found[(found["batch"] == 1) & (found["encoder"] == encoder) & ~found["warmup"] & found["counts"]]
    return found.pivot_table(index=["restart", "round"], columns="strategy", values="seconds")


def test_what_matters_more_than_the_head(screen: str, encoder: str, family: pd.DataFrame) -> None:
    pattern = r"From (\S+) to (\S+), heads gain (\S+) to (\S+) points at `wild`"
    ((small, large, *points),) = re.findall(pattern, screen)
    wild = family[family["set"] == "wild"].drop(columns="set")
    by_seed = wild.groupby(["encoder", "seed"]).mean() * 100
    exact = by_seed.groupby("encoder").mean()[["ar", "ar-1layer", "parallel", "ctc"]]
    gained = exact.loc[large] - exact.loc[small]
    assert [float(number) for number in points] == pytest.approx([gained.min(), gained.max()], abs=0.051)
    pattern = r"On random digits, `ar` of small encoders leads one pass by (\S+) to (\S+) points at `wild` "
    pattern += r"learning together, by (\S+) to (\S+) alone"
    (leads,) = re.findall(pattern, (ROOT / "results" / "report.md").read_text(encoding="utf-8"))
    short = exact.loc[[small, large]]
    together = pd.concat([short["ar"] - short[other] for other in ("parallel", "ctc")])
    alone = {head: by_seed.loc[f"{small}-{head}", head].mean() for head in ("ar", "parallel", "ctc")}
    apart = pd.Series([alone["ar"] - alone[other] for other in ("parallel", "ctc")])
    expected = [found for leads in (together, apart) for found in (leads.min(), leads.max())]
    assert [float(number) for number in leads] == pytest.approx(expected, abs=0.051)

    pattern = r"Graphs in int8 are (\S+) to (\S+) times as fast as PyTorch, and lose at most (\S+) points"
    (said,) = re.findall(pattern, screen)
    seconds, heads = timed(encoder), ["ar", "parallel", "ctc"]
    faster = [(seconds[h] / seconds[f"{h}, int8"]).groupby("restart").median().median() for h in heads]
    trainings = json.loads((STUDY / "family.json").read_text())["trainings"]
    graphs = trainings[f"{encoder}-seed0"]["graphs_exact"]["wild"]
    lost = [by_seed.loc[(encoder, 0), h] - 100 * graphs[h] / graphs["strings"] for h in heads]
    assert [float(number) for number in said[:2]] == pytest.approx([min(faster), max(faster)], rel=0.05, abs=0.051)
    assert float(said[2]) == pytest.approx(max(lost), abs=0.051)

    read = rows("real")
    right = (read["text"] == read["prediction"]).groupby([read["phase"], read["reader"]]).mean() * 100
    gained = right["fine-tuned"] - right["zero-shot"]
    (said,) = re.findall(r"Adapting to real lines gains (\S+) to (\S+) points", screen)
    assert [float(number) for number in said] == pytest.approx([gained.min(), gained.max()], abs=0.051)


def test_damaged_strings_from_a_short_list() -> None:
    report = (ROOT / "results" / "report.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"\| from a short list, damaged \| \S+ % \| (\S+) % \| (\S+) % \|", report)
    read = rows("readings", STUDY)
    lists, seeds = ["lexicon-20", "lexicon-100"], range(5)
    main = [f"{labels}-seed{seed}" for labels in lists for seed in seeds]
    read = read[read["training"].isin(main) & (read["read"] == read["law"]) & (read["damage"] != "clean")]
    exact = read.groupby("way")["exact"].mean() * 100
    assert [exact["ar"], exact["parallel + form"]] == pytest.approx([float(number) for number in said], abs=0.051)


def test_what_the_lead_is_made_of(screen: str) -> None:
    """Means over seeds of heads trained alone, and of what they read under a form counted from the training strings."""
    read = rows("curves", STUDY)
    pattern = r"on `(\S+)` \(([^)]+)\) it leads `parallel` by \+(\S+) .*?points after 1,000 training steps, "
    pattern += r"\+(\S+) after ([\d,]+); an ideal one-pass reader loses (\S+)\. "
    ((labels, damage, early, late, steps, gain),) = re.findall(pattern, screen)
    cell = read[(read["labels"] == labels) & (read["damage"] == damage)]
    last = int(steps.replace(",", ""))

    def exact(strategy: str, heads: str, steps: int) -> float:
        chosen = cell[(cell["strategy"] == strategy) & (cell["heads"] == heads) & (cell["steps"] == steps)]
        return float(chosen["exact"].mean() * 100)

    leads = [exact("ar", "ar", steps) - exact("parallel", "parallel", steps) for steps in (1000, last)]
    assert leads == pytest.approx([float(early), float(late)], abs=0.0051)
    oracles = [exact(f"oracle {reader}", "oracles", 0) for reader in ("joint", "marginal")]
    assert oracles[0] - oracles[1] == pytest.approx(float(gain), abs=0.051)
    (forms,) = re.findall(
        r"Under a form counted from the training texts, `parallel` reads (\S+) %, `ar` (\S+) %", screen
    )
    counted = [exact(f"{head} + counted form", head, last) for head in ("parallel", "ar")]
    assert counted == pytest.approx([float(number) for number in forms], abs=0.051)


def test_differences_that_the_first_point_names(screen: str, family: pd.DataFrame) -> None:
    """Each is of more strings than chance gives: the sign test, times the number of comparisons (Bonferroni)."""
    named = re.findall(r"`ar` reads (more|less) than `(\w+)`: `(\w+)`, `(\w+)`, (\S+) \(", screen)
    shipped = family[family["encoder"].isin(["strings", "numbers"])]
    found = []
    for (encoder, level), read in shipped.groupby(["encoder", "set"]):
        for other in ("parallel", "ctc") if level in ("grid", "jitter", "wild") else ():
            better, worse = (read["ar"] & ~read[other]).sum(), (read[other] & ~read["ar"]).sum()
            if 12 * binomtest(int(better), int(better + worse)).pvalue < 0.05:
                gap = 100 * (better - worse) / len(read)
                found.append(("more" if gap > 0 else "less", other, str(level), str(encoder), f"{gap:+.2f}"))
    assert sorted(named) == sorted(found)
