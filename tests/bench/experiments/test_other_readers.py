"""Other readers in the harness: what is declared, read and timed, and results on rows whose answer is known."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import bench.peers
from bench import backends, peers
from bench.core import plugins, strategies
from bench.core.experiment import LONGEST_TABLE, Bench, Part
from bench.core.formatting import not_run
from bench.core.store import Store
from bench.experiments import other_readers
from bench.peers import tesseract
from bench.peers.base import Peer, PeerSpec
from bench.report.build import write_report
from bench.workloads import held_out
from seqocr.inference.shipped import SHIPPED
from seqocr.models.checkpoint import load_recognizer, save
from tests.conftest import barred, lively, small_recognizer
from tests.measured import measured
from tests.synthetic import finished_run

EXPERIMENT = other_readers.EXPERIMENT
STRINGS, BATCH = 40, 16
LOADED: list[tuple[str, bool]] = []


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save(lively(small_recognizer(("parallel",), max_length=5), scale=0.4), tmp_path / "weights")  # type: ignore[arg-type]
    return tmp_path / "weights"


def read_bars(lines: torch.Tensor) -> list[str]:
    """All but the last line of a batch: the first row of each bar says which digit it is, see `barred`."""
    first = lines.unflatten(2, (-1, 28)).amax(dim=3).argmax(dim=1)
    texts = ["".join(str((row - 2) // 2) for row in line) for line in first.tolist()]
    return [*texts[:-1], "?"]


def declared(name: str, read: Any, **more: Any) -> PeerSpec:
    def load(recognizer: Any, folder: Path, inverted: bool) -> Peer:
        LOADED.append((name, inverted))
        return Peer(read, f"version of {name}")

    return PeerSpec(name, load, **more)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path) -> Bench:
    """One that reads, one without weights, one that is not installed, a head that the weights hold and one not."""
    digits = barred(400, split="test")
    monkeypatch.setattr(held_out, "held_out_digits", lambda: digits)
    own = {peer.name: peer for peer in bench.peers.heads.PEERS if peer.name in ("ar", "parallel")}
    made = [
        *own.values(),
        declared("good", read_bars),
        declared("bare", lambda lines: ["x"] * len(lines), trained=False),
        declared("absent", None, missing=lambda: "it is not here"),
    ]
    for module in (peers, other_readers):
        monkeypatch.setattr(module, "peers", lambda: {peer.name: peer for peer in made})
    LOADED.clear()
    return Bench(Store(tmp_path / "raw" / "run"), task=weights)


def small(few: Bench) -> list[Part]:
    """The parts of the full preset, of fewer strings and rounds."""
    reading, timing = EXPERIMENT.parts("full", few)
    return [
        replace(reading, settings=replace(reading.settings, strings=STRINGS)),
        replace(timing, settings=replace(timing.settings, rounds=2, repeats=2, batch=BATCH)),
    ]


def test_only_the_full_preset_has_peers_and_readings_are_not_timed(few: Bench) -> None:
    assert EXPERIMENT.parts("default", few) == EXPERIMENT.parts("smoke", few) == []
    reading, timing = EXPERIMENT.parts("full", few)
    assert not EXPERIMENT.is_timed(reading)
    assert EXPERIMENT.is_timed(timing)
    assert "bare" in timing.settings.peers
    assert "bare" not in reading.settings.peers


def test_peers_read_the_accuracy_strings_and_are_timed_in_rounds(few: Bench) -> None:
    for part in small(few):
        measured(EXPERIMENT, part, few)
    assert all(inverted for _, inverted in LOADED)
    rows = few.store.read("peers-timing")
    calls = rows[rows["attempt"] == 0].groupby(["peer", "batch"]).size().to_dict()
    assert calls == {
        (name, batch): 3 * repeats for name in ("parallel", "good", "bare") for batch, repeats in ((1, 2), (BATCH, 1))
    }
    found = EXPERIMENT.results(few.store)
    assert found is not None
    assert found.not_run == {"absent": "it is not here"}
    by = {reader.name: reader for reader in found.readers}
    assert list(by) == ["parallel", "good", "bare"]
    assert (found.strings, found.batch) == (STRINGS, BATCH)
    assert (by["good"].exact.estimate, by["good"].cer) == (39 / 40, 5 / 200)
    assert by["good"].exact.low < 39 / 40 < by["good"].exact.high
    assert (by["parallel"].own, by["good"].own) == (True, False)
    assert (by["good"].trained, by["bare"].trained) == (True, False)
    assert all(reader.ms.n == 2 and reader.ms.low > 0 for reader in found.readers)


def test_a_killed_run_goes_on_with_the_next_peer(few: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    part, _ = small(few)
    read, seen = other_readers.predict_images, []

    def killed(call: Any, lines: Any, texts: Any, peer: str) -> pd.DataFrame:
        seen.append(peer)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return read(call, lines, texts, peer=peer)

    monkeypatch.setattr(other_readers, "predict_images", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(EXPERIMENT, part, few)
    measured(EXPERIMENT, part, few)
    assert seen == ["parallel", "good", "good"]
    assert few.store.read(part.name)["peer"].value_counts().to_dict() == {"parallel": STRINGS, "good": STRINGS}


def written(store: Store, names: dict[str, tuple[bool, bool]]) -> None:
    """A finished run: a line takes 2 ms, a batch 8 ms, and 2 in 40 strings are read wrong; in round 0, a warm-up, all
    takes ten times as long.

    Args:
        names: whether a peer is trained, and our own.
    """
    rows = [
        {
            **{"round": number, "warmup": number == 0, "sample": f"{name} {batch}", "attempt": 0, "counts": True},
            **{"others": 0.0, "stolen": 0.0, "core_seconds": 2.0, "peer": name, "batch": batch, "repeat": 0},
            "seconds": seconds * (10 if number == 0 else 1 + number / 100),
        }
        for number in range(8)
        for name in names
        for batch, seconds in ((1, 2e-3), (BATCH, 8e-3))
    ]
    read = [
        {"index": i, "peer": name, "text": "12345", "prediction": "12345" if i > 1 else "1234"}
        for name, (trained, _) in names.items()
        if trained
        for i in range(40)
    ]
    about = {name: {"about": f"about {name}", "trained": t, "own": own} for name, (t, own) in names.items()}
    for part, table in (("peers-timing", rows), ("peers-readings", read)):
        store.write(part, pd.DataFrame(table))
        store.write_facts(part, {"about": about, "not_run": {"Absent": "gone", "Far": "gone"}, "finished": "now"})


def test_times_are_of_a_line_and_rates_of_a_batch(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert EXPERIMENT.results(store) is None
    written(store, {"ours": (True, True), "theirs": (True, False), "bare": (False, False)})
    found = EXPERIMENT.results(store)
    assert found is not None
    reader = found.readers[1]
    assert reader.ms.estimate == pytest.approx(2 * 1.04)
    assert reader.rate.estimate == pytest.approx(BATCH / (8e-3 * 1.04))
    assert reader.rate.low < reader.rate.estimate < reader.rate.high
    table = EXPERIMENT.tables(found)["peers"].set_index("peer")
    assert table["trained"].tolist() == [True, True, False]
    assert table.loc["theirs", "exact"] == 38 / 40
    assert pd.isna(table.loc["bare", "exact"])


def test_a_peer_that_came_after_the_readings_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    written(store, {"ours": (True, True), "late": (True, False)})
    read = store.read("peers-readings")
    store.write("peers-readings", read[read["peer"] == "ours"])
    found = EXPERIMENT.results(store)
    assert found is not None
    assert [reader.name for reader in found.readers] == ["ours"]


def test_the_section_says_what_has_no_weights_and_what_was_not_run(tmp_path: Path) -> None:
    store = finished_run(tmp_path)
    assert "## Other readers" not in write_report(store, tmp_path).with_name("deployment.md").read_text()
    names = {"ours": (True, True), "theirs": (True, False), "bare": (False, False)}
    written(store, names | {f"more {i}": (True, False) for i in range(LONGEST_TABLE)})
    text = write_report(store, tmp_path).with_name("deployment.md").read_text()
    section = text.split("## Other readers")[1].split("\n## ")[0]
    assert "| `ours` | 95.0 %" in section
    assert "| theirs | 95.0 %" in section
    shown, folded = section.split("<details>", 1)
    assert "| bare |" not in shown
    assert "| bare | 2.08" in folded
    assert shown.count("\n| ") == 1 + LONGEST_TABLE
    assert "Of the other readers, theirs reads most: 95.0 %" in section
    assert "Not run: Absent and Far (gone)." in section
    listed = pd.read_csv(tmp_path / "tables" / "peers.csv").set_index("peer")
    assert listed.loc["theirs", "about"] == "about theirs"
    assert not listed.loc["bare", "trained"]


def test_what_was_not_run_is_grouped_by_reason() -> None:
    assert not_run({"a": "gone", "b": "far", "c": "gone"}) == "Not run: a and c (gone); b (far)."
    assert not_run({}) == ""


def test_every_peer_is_declared_our_own_heads_first() -> None:
    found = peers.peers()
    names = list(found)
    ours = [*strategies.deployed(), *(f"{head}, onnxruntime" for head in strategies.heads())]
    assert names[: len(ours)] == ours
    assert names[len(ours) : len(ours) + 2] == ["RapidOCR", "Tesseract"]
    assert names[-1] == "TrOCR-small"
    assert {name for name in names if not found[name].trained} == {
        *(f"docTR {arch}" for arch in ("parseq", "vitstr_small", "crnn_vgg16_bn", "crnn_mobilenet_v3_small")),
        "TrOCR-small",
    }
    assert all(found[name].strategy == name.split(",")[0] for name in ours)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    monkeypatch.setattr(tesseract.shutil, "which", lambda name: None)
    said = peers.unavailable(OTHERS)
    for name, package in {"RapidOCR": "rapidocr", "Tesseract": "tesseract", "docTR parseq": "doctr"}.items():
        assert package in said[name]
    assert peers.unavailable(["parallel", "TrOCR-small"]) == {}


MODULE = """
from bench.peers.base import PeerSpec, Peer

