"""Other readers and decoder depths in the harness: what is measured, and statistics on rows whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import barred, lively, small_recognizer
from test_bench import store as finished  # noqa: F401, a finished run

from bench import depth, peers, plots, rounds, statistics
from bench.plan import LENGTHS, TINY, Cell, Plan
from bench.report import write_report
from bench.store import Store
from seqocr.checkpoints import load_recognizer, save
from seqocr.data.sources import Digits
from seqocr.errors import InputError

CPU = torch.device("cpu")
PEER_BATCH = 16
PEERS = Cell("peers", TINY, (), rounds=2, repeats=2, batch=PEER_BATCH)
DEPTH = Cell("depth", TINY, (1, 2), rounds=2, steps=4)


class Silent:
    def advance(self, note: str = "", steps: int = 1) -> None: ...


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    recognizer = small_recognizer(max_length=5)
    save(lively(recognizer, scale=0.4), tmp_path / "weights")  # type: ignore[arg-type]
    return tmp_path / "weights"


@pytest.fixture
def two_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that reads all but the last line of a batch, one without weights, one that is not installed."""
    digits = barred(400, split="test")
    monkeypatch.setattr(rounds, "load_digits_or_validation", lambda split: digits)

    def read(lines: torch.Tensor) -> list[str]:
        """The first row of each bar says which digit it is, see `barred`."""
        first = lines.unflatten(2, (-1, 28)).amax(dim=3).argmax(dim=1)
        texts = ["".join(str((row - 2) // 2) for row in line) for line in first.tolist()]
        return [*texts[:-1], "?"]

    made = {
        "good": peers.Peer(read, True, "version 1"),
        "bare": peers.Peer(lambda lines: ["x"] * len(lines), False, "random weights"),
    }
    monkeypatch.setattr(peers, "names", lambda: [*made, "absent"])
    monkeypatch.setattr(peers, "missing", lambda name: "" if name in made else "not here")
    monkeypatch.setattr(peers, "load", lambda name, *_: made[name])


def test_peers_are_timed_and_read_the_accuracy_strings(
    tmp_path: Path, weights: Path, two_peers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "run")
    store.write_facts({})
    peers.measure_readings(Plan("smoke", 40, 2, (PEERS,)), store, weights)
    peers.measure_peers(PEERS, store, weights, Silent())  # type: ignore[arg-type]
    assert store.facts()["peers_not_run"] == {"absent": "not here"}
    timed = store.read(PEERS.name)
    assert timed.groupby(["peer", "batch"]).size().to_dict() == {
        ("good", 1): 6,
        ("good", PEER_BATCH): 3,
        ("bare", 1): 6,
        ("bare", PEER_BATCH): 3,
    }
    table = statistics.peers(store).set_index("peer")
    assert table.loc["good", "exact"] == pytest.approx(39 / 40)
    assert table.loc["good", "exact_low"] < 39 / 40 < table.loc["good", "exact_high"]
    assert table.loc["good", "cer"] == pytest.approx(5 / 200)
    assert pd.isna(table.loc["bare", "exact"])
    assert (table["rounds"] == 2).all()
    monkeypatch.setattr(peers, "clock", lambda *_: pytest.fail("measured again"))
    peers.measure_peers(PEERS, store, weights, Silent())  # type: ignore[arg-type]


def test_peers_times_are_of_a_line_and_rates_of_a_batch(tmp_path: Path) -> None:
    store, rows = Store(tmp_path), []
    for number in range(4):
        slow = 10 if number == 0 else 1 + number / 10
        for batch, seconds in ((1, 2e-3), (PEER_BATCH, 8e-3)):
            facts = {"subject": TINY.name, "round": number, "warmup": number == 0, "peer": "p", "batch": batch}
            rows.append({**facts, "repeat": 0, "seconds": seconds * slow})
    store.write(PEERS.name, pd.DataFrame(rows))
    store.write("peer-predictions", pd.DataFrame({"index": [0], "peer": "p", "text": "12345", "prediction": "12345"}))
    store.write_facts({"peers": {"p": {"about": "made up", "trained": True}}})
    row = statistics.peers(store).iloc[0]
    assert row["ms"] == pytest.approx(2 * 1.2)
    assert row["rate"] == pytest.approx(PEER_BATCH / 8e-3 / (1.1 * 1.2 * 1.3) ** (1 / 3))

    class Only:
        peers = statistics.peers(store)

    figure = plots.peers(Only())  # type: ignore[arg-type]
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["p"]


def test_every_peer_is_known_and_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    said = {name: peers.missing(name) for name in peers.names()}
    for name, package in {"RapidOCR": "rapidocr", "Tesseract": "tesseract", "docTR parseq": "doctr"}.items():
        assert package in said[name]
    assert said["parallel"] == said["TrOCR-small"] == ""


@pytest.mark.parametrize("name", ["ar", "parallel", *(n for n in peers.names() if n[0].isupper() or n[0] == "d")])
def test_peers_read_lines(name: str, tmp_path: Path) -> None:
    """Those that are installed; TrOCR at its real size is for the bench."""
    if (why := peers.missing(name)) or name == "TrOCR-small":
        pytest.skip(why or "large")
    lines: Any = torch.zeros(2, 28, 140, dtype=torch.uint8)
    lines[:, 4:24, 10:13] = 255
    peer = peers.load(name, load_recognizer(peers.SHIPPED), tmp_path)
    texts = peer.read(lines)
    assert len(texts) == 2
    assert texts[0] == texts[1] == peer.read(lines[:1])[0]


def test_heads_of_each_depth_are_trained_read_and_timed(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {split: barred(400, split=split) for split in ("train", "validation", "test")}
    monkeypatch.setattr(depth, "load_digits", made.__getitem__)
    monkeypatch.setattr(rounds, "load_digits_or_validation", made.__getitem__)
    before = (weights / "model.safetensors").read_bytes()
    store = Store(tmp_path / "run")
    depth.measure_accuracy(Plan("smoke", 20, 2, (DEPTH,)), DEPTH, store, weights)
    assert store.read("depth-predictions").groupby("layers")["index"].nunique().to_dict() == {1: 20, 2: 20}
    assert not list(store.folder.glob("depth-[0-9]*")), "weights are not measurements"
    assert (weights / "model.safetensors").read_bytes() == before
    depth.measure_depth(DEPTH, store, CPU, Silent())  # type: ignore[arg-type]
    timed = store.read(DEPTH.name)
    assert (timed["passes"] == timed["length"] + 1).all()
    assert timed.groupby("layers")["length"].nunique().to_dict() == {1: len(LENGTHS), 2: len(LENGTHS)}
    table = statistics.depth(store)
    assert table["layers"].tolist() == [1, 2]
    assert (table["strings"] == 20).all()
    assert (table["b_ms"] > 0).all()


def test_the_encoder_is_the_same_whatever_the_depth(weights: Path) -> None:
    recognizer = load_recognizer(weights)
    for layers in (1, 3):
        other = depth._with_layers(recognizer, layers, 5)
        assert other.encoder is recognizer.encoder
        assert len(other.heads["ar"].decoder.model.decoder.layers) == layers


def test_without_training_digits_depth_is_timed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(split: str) -> Digits:
        raise InputError("no digits")

    monkeypatch.setattr(depth, "load_digits", nothing)
    store = Store(tmp_path)
    store.write_facts({})
    depth.measure_accuracy(Plan("smoke", 20, 2, (DEPTH,)), DEPTH, store, None)
    depth.measure_depth(DEPTH, store, CPU, Silent())  # type: ignore[arg-type]
    table = statistics.depth(store)
    assert table["exact"].isna().all()
    assert (table["decode_ms"] > 0).all()
    assert "training digits" in store.facts()["depth_not_run"]


def test_the_report_shows_readers_and_depths_where_they_were_measured(finished: Store, tmp_path: Path) -> None:  # noqa: F811
    plain = write_report(finished, tmp_path).read_text()
    assert "Decoder depth" not in plain
    assert "Beside what people" not in plain
    readings = pd.DataFrame({"index": range(4), "text": "12345", "prediction": ["12345"] * 3 + ["1234"]})
    rounds_of = [{"subject": TINY.name, "round": n, "warmup": n == 0, "repeat": 0} for n in range(4)]
    finished.write("peer-predictions", readings.assign(peer="Reader"))
    timed = [
        {**r, "peer": p, "batch": b, "seconds": 0.01 * b}
        for r in rounds_of
        for p in ("Reader", "Bare")
        for b in (1, 16)
    ]
    finished.write(PEERS.name, pd.DataFrame(timed))
    finished.write("depth-predictions", readings.assign(layers=2))
    written = [
        {**r, "layers": 2, "length": n, "seconds": 0.001 * n, "passes": n + 1} for r in rounds_of for n in (1, 5)
    ]
    finished.write(DEPTH.name, pd.DataFrame(written))
    about = {"Reader": {"about": "version 7", "trained": True}, "Bare": {"about": "random", "trained": False}}
    finished.write_facts({**finished.facts(), "peers": about, "peers_not_run": {"Absent": "it is not installed"}})
    text = write_report(finished, tmp_path).read_text()
    assert "| Reader | 75.00 % (30.06 to 95.44)".replace(" to ", " % to ").replace("44)", "44 %)") in text
    assert "| Bare | no weights here |" in text
    assert "Absent was not run: it is not installed." in text
    assert "| 2 | 75.00 %" in text
    assert "1 (1 to 1)" in text  # ms a symbol
    assert (tmp_path / "plots" / "peers.png").exists()
