"""Real lines, and how far confidence can be trusted: who reads what, that a killed run goes on, and known results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from bench import peers
from bench.core import strategies
from bench.core.experiment import Bench
from bench.core.store import Store
from bench.experiments import confidence, difficulty, real_lines
from bench.peers.base import Peer, PeerSpec
from bench.report.build import write_report
from bench.workloads.held_out import HELD_OUT
from seqocr.data.folder import Line, LineFolder
from seqocr.data.sources import datasets as sources
from seqocr.models.checkpoint import save
from seqocr.progress import Silent
from seqocr.statistics import proportion
from seqocr.train import recipe
from tests.conftest import barred, lively, own_lines, small_recognizer
from tests.measured import measured
from tests.synthetic import finished_run

EXPERIMENT = real_lines.EXPERIMENT
SCHEDULE = {"steps": 2, "learning_rate": 1e-3, "warmup": 1, "validate_every": 1, "patience": 0, "batch_size": 6}
OWN = {(head, phase) for head in strategies.heads() for phase in ("zero-shot", "fine-tuned")}


@pytest.fixture
def folder(tmp_path: Path) -> LineFolder:
    return LineFolder(own_lines(tmp_path / "cheques", 40))


@pytest.fixture
def bench(tmp_path: Path, folder: LineFolder, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A small reader, a short training, and one other reader, which reads whatever has light paper as 7."""
    save(lively(small_recognizer(max_length=3), scale=0.4), tmp_path / "weights")  # type: ignore[arg-type]
    monkeypatch.setattr(sources, "load_digits", lambda split, *_: barred(400 if split == "train" else 200, split))
    monkeypatch.setattr(recipe, "FINE_TUNING", {**recipe.FINE_TUNING, **SCHEDULE})

    def read(images: Any) -> list[str]:
        return ["7" if image.float().median() > 128 else "?" for image in images]

    def load(recognizer: Any, scratch: Path, inverted: bool) -> Peer:
        assert not inverted
        return Peer(read, "made for the test")

    made = {
        "Seven": PeerSpec("Seven", load),
        "Absent": PeerSpec("Absent", load, lambda: "not here"),
        "Bare": PeerSpec("Bare", load, trained=False),
        "ar": PeerSpec("ar", load, strategy="ar"),
    }
    for module in (peers, real_lines):
        monkeypatch.setattr(module, "peers", lambda: made)
    return Bench(Store(tmp_path / "raw" / "run"), default=tmp_path / "weights", real=folder)


