"""On the command line: texts of a form, several texts, symbols, and what to accept."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import Digits
from seqocr.decoding.calibration import KEY
from seqocr.models.checkpoint import save
from seqocr.models.config_sum import with_sum
from tests.cli.test_cli import is_one_clear_error
from tests.conftest import barred, lively, own_lines, small_recognizer

Run = Callable[..., tuple[int, str, str]]
HEADS = ("ar", "parallel", "ctc")
every_head = pytest.mark.parametrize("head", HEADS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save(lively(small_recognizer(max_length=3), scale=0.4), folder)
    return folder


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "line.png"
    Image.fromarray(torch.cat(list(barred(3).images), dim=1).numpy()).save(path)
    return path


@every_head
def test_read_prints_texts_of_a_form_alone(run_cli: Run, weights: Path, image: Path, head: str) -> None:
    code, out, _ = run_cli("read", image, "--weights", weights, "--head", head, "--pattern", "[1-3]{2}", "--min-fit", 0)
    assert code == 0
    name, text, confidence, fitting, *_ = out.rstrip("\n").split("\t")
    assert name == str(image)
    assert re.fullmatch("[1-3]{2}", text)
    assert 0 < float(fitting) <= 1
    assert 0 < float(confidence) <= 1


def test_forms_are_combined(run_cli: Run, weights: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("18\n26\n21\n")
    arguments = ("--pattern", "2.", "--check", "luhn", "--lexicon", tmp_path / "codes.txt", "--min-fit", 0)
    code, out, _ = run_cli("read", image, "--weights", weights, *arguments)
    assert (code, out.split("\t")[1]) == (0, "26")


@every_head
def test_json_has_symbols_others_and_how_much_better(run_cli: Run, weights: Path, image: Path, head: str) -> None:
    code, out, _ = run_cli(
        "read", image, "--weights", weights, "--head", head, "--top", 3, "--format", "json", "--pattern", r"\d{1,3}"
    )
    (row,) = json.loads(out)
    assert code == 0
    assert "".join(symbol["text"] for symbol in row["symbols"]) == row["text"]
    assert all(0 <= symbol["left"] <= symbol["right"] <= 84 for symbol in row["symbols"])
    assert len(row["others"]) == 2
    assert row["fits"] is True
    assert 0 < row["fitting"] <= 1
    assert row["margin"] >= 1
    assert row["passes"] == 1 if head != "ar" else 1 <= row["passes"] <= 4


def test_csv_and_tabs_have_a_column_each(run_cli: Run, weights: Path, image: Path) -> None:
    arguments = ("read", image, "--weights", weights, "--top", 2, "--symbols")
    _, as_csv, _ = run_cli(*arguments, "--format", "csv")
    _, as_tabs, _ = run_cli(*arguments)
    _, as_table, _ = run_cli(*arguments, "--format", "table")
    (row,) = csv.DictReader(io.StringIO(as_csv))
    assert list(row) == ["file_name", "text", "confidence", "others", "symbols", "notes", "problem"]
    assert re.fullmatch(r"\d*:\d\.\d{4}", row["others"])
    assert "".join(each[0] for each in row["symbols"].split()) == row["text"]
    assert all(re.fullmatch(r"\d:\d\.\d{4}@\d+-\d+", each) for each in row["symbols"].split())
    assert as_tabs.rstrip("\n").split("\t") == [*list(row.values())[:5], *filter(None, [row["notes"]])]
    assert "symbols" in as_table


def test_what_is_too_long_for_a_head_is_refused_or_said(run_cli: Run, weights: Path, image: Path, tmp_path: Path):
    read = ("read", image, "--weights", weights, "--min-fit", 0, "--head")
    refused = run_cli(*read, "parallel", "--pattern", r"\d{9}")
    assert is_one_clear_error(refused, "head parallel of these weights writes at most 3 symbols", "they have 9 or more")
    assert is_one_clear_error(run_cli(*read, "ar", "--check", "ean"), "at most 3 symbols", "they have 8 or more")
    (tmp_path / "codes.txt").write_text("12345\n12\n4321\n")
    code, out, said = run_cli(*read, "parallel", "--lexicon", tmp_path / "codes.txt", "--format", "json")
    cut = "head parallel of these weights writes at most 3 symbols: of the texts that satisfy the constraint, it "
    cut += "cannot read 2, the first of them 12345"
    assert (code, said) == (0, f"warning: {cut}\n")
    assert cut not in json.loads(out)[0]["notes"]  # one of the others fits
    read = (*read[:4], "--min-fit", 1, "--head")
    _, out, _ = run_cli(*read, "parallel", "--lexicon", tmp_path / "codes.txt", "--format", "json")
    assert json.loads(out)[0]["text"] == ""
    assert cut in json.loads(out)[0]["notes"]
    assert run_cli(*read, "ctc", "--lexicon", tmp_path / "codes.txt")[2] == ""  # it has six frames
    assert run_cli(*read, "parallel", "--pattern", r"\d+")[2] == ""  # nobody says that longer ones are to come


def test_texts_that_are_unlikely_together_are_left_out(run_cli: Run, weights: Path, image: Path) -> None:
    read = ("read", image, "--weights", weights, "--head", "parallel", "--pattern", "[1-3]{2}", "--format")
    _, out, _ = run_cli(*read, "json", "--min-fit", 0)
    fitting, text = (json.loads(out)[0][key] for key in ("fitting", "text"))
    _, kept, _ = run_cli(*read, "csv", "--min-fit", 0.9 * fitting)
    _, left, _ = run_cli(*read, "csv", "--min-fit", 1.1 * fitting)
    (kept,), (left,) = (list(csv.DictReader(io.StringIO(each))) for each in (kept, left))
    assert (kept["text"], float(kept["fitting"])) == (text, pytest.approx(fitting))
    assert "no text that satisfies" not in kept["notes"]
    assert (left["text"], left["fitting"]) == ("", kept["fitting"])
    assert "no text that satisfies the constraint is likely" in left["notes"]
    for output in ("table", "tabs"):
        assert kept["fitting"][:5] in run_cli(*read[:-1], *(("--format", output) if output == "table" else ()))[1]


def test_a_file_that_cannot_be_read_has_a_row(run_cli: Run, weights: Path, image: Path, tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.png", tmp_path / "empty"
    broken.write_bytes(b"no image")
    empty.mkdir()
    read = ("read", image, broken, tmp_path / "*.png", image, empty, "--weights", weights)
    for rows in (csv.DictReader(io.StringIO(run_cli(*read, "--format", "csv")[1])),
                 json.loads(run_cli(*read, "--format", "json")[1])):  # fmt: skip
        good, bad, folder = rows  # each once
        assert [each["file_name"] for each in (good, bad, folder)] == [str(image), str(broken), str(empty)]
        assert good["problem"] == ""
        assert (bad["text"], "broken.png is not an image" in bad["problem"]) == ("", True)
        assert "is a folder without images" in folder["problem"]
    code, out, said = run_cli(*read)
    assert (code, len(out.splitlines())) == (2, 3)
    assert "2 of 3 images could not be read" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pattern", "[a-z]+"], ["[a-z]+", "matches no text"]),
        (["--pattern", "12Z"], ["'Z'", "charset"]),
        (["--pattern", "(1"], ["(1", "cannot be used"]),
        (["--check", "crc32"], ["crc32", "luhn"]),
        (["--check", "isbn"], ["isbn", "'X'"]),
        (["--lexicon", "no-such-file"], ["no-such-file", "cannot be read"]),
        (["--pattern", "11", "--check", "luhn"], ["--pattern 11 and --check luhn", "no text"]),
        (["--top", "0"], ["--top 0"]),
        (["--beam-width", "0"], ["--beam-width 0"]),
        (["--min-fit", "2"], ["--min-fit 2"]),
        (["--top", "2", "--head", "ar-speculative"], ["ar-speculative", "choose one of"]),
        (["--target-precision", "0.99"], ["--target-precision 0.99", "seqocr calibrate"]),
        (["--target-precision", "0.99", "--pattern", "11"], ["--target-precision", "excludes"]),
    ],
)
def test_read_refuses_in_one_line(run_cli: Run, weights: Path, image: Path, arguments: list[str], words: list[str]):
    assert is_one_clear_error(run_cli("read", image, "--weights", weights, *arguments), *words)


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(split: str, dataset: str = "mnist", root: Path | None = None) -> Digits:
        return barred({"train": 160, "validation": 60, "test": 90}[split], split)

    monkeypatch.setattr(sources, "load_digits", load)


def test_eval_reads_under_a_form_and_says_what_to_accept(run_cli: Run, weights: Path, tmp_path: Path, digits) -> None:
    out = tmp_path / "tables"
    code, said, _ = run_cli(
        "eval",
        "--weights",
        weights,
        "--out",
        out,
        "--length",
        2,
        "--count",
        20,
        "--pattern",
        "[0-4]{2}",
        "--min-fit",
        0,
    )
    assert code == 0
    predictions = pd.read_csv(out / "predictions.csv", dtype={"text": str, "prediction": str})
    assert len(predictions) == 60
    assert predictions["prediction"].str.fullmatch("[0-4]{2}").all()
    heads = [line.split(":")[0] for line in said.splitlines() if "% precision" in line]
    assert sorted({*heads}) == sorted(HEADS)


def test_calibrated_weights_give_other_confidences_and_thresholds(
    run_cli: Run, weights: Path, image: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in weights.iterdir():
        (mine / path.name).write_bytes(path.read_bytes())
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)  # of which random weights read something
    _, before, _ = run_cli("read", image, "--weights", mine)
    assert float(before.split("\t")[2]) > 0
    code, said, _ = run_cli("calibrate", "--weights", mine, "--data", own_lines(tmp_path / "lines", 60))
    assert code == 0
    assert "ctc: temperature" in said
    config = json.loads((mine / "config.json").read_text())
    assert set(config["provenance"][KEY]) == set(HEADS)
    # Made by hand, since random weights are right of hardly any line.
    config["provenance"][KEY]["parallel"] = {
        "temperature": 2.0,
        "lines": 40,
        "accepted": [{"target": 0.99, "threshold": 0.9999, "share": 0.1, "right": 1.0}],
    }
    (mine / "config.json").write_text(json.dumps(with_sum(config)))
    _, after, _ = run_cli("read", image, "--weights", mine)
    p, q = (float(each.split("\t")[2]) for each in (before, after))
    assert np.log(q / (1 - q)) == pytest.approx(np.log(p / (1 - p)) / 2, abs=0.01)
    _, accepted, _ = run_cli("read", image, "--weights", mine, "--target-precision", 0.99)
    assert accepted.split("\t")[1] == ""
    assert is_one_clear_error(
        run_cli("read", image, "--weights", mine, "--target-precision", 0.97), "0.97", "known for 0.99"
    )


def test_calibration_refuses_in_one_line(run_cli: Run, weights: Path, tmp_path: Path) -> None:
    assert is_one_clear_error(run_cli("calibrate", "--weights", tmp_path / "no"), "no config.json")
    assert is_one_clear_error(run_cli("calibrate", "--weights", weights, "--data", tmp_path / "no"), "no")


def test_a_charset_restricts_what_is_read(run_cli: Run) -> None:
    examples = [
        path for level in ("grid", "jitter", "wild") for path in Path("seqocr/demo/examples").glob(f"{level}-*")
    ]
    by_hand = "read", *examples, "--weights", "strings"  # without reader of marks
    code, out, _ = run_cli(*by_hand, "--charset", "01234567", "--format", "csv")
    assert code == 0
    texts = [row["text"] for row in csv.DictReader(io.StringIO(out))]
    assert len(texts) == 6
    assert all(texts)
    assert set("".join(texts)) <= set("01234567")
    for arguments, says in (
        (
            (
                "--charset",
                "0.",
            ),
            "do not read '.'",
        ),
        (("--charset", ""), "give symbols"),
        (("--charset", "01", "--head", "ctc"), "leave out --head"),
    ):
        assert is_one_clear_error(run_cli(*by_hand, *arguments), says)
