"""From saved rows to the numbers of the report. Nothing here measures.

The unit of replication is the round: calls within one are medians of their repeats, variants are compared by ratios
within one, and intervals are over rounds. All intervals are 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bench.plan import SUBJECTS, TASK_LENGTH, VARIANTS
from bench.store import Store
from seqocr import evaluation
from seqocr.errors import InputError


@dataclass(frozen=True)
class Results:
    """Every table of the report, made from one run's saved rows."""

    facts: dict
    predictions: pd.DataFrame
    accuracy: pd.DataFrame
    positions: pd.DataFrame
    confusion: pd.DataFrame
    comparisons: pd.DataFrame
    costs: pd.DataFrame
    latency: pd.DataFrame
    fits: pd.DataFrame
    flatness: pd.DataFrame
    speedups: pd.DataFrame
    overhead: pd.DataFrame
    throughput: pd.DataFrame
    stability: pd.DataFrame
    runtime_slopes: pd.DataFrame
    runtime_overhead: pd.DataFrame
    runtime_speed: pd.DataFrame
    runtime_agreement: pd.DataFrame
    load: pd.DataFrame
    peers: pd.DataFrame
    limits: pd.DataFrame
    depth: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        return {name: value for name, value in vars(self).items() if isinstance(value, pd.DataFrame)}


def analyse(store: Store) -> Results:
    """All tables from a run's saved measurements."""
    facts, predictions = store.facts(), store.read("predictions")
    if "accuracy" not in facts:
        raise InputError(f"{store.folder / 'run.json'} has no accuracy facts: delete {store.folder} and measure again")
    timed = _cells(store, "latency")
    batched = _cells(store, "throughput")
    rounds, through = per_round(timed), runtime_rounds(_cells(store, "runtimes"))
    return Results(
        facts=facts,
        predictions=predictions,
        accuracy=evaluation.summary(predictions),
        positions=evaluation.positions(predictions),
        confusion=evaluation.confusion(predictions, facts["accuracy"]["charset"]),
        comparisons=evaluation.comparisons(predictions),
        costs=store.read("costs"),
        latency=latency(rounds),
        fits=fits(rounds),
        flatness=flatness(rounds),
        speedups=speedups(rounds),
        overhead=overhead(timed),
        throughput=throughput(per_round(batched)) if len(batched) else pd.DataFrame(),
        stability=stability(timed),
        runtime_slopes=runtime_slopes(through),
        runtime_overhead=runtime_overhead(through),
        runtime_speed=runtime_speed(through),
        runtime_agreement=runtime_agreement(store),
        load=load(store),
        peers=peers(store),
        depth=depth(store),
        limits=limits(rounds, store.read("costs"), store.read("rates")),
    )


