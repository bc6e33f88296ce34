"""A finished run of the bench with made-up rows whose statistics are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from bench.core import strategies
from bench.core.store import Store
from bench.workloads.timed_models import LENGTHS, TINY

ENCODE = 5e-3
INTERCEPT = 1e-3
CONFIDENCE = 1e-4
SLOPES = {"ar-generate": 4e-3, "ar": 2e-3, "ar-nocache": 6e-3}  # seconds a symbol; of other strategies none


def timed_rows(rounds: int = 8, noise: float = 1e-5) -> pd.DataFrame:
    """What a part of `latency` saves if a symbol costs exactly `SLOPES` seconds and a pass `INTERCEPT`.

    The first round is a warm-up that would spoil every mean. In round 3 every sample is disturbed at first, takes ten
    times as long, and is made again.
    """
    draw, rows = np.random.default_rng(0), []
    for number in range(rounds + 1):
        for length in LENGTHS:
            for attempt in range(2 if number == 3 else 1):
                disturbed = number == 3 and attempt == 0
                slow = 10 if number == 0 or disturbed else 1
                facts = {"round": number, "warmup": number == 0, "sample": str(length), "attempt": attempt}
                facts |= {"counts": not disturbed, "others": 0.5 * disturbed, "stolen": 0.0, "core_seconds": 2.0}
                for strategy in strategies.timed():
                    decode = INTERCEPT + SLOPES.get(strategy, 0.0) * length
                    for phase, seconds in (("encode", ENCODE), ("decode", decode), ("confidence", CONFIDENCE)):
                        seconds = slow * seconds * (1 + float(draw.normal(0, noise / INTERCEPT)))
                        of = {"length": length, "repeat": 0, "strategy": strategy, "phase": phase, "passes": 1}
                        rows.append({**facts, **of, "seconds": seconds, "cpu": seconds, "switches": 0})
    return pd.DataFrame(rows)


def predictions(strings: int = 40) -> pd.DataFrame:
    """Every strategy reads alike, but for one string that `ctc` shortens."""
    rows = []
    for index in range(strings):
        for strategy in strategies.read():
            text = f"{index:05}"
            rows.append((index, strategy, text, "0000" if strategy == "ctc" and index == 3 else text, 0.9))
    return pd.DataFrame(rows, columns=["index", "head", "text", "prediction", "confidence"])


def finished_run(folder: Path) -> Store:
    store = Store(folder / "raw" / "default-12345678")
    machine = {"cpu": "a cpu", "threads": 2, "vector_instructions": "AVX2", "gpu": None, "torch": "2"}
    facts = {"preset": "default", "weights": "shipped", "real": None, "environment": machine}
    times = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:10:00+00:00"}
    store.write_facts("run", {**facts, **times})
    cost = {"parameters": 1000, "flops": 2000, "bytes": 4000, "peak_bytes": 3000}
    counted = [
        {"subject": TINY.name, "strategy": name, "length": n, "passes": _passes(name, n), **cost}
        for name in ("encoder", *strategies.timed())
        for n in (1, 5, 50)
    ]
    tables = {
        "accuracy": predictions(),
        f"latency-{TINY.name}": timed_rows(),
        f"costs-{TINY.name}": pd.DataFrame(counted),
        "costs-rates": pd.DataFrame({"flops_per_second": [1e9, 2e9], "bytes_per_second": [5e5, 1e6]}),
    }
    for name, table in tables.items():
        store.write(name, table)
        store.write_facts(name, {"depends": {}, "commit": "abc", "finished": "2026-01-01T00:05:00+00:00"})
    Image.fromarray(np.zeros((3 * 28, 140), dtype=np.uint8)).save(store.file("accuracy", ".samples.png"))
    about = {"source": "made up", "split": "validation", "strings": 40, "samples": [0, 1, 3]}
    store.add_facts("accuracy", about={**about, "charset": "0123456789", "provenance": {"step": 7}})
    return store


def _passes(name: str, length: int) -> int:
    found = strategies.by_name()
    return 0 if name == "encoder" else 1 if found[name].is_one_pass or found[name].is_speculative else length + 1