def test_held_out_lines_are_read_by_all_and_learned_from_by_none(
    bench: Bench, folder: LineFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = EXPERIMENT.parts("smoke", bench)
    learned_from: list[LineFolder] = []
    tune = real_lines.fine_tune
    monkeypatch.setattr(
        real_lines, "fine_tune", lambda r, part, *a, **more: (learned_from.append(part), tune(r, part, *a, **more))[1]
    )
    measured(EXPERIMENT, part, bench)
    found = EXPERIMENT.results(bench.store)
    assert found is not None
    learned, held_out = folder.split(HELD_OUT, "test")
    assert {line.name for line in learned_from[0].lines} == {line.name for line in learned.lines}
    assert not {line.name for line in learned.lines} & {line.name for line in held_out.lines}
    assert set(found.lines.groupby(["reader", "phase"]).groups) == OWN | {("Seven", "as it comes")}
    for _, lines in found.lines.groupby(["reader", "phase"]):
        assert lines["text"].tolist() == [line.text for line in held_out.lines]
    assert (found.lines["seconds"] > 0).all()
    assert (found.lines[found.lines["reader"] == "Seven"]["prediction"] == "7").all()
    about = found.about
    assert (about["lines"], about["learned"], about["held_out"]) == (40, len(learned), len(held_out))
    assert (about["not_run"], about["others"]) == ({"Absent": "not here"}, {"Seven": "made for the test"})
    assert about["step"] <= 2
    assert not bench.store.file("real", real_lines._TUNED).exists(), "weights are not measurements"


def test_without_real_lines_there_is_nothing_to_measure(bench: Bench) -> None:
    assert EXPERIMENT.parts("full", replace(bench, real=None)) == []
    assert EXPERIMENT.results(bench.store) is None


def test_other_names_texts_or_images_are_measured_again(bench: Bench, folder: LineFolder, tmp_path: Path) -> None:
    def settings() -> real_lines.Settings:
        lines = LineFolder(folder.directory)
        (part,) = EXPERIMENT.parts("full", replace(bench, real=lines))
        return part.settings

    first = settings()
    assert settings() == first
    listed = folder.directory / "metadata.csv"
    text = listed.read_text()
    listed.write_text(text.replace(f"{folder.lines[0].name},{folder.lines[0].text}", f"{folder.lines[0].name},8"))
    assert settings() != first
    listed.write_text(text)
    assert settings() == first
    Image.open(folder.lines[0].path).rotate(180).save(folder.lines[0].path)
    assert settings() != first


def test_a_killed_run_goes_on_with_the_next_lines_and_trains_no_second_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = EXPERIMENT.parts("smoke", bench)
    monkeypatch.setattr(real_lines, "_SAVE_EVERY", 2)
    read, seen = real_lines._readings, []

    def killed(everyone: Any, line: Any, index: int, device: torch.device) -> Any:
        seen.append(index)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return read(everyone, line, index, device)

    monkeypatch.setattr(real_lines, "_readings", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(EXPERIMENT, part, bench)
    unfinished = bench.store.unfinished(part.name)
    kept = unfinished.read("real")
    assert sorted(kept["index"].unique()) == [0, 1]
    assert unfinished.file("real", real_lines._TUNED).exists()
    monkeypatch.setattr(recipe.Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    measured(EXPERIMENT, part, bench)
    assert seen == [0, 1, 2, 3, *range(2, part.steps)]
    pd.testing.assert_frame_equal(bench.store.read("real").head(len(kept)), kept)
    # Killed after the last line: neither is trained or read again.
    EXPERIMENT.measure(part, bench, Silent())
    assert len(seen) == 2 + part.steps


def known() -> real_lines.Results:
    """Of a hundred and one lines: ar reads them all once fine-tuned, the others lose some."""
    wrong = {
        **{("ar", "fine-tuned"): 0, ("parallel", "fine-tuned"): 30, ("ctc", "fine-tuned"): 20},
        **{("ar", "zero-shot"): 60, ("parallel", "zero-shot"): 60, ("ctc", "zero-shot"): 61},
        ("Seven", "as it comes"): 90,
    }
    rows = [
        {
            **{"index": i, "reader": reader, "phase": phase, "seconds": (i + 1) / 1e3, "text": "12"},
            **{"prediction": "1" if i < count else "12", "confidence": None if reader == "Seven" else 0.95},
        }
        for (reader, phase), count in wrong.items()
        for i in range(101)
    ]
    about = {"folder": "cheques", "lines": 500, "learned": 399, "held_out": 101, "step": 500, "seconds": 240}
    return real_lines.Results(
        {**about, "others": {"Seven": "it says 7"}, "not_run": {"Absent": "gone"}},
        pd.DataFrame(rows),
    )


def test_results_are_of_lines_held_out() -> None:
    found = known()
    assert found.exact("ctc", "fine-tuned") == proportion(81, 101)
    assert found.exact("Seven", "as it comes") == proportion(11, 101)
    ms = found.milliseconds("ar", "zero-shot")
    assert ms.estimate == pytest.approx(51)
    assert 40 <= ms.low < 45 < 57 < ms.high <= 62
    assert [each.other for each in found.comparisons] == ["parallel", "ctc"] * 2
    gap = found.comparisons[3].gap
    assert (gap.only_first, gap.only_second) == (20, 0)
    verdicts = {claim.name: claim.verdict for claim in EXPERIMENT.claims(found)}
    assert list(verdicts.values()) == ["undecided", "undecided", "better", "better"]
    assert [name.split(":")[0] for name in verdicts][1:3] == ["real lines, as shipped", "real lines, adapted"]
    row = EXPERIMENT.tables(found)["real"].set_index(["reader", "phase"]).loc[("ctc", "fine-tuned")]
    assert (row["missed"], row["cer"], row["ms"]) == pytest.approx((20 / 202, 20 / 202, 51))


def test_the_section_says_who_read_what_after_learning_what() -> None:
    (section,) = EXPERIMENT.sections(known(), {})
    table = section.table
    assert table is not None
    assert table["reader"].tolist()[0] == "`ar`"
    assert table["exact match, adapted"].tolist()[0].startswith("100.0 %")
    (seven,) = table[table["reader"] == "Seven"].to_dict("records")
    assert (seven["exact match, as shipped"][:6], seven["exact match, adapted"]) == ("10.9 %", "")
    assert "alone; adapted, from the other 399 lines, too, in 4 minutes" in section.text
    assert "`ar` reads more than `ctc`: real lines, adapted, +19.80" in section.text
    assert len(section.details.pop("`ar` beside one pass")) == 4
    assert "as they are" in section.details.pop("How others are read")
    assert section.details == {
        "Other readers": "Seven: it says 7.",
        "Readers that are not here": "Not run: Absent (gone).",
    }


def test_kinds_of_lines_are_told_apart_by_their_folders() -> None:
    found = known()
    assert found.kinds.empty
    mixed = found.lines.assign(kind=["meters/a" if i < 21 else "cheques" for i in found.lines["index"]])
    (section,) = EXPERIMENT.sections(real_lines.Results(found.about, mixed), {})
    table = section.details["Each kind of lines"]
    assert isinstance(table, pd.DataFrame)
    assert list(table) == ["reader", "cheques, 80 lines", "meters/a, 21 lines"]
    shipped = table.set_index("reader").loc["`parallel`, as shipped"]
    assert [cell.split(" %")[0] for cell in shipped] == ["51.2", "0.0"]
    assert "Seven" in set(table["reader"])
    line = Line("meters/a/1.png", Path("1.png"), "1")
    assert (real_lines._kind(line), real_lines._kind(replace(line, name="1.png"))) == ("meters", "")


def test_trust_is_what_keeping_only_the_sure_gains() -> None:
    rows = [
        ("wild", "ctc", "1", "1", 0.95),
        ("wild", "ctc", "4", "9", 0.99),  # in the same of fifteen bins as the one above
        ("wild", "ctc", "2", "2", 0.9),
        ("wild", "ctc", "3", "8", 0.5),
        ("real", "ar", "5", "5", 0.5),
        ("real", "Seven", "6", "6", None),
    ]
    read = pd.DataFrame(rows, columns=["lines", "head", "text", "prediction", "confidence"])
    found = confidence.trust(read).set_index(["lines", "head"])
    assert set(found.index) == {("wild", "ctc"), ("real", "ar")}
    ctc, ar = found.loc[("wild", "ctc")], found.loc[("real", "ar")]
    assert (ctc["exact"], ctc["sure"], ctc["sure_exact"]) == (0.5, 0.75, pytest.approx(2 / 3))
    wilson = proportion(2, 3)
    assert (ctc["sure_exact_low"], ctc["sure_exact_high"]) == pytest.approx((wilson.low, wilson.high))
    assert ctc["ece"] == pytest.approx((2 * (0.97 - 0.5) + (1 - 0.9) + 0.5) / 4)
    assert (ar["sure"], ar["ece"]) == (0, 0.5)
    assert pd.isna(ar["sure_exact"])


def test_trust_shows_the_head_that_reads_each_kind_of_lines_best() -> None:
    def row(lines: str, head: str, exact: float, sure_exact: float, ece: float, sure: float = 0.5) -> dict[str, Any]:
        kept = proportion(round(sure_exact * 100), 100) if sure else proportion(0, 0)
        return {"lines": lines, "head": head, "exact": exact, "sure": sure, "ece": ece, **kept.columns("sure_exact")}

    rows = [
        *(row("`grid`", "ar", 0.9, 0.99, 0.01), row("`grid`", "ctc", 0.95, 0.98, 0.03)),
        *(row("real, as shipped", "ar", 0.6, 0.8, 0.1), row("real, as shipped", "ctc", 0.5, 0.7, 0.15)),
        row("real, adapted", "ar", 0.1, 0.0, 0.4, sure=0.0),
    ]
    (section,) = confidence.EXPERIMENT.sections(pd.DataFrame(rows), {})
    assert section.table is not None
    assert section.table["head"].tolist() == ["`ctc`", "`ar`", "`ar`"]
    assert section.table["right of those"].tolist()[2] == ""
    assert "98.0 % are correct (`grid`) at best. At worst, 80.0 % are (real, as shipped)" in section.text
    assert "within 0.050 of it" in section.text


def test_the_report_shows_real_lines_and_trust(bench: Bench, tmp_path: Path) -> None:
    store = finished_run(tmp_path)
    assert "Real lines" not in write_report(store, tmp_path).read_text()
    here = replace(bench, store=store)
    measured(EXPERIMENT, EXPERIMENT.parts("smoke", here)[0], here)
    text = write_report(store, tmp_path).read_text()
    section = text.split("## Real lines")[1].split("\n## ")[0]
    assert "`cheques`" in section
    assert "| Seven | " in section
    details = (tmp_path / "details.md").read_text()
    trusted = details.split("## Calibrated confidence")[1].split("\n## ")[0]
    assert "| real, as shipped |" in trusted
    assert "| real, adapted |" in trusted
    assert len(pd.read_csv(tmp_path / "tables" / "trust.csv")) == 2 * len(strategies.heads())
    assert len(pd.read_csv(tmp_path / "tables" / "real.csv")) == len(OWN) + 1


def test_the_plot_of_levels_has_real_lines_beside_them() -> None:
    read = pd.DataFrame(
        [
            {"level": "grid", "length": n, "index": i, "head": head, "text": "1", "prediction": "1"}
            for head in strategies.heads()
            for n in (1, 2)
            for i in range(3)
        ]
    )
    found = difficulty.Results({}, read)
    axes = difficulty.EXPERIMENT.plots(found, {"real": known()})["lengths"]().axes
    ticks = [label.get_text() for label in axes[-1].get_xticklabels()]
    assert ticks == ["grid", "real,\nas shipped", "real,\nadapted"]