def _cells(store: Store, kind: str) -> pd.DataFrame:
    """All rows of a kind of cell, subjects and variants in the plan's order, which every table then keeps."""
    names = [f"{kind}-{subject}" for subject in SUBJECTS]
    order = {variant: i for i, variant in enumerate((*VARIANTS, "encoder"))}
    tables = [
        store.read(name).sort_values(["length", "batch", "variant"], key=lambda c: c.replace(order), kind="stable")
        for name in names
        if store.has(name)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def per_round(timed: pd.DataFrame) -> pd.DataFrame:
    """One row a (subject, length, batch, round, variant): encode, decode and total seconds, warm-up left out.

    The encoder alone is the variant "encoder", with nothing to decode.
    """
    kept = timed[~timed["warmup"] & timed["phase"].isin(["encode", "decode"])]
    keys = ["subject", "length", "batch", "round"]
    medians = kept.groupby([*keys, "variant", "phase"], sort=False)["seconds"].median().reset_index()
    encode = medians[medians["phase"] == "encode"].rename(columns={"seconds": "encode"})[[*keys, "encode"]]
    decode = medians[medians["phase"] == "decode"].rename(columns={"seconds": "decode"})[[*keys, "variant", "decode"]]
    alone = encode[keys].assign(variant="encoder", decode=0.0)
    joined = pd.concat([decode, alone]).merge(encode, on=keys)
    return joined.assign(total=joined["encode"] + joined["decode"])


def latency(rounds: pd.DataFrame) -> pd.DataFrame:
    """Mean milliseconds a string at batch 1 with t intervals over rounds, whole and by phase."""
    rows = []
    for (subject, variant, length), table in rounds.groupby(["subject", "variant", "length"], sort=False):
        row = {"subject": subject, "variant": variant, "length": length, "rounds": len(table)}
        for phase in ("total", "encode", "decode"):
            mean, low, high = mean_interval(table[phase].to_numpy() * 1e3)
            row |= {f"{phase}_ms": mean, f"{phase}_low": low, f"{phase}_high": high}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("length", kind="stable", ignore_index=True)


def fits(rounds: pd.DataFrame) -> pd.DataFrame:
    """Least squares of milliseconds = a + b·n for each variant, for decoding alone and for the whole.

    Each round visits every length once, so the mean of the rounds' slopes is the slope of all rows together, and its
    t interval over rounds allows for what the rows of a round have in common.
    """
    rows = []
    for (subject, variant), table in rounds.groupby(["subject", "variant"], sort=False):
        if table["length"].nunique() < 2:
            continue
        for phase in ("decode", "total"):
            if variant == "encoder" and phase == "decode":
                continue
            lines = lines_of_rounds(table, phase)
            (b, b_low, b_high), (a, a_low, a_high) = mean_interval(lines[:, 0]), mean_interval(lines[:, 1])
            residual = table[phase] * 1e3 - (a + b * table["length"])
            spread = ((table[phase] - table[phase].mean()) * 1e3).pow(2).sum()
            rows.append(
                {
                    "subject": subject,
                    "variant": variant,
                    "phase": phase,
                    "rounds": len(lines),
                    "a_ms": a,
                    "a_low": a_low,
                    "a_high": a_high,
                    "b_ms": b,
                    "b_low": b_low,
                    "b_high": b_high,
                    "r2": 1 - residual.pow(2).sum() / spread if spread else np.nan,
                }
            )
    return pd.DataFrame(rows)


def lines_of_rounds(table: pd.DataFrame, seconds: str) -> np.ndarray:
    """(rounds, 2): b and a of milliseconds = a + b·n in each round, by least squares."""
    return np.array([np.polyfit(part["length"], part[seconds] * 1e3, 1) for _, part in table.groupby("round")])


def flatness(rounds: pd.DataFrame) -> pd.DataFrame:
    """Decode time of each variant at its longest string over that at its shortest, paired by round."""
    rows = []
    for (subject, variant), table in rounds[rounds["variant"] != "encoder"].groupby(["subject", "variant"], sort=False):
        wide = table.pivot(index="round", columns="length", values="decode")
        short, long = min(wide.columns), max(wide.columns)
        ratio, low, high = ratio_interval(wide[long].to_numpy(), wide[short].to_numpy())
        rows.append((subject, variant, short, long, len(wide), ratio, low, high))
    return pd.DataFrame(rows, columns=["subject", "variant", "short", "long", "rounds", "ratio", "low", "high"])


def speedups(rounds: pd.DataFrame) -> pd.DataFrame:
    """How many times faster each variant is than `ar-generate` and than `ar`, image to text, paired by round."""
    rows = []
    for (subject, length), table in rounds.groupby(["subject", "length"], sort=False):
        wide = table.pivot(index="round", columns="variant", values="total")
        for over in ("ar-generate", "ar"):
            for variant in wide.columns.difference([over], sort=False):
                ratio, low, high = ratio_interval(wide[over].to_numpy(), wide[variant].to_numpy())
                rows.append((subject, length, variant, over, len(wide), ratio, low, high))
    return pd.DataFrame(rows, columns=["subject", "length", "variant", "over", "rounds", "ratio", "low", "high"])


def overhead(timed: pd.DataFrame) -> pd.DataFrame:
    """Pixels to text in one go over the encoder alone in the same round, at `TASK_LENGTH` digits and batch 1."""
    whole = timed[~timed["warmup"] & (timed["phase"] == "whole")]
    medians = whole.groupby(["subject", "variant", "round"], sort=False)["seconds"].median().reset_index()
    rows = []
    for subject, table in medians.groupby("subject", sort=False):
        wide = table.pivot(index="round", columns="variant", values="seconds")
        for variant in wide.columns.drop("encoder"):
            ratio, low, high = ratio_interval(wide[variant].to_numpy(), wide["encoder"].to_numpy())
            milliseconds = float(wide[variant].mean() * 1e3)
            rows.append((subject, variant, TASK_LENGTH, len(wide), milliseconds, ratio, low, high))
    return pd.DataFrame(rows, columns=["subject", "variant", "length", "rounds", "whole_ms", "ratio", "low", "high"])


def throughput(rounds: pd.DataFrame) -> pd.DataFrame:
    """Strings a second against batch size: geometric mean over rounds with a t interval of the logarithm."""
    rows = []
    for (subject, variant, batch), table in rounds.groupby(["subject", "variant", "batch"], sort=False):
        rate, low, high = ratio_interval(np.full(len(table), float(batch)), table["total"].to_numpy())
        rows.append((subject, variant, batch, len(table), rate, low, high))
    columns = ["subject", "variant", "batch", "rounds", "strings_per_second", "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values("batch", kind="stable", ignore_index=True)


def stability(timed: pd.DataFrame) -> pd.DataFrame:
    """Coefficient of variation over rounds of each subject's encoder, and the highest system load seen."""
    encode = timed[~timed["warmup"] & (timed["phase"] == "encode")]
    rows = []
    for subject, table in encode.groupby("subject", sort=False):
        # Centred by length: a growing image takes longer for longer strings, which is no instability.
        relative = table["seconds"] / table.groupby("length")["seconds"].transform("mean")
        rows.append((subject, len(table), float(relative.std()), float(table["load"].max())))
    return pd.DataFrame(rows, columns=["subject", "calls", "variation", "highest_load"])


def runtime_rounds(timed: pd.DataFrame) -> pd.DataFrame:
    """Median seconds of a (subject, runtime, variant, length, batch, round), warm-up left out."""
    keys = ["subject", "runtime", "variant", "length", "batch", "round"]
    if timed.empty:
        return pd.DataFrame(columns=[*keys, "seconds"])
    return timed[~timed["warmup"]].groupby(keys, sort=False)["seconds"].median().reset_index()


def runtime_slopes(rounds: pd.DataFrame) -> pd.DataFrame:
    """What a symbol costs the autoregressive head in each runtime, alone and over eager `ar-generate` by round."""
    rows = []
    written = rounds[rounds["variant"].isin(["ar", "ar-generate"]) & (rounds["batch"] == 1)]
    for subject, table in written.groupby("subject", sort=False):
        slopes = {
            key: lines_of_rounds(one, "seconds")[:, 0] for key, one in table.groupby(["runtime", "variant"], sort=False)
        }
        generate = slopes["eager", "ar-generate"]
        for (runtime, variant), slope in slopes.items():
            (b, b_low, b_high), (ratio, low, high) = mean_interval(slope), ratio_of_means(slope, generate)
            rows.append((subject, runtime, variant, len(slope), b, b_low, b_high, ratio, low, high))
    columns = ["subject", "runtime", "variant", "rounds", "b_ms", "b_low", "b_high", "ratio", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def runtime_overhead(rounds: pd.DataFrame) -> pd.DataFrame:
    """Pixels to text over the encoder alone, in the same runtime and round, `TASK_LENGTH` symbols, batch 1."""
    rows = []
    here = rounds[(rounds["length"] == TASK_LENGTH) & (rounds["batch"] == 1)]
    for (subject, runtime), table in here.groupby(["subject", "runtime"], sort=False):
        wide = table.pivot(index="round", columns="variant", values="seconds")
        for variant in wide.columns.drop("encoder"):
            rows.append((subject, runtime, variant, len(wide), *ratio_interval(wide[variant], wide["encoder"])))
    return pd.DataFrame(rows, columns=["subject", "runtime", "variant", "rounds", "ratio", "low", "high"])


def runtime_speed(rounds: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds a batch of `TASK_LENGTH` symbols in each runtime, and how many times faster than eager, by round."""
    rows = []
    here = rounds[rounds["length"] == TASK_LENGTH]
    for (subject, variant, batch), table in here.groupby(["subject", "variant", "batch"], sort=False):
        wide = table.pivot(index="round", columns="runtime", values="seconds")
        for runtime in wide.columns:
            mean, mean_low, mean_high = mean_interval(wide[runtime].to_numpy() * 1e3)
            faster = ratio_interval(wide["eager"], wide[runtime])
            rows.append((subject, runtime, variant, batch, len(wide), mean, mean_low, mean_high, *faster))
    columns = ["subject", "runtime", "variant", "batch", "rounds", "ms", "ms_low", "ms_high", "ratio", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def runtime_agreement(store: Store) -> pd.DataFrame:
    """How often each runtime reads a string otherwise than eager mode does, and what that does to exact match."""
    columns = ["runtime", "head", "strings", "disagreements", "rate", "rate_low", "rate_high"]
    columns += ["exact", "difference", "low", "high"]
    if not store.has("runtime-predictions"):
        return pd.DataFrame(columns=columns)
    wide = store.read("runtime-predictions").pivot(index="index", columns=["head", "runtime"], values="prediction")
    truth = store.read("runtime-predictions").drop_duplicates("index").set_index("index")["text"]
    rows = []
    for head, runtime in wide.columns:
        read, eager = wide[head, runtime], wide[head, "eager"]
        differ = int((read != eager).sum())
        change = (read == truth).to_numpy(float) - (eager == truth).to_numpy(float)
        rates = differ / len(wide), *evaluation.wilson(differ, len(wide))
        exact = float((read == truth).mean())
        rows.append((runtime, head, len(wide), differ, *rates, exact, change.mean(), *evaluation.mean_interval(change)))
    return pd.DataFrame(rows, columns=columns)


def load(store: Store) -> pd.DataFrame:
    """LoadGen's test that counts for each (subject, runtime, head, scenario)."""
    tables = [store.read(name) for subject in SUBJECTS if store.has(name := f"load-{subject}")]
    if not tables:
        return pd.DataFrame(columns=["subject", "runtime", "head", "scenario", "rate", "bound_ms", "valid", "value"])
    table = pd.concat(tables, ignore_index=True)
    return table[table["chosen"]].drop(columns="chosen").reset_index(drop=True)


def limits(rounds: pd.DataFrame, costs: pd.DataFrame, rates: pd.DataFrame) -> pd.DataFrame:
    """What the machine allows beside what was measured: the roofline model (Williams et al. 2009) at batch 1.

    The bound is the work of matrix products over the machine's best matrix rate, or the bytes they read and write over
    its best rate of reading memory, whichever takes longer. What stays in a cache is read faster than that.
    """
    best = rates.max()
    bounds = costs.assign(
        compute_ms=costs["flops"] / best["flops_per_second"] * 1e3,
        memory_ms=costs["bytes"] / best["bytes_per_second"] * 1e3,
    )
    bounds["bound_ms"] = bounds[["compute_ms", "memory_ms"]].max(axis=1)
    one = rounds[rounds["batch"] == 1]
    own = one["decode"].where(one["variant"] != "encoder", one["total"]) * 1e3
    measured = own.groupby([one["subject"], one["variant"], one["length"]]).mean().rename("measured_ms").reset_index()
    table = bounds.merge(measured, on=["subject", "variant", "length"]).drop(columns=["parameters", "peak_bytes"])
    return table.assign(share=table["bound_ms"] / table["measured_ms"])


def depth(store: Store) -> pd.DataFrame:
    """One row a number of decoder layers: what its head reads, what a symbol costs, and what the task's string does."""
    columns = ["layers", "strings", "exact", "exact_low", "exact_high", "rounds", "b_ms", "b_low", "b_high"]
    columns += ["decode_ms", "decode_low", "decode_high"]
    tables = [store.read(name) for subject in SUBJECTS if store.has(name := f"depth-{subject}")]
    if not tables:
        return pd.DataFrame(columns=columns)
    timed, read = pd.concat(tables, ignore_index=True), store.read("depth-predictions")
    medians = timed[~timed["warmup"]].groupby(["layers", "length", "round"])["seconds"].median().reset_index()
    rows = []
    for layers, table in medians.groupby("layers"):
        row: dict = {"layers": layers, "rounds": table["round"].nunique()}
        if len(texts := read[read["layers"] == layers]):
            row |= _exact(texts)
        row["b_ms"], row["b_low"], row["b_high"] = mean_interval(lines_of_rounds(table, "seconds")[:, 0])
        task = table[table["length"] == TASK_LENGTH]["seconds"].to_numpy() * 1e3
        row["decode_ms"], row["decode_low"], row["decode_high"] = mean_interval(task)
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def peers(store: Store) -> pd.DataFrame:
    """One row a peer: exact match and CER where its weights are trained, milliseconds a line, lines a second."""
    columns = ["peer", "trained", "about", "strings", "exact", "exact_low", "exact_high", "cer"]
    columns += ["rounds", "ms", "ms_low", "ms_high", "batch", "rate", "rate_low", "rate_high"]
    tables = [store.read(name) for subject in SUBJECTS if store.has(name := f"peers-{subject}")]
    if not tables:
        return pd.DataFrame(columns=columns)
    timed, read = pd.concat(tables, ignore_index=True), store.read("peer-predictions")
    medians = timed[~timed["warmup"]].groupby(["peer", "batch", "round"])["seconds"].median()
    largest, rows = timed["batch"].max(), []
    for name, facts in store.facts()["peers"].items():
        row: dict = {"peer": name, **facts, "batch": largest}
        if len(texts := read[read["peer"] == name]):
            row |= {**_exact(texts), "cer": evaluation.character_error_rate(texts)}
        one, many = medians[name, 1].to_numpy(), medians[name, largest].to_numpy()
        row["rounds"], (row["ms"], row["ms_low"], row["ms_high"]) = len(one), mean_interval(one * 1e3)
        row["rate"], row["rate_low"], row["rate_high"] = ratio_interval(np.full(len(many), float(largest)), many)
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def _exact(predictions: pd.DataFrame) -> dict[str, float]:
    """Strings, and how many of them were read exactly, with the Wilson interval."""
    right = int((predictions["prediction"] == predictions["text"]).sum())
    low, high = evaluation.wilson(right, len(predictions))
    return {"strings": len(predictions), "exact": right / len(predictions), "exact_low": low, "exact_high": high}


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95 % Student t interval; without width for a single value, which then says nothing of spread."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def ratio_interval(above: np.ndarray, below: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean of paired ratios and its 95 % interval (Student t on their logarithms)."""
    mean, low, high = mean_interval(np.log(above / below))
    return float(np.exp(mean)), float(np.exp(low)), float(np.exp(high))


def ratio_of_means(above: np.ndarray, below: np.ndarray) -> tuple[float, float, float]:
    """Mean of one over mean of another, paired, with Fieller's interval (Fieller 1954); without bounds if the lower
    mean may be zero. For slopes, of which noise may make one of a round's negative."""
    count, ratio = len(above), float(above.mean() / below.mean())
    if count < 2:
        return ratio, ratio, ratio
    (va, c), (_, vb) = np.cov(above, below) / count
    t = stats.t.ppf(0.975, count - 1)
    g = t**2 * vb / below.mean() ** 2
    if g >= 1:
        return ratio, np.nan, np.nan
    shift = g * c / vb if vb else 0.0
    inside = va - 2 * ratio * c + ratio**2 * vb - g * (va - c**2 / vb if vb else va)
    half = t / abs(below.mean()) * np.sqrt(max(inside, 0.0))
    return ratio, float((ratio - shift - half) / (1 - g)), float((ratio - shift + half) / (1 - g))
