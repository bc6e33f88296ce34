"""Reading files: which are read, in what order, what is said of those that cannot be, and in what form."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

from seqocr import cli
from seqocr.data.images import line_or_problem
from seqocr.inference import image_files as reading
from seqocr.inference.image_files import image_files, predict_files
from seqocr.inference.predict import predict
from seqocr.inference.prediction import ReadOptions
from seqocr.models.checkpoint import save
from seqocr.models.recognizer import Recognizer
from tests.conftest import lively, small_recognizer
from tests.data.test_images import broken

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    recognizer = small_recognizer(max_length=3)
    lively(recognizer, scale=0.4)
    return recognizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve lines, two of them in a folder below."""
    folder = tmp_path / "lines"
    (folder / "more").mkdir(parents=True)
    pixels = torch.randint(0, 256, (12, 28, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for i, line in enumerate(pixels):
        Image.fromarray(line.numpy()).save(folder / ("more" if i > 9 else ".") / f"{i:02}.png")
    (folder / "notes.txt").write_text("not read")
    return folder


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["seqocr", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def test_files_folders_and_patterns(folder: Path) -> None:
    names = [path.name for path in image_files([str(folder)])]
    assert names == [f"{i:02}.png" for i in range(12)]
    assert [path.name for path in image_files([str(folder / "0[13]*.png")])] == ["01.png", "03.png"]
    assert [path.name for path in image_files([str(folder / "**" / "1*.png")])] == ["10.png", "11.png"]
    given = [str(folder / "05.png"), str(folder / "more"), str(folder / "gone.png")]
    assert [path.name for path in image_files(given)] == ["05.png", "10.png", "11.png", "gone.png"]


def test_an_argument_that_names_nothing_stands_for_itself(recognizer: Recognizer, folder: Path) -> None:
    (folder / "none").mkdir()
    (folder / "broken link.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    long = folder / ("x" * 300 + ".png")
    given = [folder / "none", folder / "*.tif", folder / "broken link.png", folder / "pipe.png", long]
    assert image_files(map(str, given)) == given
    assert {folder / "broken link.png", folder / "pipe.png"} <= set(image_files([str(folder)]))
    problems = [one.problem for one in predict_files(recognizer, [*given, folder / "00.png"])]
    reasons = ("is a folder", "", "does not exist", "is a pipe", "cannot be read (File name too long)")
    for path, problem, reason in zip(given, problems, reasons, strict=False):
        assert problem.startswith(f"{path} {reason}" if reason else f"no file matches {path}: ")
    assert problems[-1] == ""


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_every_good_file_is_read_and_every_bad_one_named_in_order(
    recognizer: Recognizer, folder: Path, tmp_path: Path, batch_size: int
) -> None:
    (tmp_path / "broken").mkdir()
    bad = [tmp_path / "broken" / name for name in broken(tmp_path / "broken")]
    good = image_files([str(folder)])
    order = [*good[:3], *bad[:4], good[3], good[3], *bad[4:], *good[4:]]
    readings = list(predict_files(recognizer, order, batch_size=batch_size))
    for path, one in zip(order, readings, strict=True):
        if path in bad:
            assert str(path) in one.problem
        else:
            (alone,) = predict(recognizer, [Image.open(path)])
            assert (one.text, one.problem) == (alone.text, "")
            assert one.confidence == pytest.approx(alone.confidence, abs=1e-5)


def test_a_large_folder_is_read_with_a_batch_in_memory(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand images, a few of them broken: no more than a batch of them is ever held."""
    held, most = 0, 0

    def let_go() -> None:
        nonlocal held
        held -= 1

    def opened(path: Path) -> Image.Image | str:
        nonlocal held, most
        image = line_or_problem(path)
        if isinstance(image, Image.Image):
            weakref.finalize(image, let_go)
            held += 1
            most = max(most, held)
        return image

    monkeypatch.setattr(reading, "line_or_problem", opened)
    lines = tmp_path / "lines"
    lines.mkdir()
    reasons = broken(lines)
    pixels = torch.randint(0, 256, (30, 20, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    modes, suffixes = ["L", "RGB", "P", "RGBA", "1"], [".png", ".png", ".bmp", ".webp", ".tif"]
    for i in range(1000 - len(reasons)):
        image = Image.fromarray(pixels[i % 30].numpy()).resize((40 + i % 50, 20 + i % 30)).convert(modes[i % 5])
        image.save(lines / f"{i:03}{suffixes[i % 5]}")
    paths = image_files([str(lines)])
    found = list(predict_files(recognizer, paths, ReadOptions("ctc"), batch_size=50))
    problems = {path.name: one.problem for path, one in zip(paths, found, strict=True) if one.problem}
    assert len(found) >= 1000
    reasons.pop("missing.png")
    assert set(problems) == set(reasons)
    assert all(reasons[name] in problem for name, problem in problems.items())
    assert most <= 2 * 50  # of the batch that is read and of the one before
    assert held <= 50


def test_every_form_says_the_same(run_cli: Run, recognizer: Recognizer, folder: Path, tmp_path: Path) -> None:
    save(recognizer, tmp_path / "weights")
    read = ["read", folder, "--weights", tmp_path / "weights"]
    code, tabs, _ = run_cli(*read)
    assert code == 0
    expected = [line.split("\t") for line in tabs.splitlines()]
    assert len(expected) == 12
    header, *rows = csv.reader(io.StringIO(run_cli(*read, "--format", "csv")[1]))
    assert header == ["file_name", "text", "confidence", "notes", "problem"]
    assert [row[:4] if row[3] else row[:3] for row in rows] == expected
    assert {row[4] for row in rows} == {""}
    assert {len(row) for row in expected} == {3, 4}  # some of these have notes
    found = json.loads(run_cli(*read, "--format", "json", "--batch", 5)[1])
    assert [[row["file_name"], row["text"]] for row in found] == [row[:2] for row in expected]
    assert [row["confidence"] for row in found] == pytest.approx([float(row[2]) for row in expected], abs=2e-4)
    table = run_cli(*read, "--format", "table")[1]
    assert all(confidence in table for _, _, confidence, *_ in expected)


def test_unsure_readings_are_left_empty(run_cli: Run, recognizer: Recognizer, folder: Path, tmp_path: Path) -> None:
    save(recognizer, tmp_path / "weights")
    read = ["read", folder, "--weights", tmp_path / "weights", "--format", "json"]
    everything = json.loads(run_cli(*read)[1])
    ordered = sorted(row["confidence"] for row in everything)
    below, above = max(pairwise(ordered), key=lambda pair: pair[1] - pair[0])
    bound = (below + above) / 2  # where they are furthest apart: what is printed is rounded
    sure = json.loads(run_cli(*read, "--min-confidence", bound)[1])
    for before, after in zip(everything, sure, strict=True):
        passes = before["confidence"] > bound and not before["notes"]
        assert after == {**before, "text": before["text"] if passes else ""}
    assert "" in {row["text"] for row in sure}


def test_broken_files_do_not_stop_the_others(
    run_cli: Run, recognizer: Recognizer, folder: Path, tmp_path: Path
) -> None:
    save(recognizer, tmp_path / "weights")
    reasons = broken(folder)
    code, out, err = run_cli("read", folder, folder / "missing.png", "--weights", tmp_path / "weights")
    assert code == 2
    assert len(out.splitlines()) == 13 + len(reasons)  # the good one that others are broken copies of is the 13th
    assert len([line for line in out.splitlines() if line.endswith("\t\t0.0000")]) == len(reasons)
    *errors, total = err.splitlines()
    assert total == f"{len(reasons)} of {13 + len(reasons)} images could not be read"
    assert all(any(name in error for error in errors) for name in reasons)
    code, out, _ = run_cli("read", folder / "empty.png", "--weights", tmp_path / "weights", "--format", "json")
    assert (code, [(row["text"], "is empty" in row["problem"]) for row in json.loads(out)]) == (2, [("", True)])


@pytest.mark.parametrize(("arguments", "words"), [(["--format", "xml"], "--format xml"), (["--batch", 0], "--batch 0")])
def test_wrong_options_are_named(run_cli: Run, folder: Path, arguments: list[object], words: str) -> None:
    code, _, err = run_cli("read", folder, *arguments)
    assert code == 2
    assert err.startswith(f"error: {words}")


def test_eval_reads_your_own_folder(run_cli: Run, recognizer: Recognizer, folder: Path, tmp_path: Path) -> None:
    save(recognizer, tmp_path / "weights")
    files = [path.relative_to(folder) for path in image_files([str(folder)])]
    right = recognizer.decode([Image.open(folder / path) for path in files], "parallel").texts
    rows = [
        f"{path}\t{text if i % 3 else '999'}\n" for i, (path, text) in enumerate(zip(files, right, strict=True)) if text
    ]
    (folder / "gt.txt").write_text("".join([*rows, "gone.png\t1\n"]))
    evaluate = ["eval", "--data", folder, "--weights", tmp_path / "weights", "--out", tmp_path / "tables"]
    code, _, err = run_cli(*evaluate)
    assert code == 2
    assert "gone.png does not exist" in err
    assert run_cli(*evaluate, "--skip", "--heads", "parallel")[0] == 0
    with (tmp_path / "tables" / "predictions.csv").open() as file:
        predictions = list(csv.DictReader(file))
    assert [row["file_name"] for row in predictions] == [row.split("\t")[0] for row in rows]
    assert all((row["text"] == row["prediction"]) == (row["text"] != "999") for row in predictions)


def test_large_images_are_read_in_smaller_batches(
    recognizer: Recognizer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = image_files([str(folder)])
    expected = [one.text for one in predict_files(recognizer, paths)]
    monkeypatch.setattr(reading, "MOST_HELD", 3 * 28 * 84)
    seen: list[int] = []
    decode = recognizer.decode
    monkeypatch.setattr(recognizer, "decode", lambda images, *more: seen.append(len(images)) or decode(images, *more))
    assert [one.text for one in predict_files(recognizer, paths, batch_size=5)] == expected
    assert seen == [3, 3, 3, 3]


ODD = [b"a\xff.png", "é あ.png".encode(), b"r\rn\nt\t.png", b"[red]x.png", b"e\x1b[31m.png", b'q".png', b"c,d.png"]
SHOWN = [r"a\xff.png", "é あ.png", r"r\rn\nt\t.png", "[red]x.png", r"e\x1b[31m.png", 'q".png', "c,d.png"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_odd_names_stop_nothing_and_break_no_form(
    recognizer: Recognizer, tmp_path: Path, encoding: str, run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lines"
    folder.mkdir()
    for name in ODD:
        Image.new("L", (84, 28), 200).save(folder / os.fsdecode(name))
    os.mkfifo(folder / "pipe.png")
    (tmp_path / "empty").mkdir()
    save(recognizer, tmp_path / "weights")
    printed = {}
    for form in ("tabs", "csv", "json", "table"):
        more = () if form == "tabs" else ("--format", form)
        out = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setenv("COLUMNS", "500")
        code, _, err = run_cli("read", folder, tmp_path / "empty", "--weights", tmp_path / "weights", *more)
        assert code == 2
        said = [line.split(":")[0] for line in err.splitlines()]
        assert said == ["error", "error", "2 of 9 images could not be read"]
        out.seek(0)
        printed[form] = out.read()
    files = [*zip(ODD, SHOWN, strict=True), (b"pipe.png", "pipe.png")]
    files = [*sorted(files, key=lambda file: os.fsdecode(file[0])), (b"../empty", "../empty")]
    names = [f"{folder}/{shown.encode(encoding, 'backslashreplace').decode(encoding)}" for _, shown in files]
    names[-1] = str(tmp_path / "empty")
    assert [line.split("\t")[0] for line in printed["tabs"].splitlines()] == names
    assert all(line.count("\t") in (2, 3) for line in printed["tabs"].splitlines())  # notes come last, if any
    assert [row[0] for row in csv.reader(printed["csv"].splitlines())] == ["file_name", *names]
    exact = [f"{folder}/{name.decode(errors='backslashreplace')}" for name, _ in files[:-1]] + names[-1:]
    assert [row["file_name"] for row in json.loads(printed["json"])] == exact
    assert all(name in printed["table"] for name in names)


def test_weights_that_give_no_number_are_said_of_each_file(folder: Path) -> None:
    broken = small_recognizer(("ctc",))
    with torch.no_grad():
        for p in broken.parameters():
            p.fill_(3e38)
    readings = list(predict_files(broken, image_files([str(folder)]), ReadOptions("ctc")))
    assert len(readings) == 12
    assert all("gives nan with these weights" in one.problem for one in readings)


@pytest.mark.parametrize("value", ["nan", "-0.1", "1.5", "inf"])
def test_a_bound_that_is_no_confidence_is_refused(run_cli: Run, folder: Path, value: str) -> None:
    code, _, err = run_cli("read", folder, f"--min-confidence={value}")
    assert code == 2
    assert err.startswith("error: --min-confidence")