PEERS = [PeerSpec("Toy", lambda recognizer, folder, inverted: Peer(lambda lines: ["1"] * len(lines), "toy"), order=15)]
"""


def test_a_toy_peer_is_one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(MODULE)
    monkeypatch.setattr(peers, "__path__", [*peers.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    try:
        names = list(peers.peers())
        assert names.index("RapidOCR") < names.index("Toy") < names.index("Tesseract")
        parts = EXPERIMENT.parts("full", Bench(Store(tmp_path)))
        assert all("Toy" in part.settings.peers for part in parts)
    finally:
        sys.modules.pop("bench.peers.toy", None)


OTHERS = [name for name, peer in peers.peers().items() if not peer.strategy and name != "TrOCR-small"]


@pytest.mark.parametrize("name", ["ar", "parallel", "parallel, onnxruntime", *OTHERS])
def test_peers_read_lines(name: str, tmp_path: Path) -> None:
    """Those that are installed; TrOCR at its real size is for the bench."""
    peer = peers.peers()[name]
    if why := peer.missing():
        pytest.skip(why)
    lines: Any = torch.zeros(2, 28, 140, dtype=torch.uint8)
    lines[:, 4:24, 10:13] = 255
    recognizer = load_recognizer(SHIPPED)
    if peer.strategy:
        recognizer = recognizer.with_heads([peer.strategy])  # a graph takes seconds to export
    loaded = peer.load(recognizer, tmp_path, True)
    texts = loaded.read(lines)
    assert len(texts) == 2
    assert texts[0] == texts[1] == loaded.read(lines[:1])[0]
    assert loaded.about
    if peer.strategy:
        assert texts[0] == load_recognizer(SHIPPED).decode(lines, peer.strategy).texts[0]
        assert backends.EAGER in loaded.about or "onnxruntime" in loaded.about
