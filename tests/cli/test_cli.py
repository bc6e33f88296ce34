"""The command line, run in this process. One in a process of its own is in test_pretrained.py."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import typer
from PIL import Image

import seqocr
from seqocr.cli.app import app
from seqocr.cli.train import let_idle_threads_sleep
from seqocr.data.folder import LineFolder
from seqocr.data.sources import datasets as sources
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.heads.registry import HEADS
from seqocr.train.config import FINE_TUNING, DistributedConfig, Source, Start, TrainConfig
from tests.conftest import barred, lively, own_lines, small_recognizer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    recognizer = small_recognizer()
    lively(recognizer)
    save(recognizer, tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "line.png"
    Image.fromarray(torch.cat(list(barred(3).images), dim=1).numpy()).save(path)
    return path


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits without files or network."""

    def load(split: str, dataset: str = "mnist", root: Path | None = None) -> Digits:
        if split not in sources.SPLITS or dataset != "mnist":
            raise InputError(f"unknown {split!r} of {dataset!r}")
        return barred({"train": 160, "validation": 60, "test": 90}[split], split)

    monkeypatch.setattr(sources, "load_digits", load)


def is_one_clear_error(result: tuple[int, str, str], *words: object) -> bool:
    code, out, err = result
    assert code == 2
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert err.splitlines()[-1] == line  # nothing after it
    for word in words:
        assert str(word) in line
    assert out == ""
    return True


# read


def test_read_prints_file_text_and_confidence(run_cli: Run, weights: Path, image: Path) -> None:
    code, out, _ = run_cli("read", image, image, "--weights", weights, "--head", "ctc")
    assert code == 0
    decoded = load_recognizer(weights).decode([Image.open(image).convert("L")], "ctc")
    line = f"{image}\t{decoded.texts[0]}\t{decoded.confidences[0]:.4f}"
    assert out.splitlines() == [line]  # once, though it is named twice


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "I;16"])
def test_read_takes_images_of_any_mode(run_cli: Run, weights: Path, image: Path, mode: str) -> None:
    Image.open(image).convert(mode).save(image)
    code, out, _ = run_cli("read", image, "--weights", weights)
    assert code == 0
    assert out.startswith(f"{image}\t")


def damaged_images(folder: Path, good: bytes) -> dict[str, Path]:
    made = {
        "text.png": b"no image at all",
        "empty.png": b"",
        "half.png": good[: len(good) // 2],
        "flipped.png": good[:45] + bytes([good[45] ^ 255]) + good[46:],
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return {"missing.png": folder / "missing.png", **{name: folder / name for name in made}}


@pytest.mark.parametrize("name", ["missing.png", "text.png", "empty.png", "half.png", "flipped.png"])
def test_an_image_that_cannot_be_read_is_named(run_cli: Run, weights: Path, image: Path, name: str) -> None:
    path = damaged_images(image.parent, image.read_bytes())[name]
    code, out, err = run_cli("read", path, "--weights", weights)
    assert out == f"{path}\t\t0.0000\n"  # a row, too
    assert is_one_clear_error((code, "", err), path, "PNG or JPEG")


def test_read_with_an_unknown_head_or_without_weights(run_cli: Run, weights: Path, image: Path, tmp_path: Path) -> None:
    assert is_one_clear_error(run_cli("read", image, "--weights", weights, "--head", "lstm"), "'lstm'", "ctc-beam")
    assert is_one_clear_error(run_cli("read", image, "--weights", tmp_path / "no"), tmp_path / "no", "missing")
    (weights / "model.safetensors").write_bytes(b"half")
    assert is_one_clear_error(run_cli("read", image, "--weights", weights), "model.safetensors cannot be used")


# train


def train_arguments(out: Path, *more: object) -> list[object]:
    few = ["--steps", 2, "--batch-size", 4, "--warmup", 1, "--validate-every", 1, "--precision", "float32"]
    return ["train", "--out", out, *few, *more]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--length", "abc"], ["--length abc", "1-5"]),
        (["--length", "1-2-3"], ["--length 1-2-3"]),
        (["--length", "-2"], ["--length -2"]),
        (["--length", "0"], ["0"]),
        (["--length", "5-3"], ["(5, 3)"]),
        (["--image-size", "large"], ["--image-size large", "32x160"]),
        (["--image-size", "28"], ["--image-size 28"]),
        (["--image-size", "30x151"], ["image size 30x151", "28x7"]),
        (["--heads", "ar,lstm"], ["'lstm'", "ar, parallel, ctc"]),
        (["--heads", ""], ["''"]),
        (["--protocol", "alternating"], ["'alternating'", "joint, frozen, separate"]),
        (["--protocol", "frozen"], ["frozen", "--init"]),
        (["--steps", "0"], ["steps 0"]),
        (["--batch-size", "10000"], ["batch"]),
        (["--precision", "int4"], ["'int4'"]),
        (["--device", "tpu"], ["--device tpu"]),
        (["--dataset", "svhn"], ["svhn"]),
        (["--init", "nowhere"], ["nowhere"]),
        (["--augment", "-1"], ["augment -1"]),
        (["--augment", "nan"], ["augment nan"]),
        (["--learning-rate", "inf"], ["learning_rate inf"]),
        (["--learning-rate=-1"], ["learning_rate -1"]),
        (["--ema", "nan"], ["ema nan"]),
        (["--warmup=-1"], ["warmup -1"]),
        (["--patience=-1"], ["patience -1"]),
        (["--seed", 2**64], [f"seed {2**64}"]),
        (["--steps", 10**20], [f"steps {10**20}"]),
        (["--length", f"1-{10**20}"], [f"length {10**20}"]),
        (["--ctc-frames", "0", "--init", "tiny"], ["ctc_frames 0"]),
        (["--layers", 10**6, "--init", "tiny"], ["layers 1000000"]),
        (["--patch", "0x0", "--init", "tiny"], ["patch 0"]),
        (["--image-size", "4088x4095"], ["image size 4088x4095", "85,410 patches", "16,384"]),
        (["--heads", "ctc,ctc"], ["--heads ctc,ctc", "once"]),
        (["--validation-share", "nan"], ["validation_share nan"]),
        (["--charset", ""], ["charset ''"]),
        (["--level", "data"], ["level 'data'", "--data"]),
        (["--out", ""], ["--out ''"]),
        (["--shards", "0"], ["shards 0"]),
        (["--shards", "3"], ["batch_size 4", "multiple of 3"]),
        (["--workers=-1"], ["workers -1"]),
    ],
)
def test_train_refuses_in_one_line(
    run_cli: Run, digits: None, tmp_path: Path, arguments: list[object], words: list[str]
) -> None:
    assert is_one_clear_error(run_cli(*train_arguments(tmp_path / "out"), *arguments), *words)
    assert not (tmp_path / "out").exists()


def test_a_batch_is_rounded_to_its_parts_unless_shards_are_given(
    run_cli: Run, digits: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []
    monkeypatch.setattr("seqocr.train.loop.Trainer.fit", lambda self, *_: fitted.append(self.config.batch_size))
    caplog.set_level("INFO", logger="seqocr.train.recipe")
    mixed = train_arguments(tmp_path / "out", "--level", "grid,jitter,wild")
    assert is_one_clear_error(run_cli(*mixed, "--shards", 1), "batch_size 4", "multiple of 3")
    code, _, err = run_cli(*mixed)
    assert code == 0, err
    assert caplog.text.count("batches of 3 lines, not 4: ") == 1
    assert fitted == [3]


def test_threads_that_train_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")  # so that it is as it was in the end
    monkeypatch.delitem(sys.modules, "torch")
    let_idle_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "active"  # somebody's choice
    monkeypatch.delenv("OMP_WAIT_POLICY")
    let_idle_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


def test_the_command_line_sets_threads_before_torch_is_loaded() -> None:
    check = "import sys; from seqocr.cli import app; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_training_on_the_gpu_without_one_is_refused(
    run_cli: Run, digits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert is_one_clear_error(run_cli(*train_arguments(tmp_path / "out", "--device", "cuda")), "no GPU", "cpu")


def test_train_then_train_again_then_read(run_cli: Run, digits: None, tmp_path: Path, image: Path) -> None:
    out = tmp_path / "out"
    code, said, _ = run_cli(*train_arguments(out, "--heads", "ctc", "--length", "1-3"))
    assert (code, said) == (0, f"trained: {out}\n")
    trained = load_recognizer(out)
    assert (list(trained.heads), trained.max_length) == (["ctc"], 3)
    assert trained.provenance["command"].startswith(f"seqocr train --out {out} --steps 2")
    assert is_one_clear_error(run_cli(*train_arguments(out, "--heads", "ctc", "--length", "1-3")), out, "finished")
    assert run_cli("read", image, "--weights", out, "--head", "ctc")[0] == 0


def test_separate_training_is_a_run_a_head_from_the_same_start(run_cli: Run, digits: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rate = ["--learning-rate", "0"]  # so that what is kept are the initial weights
    code, said, _ = run_cli(*train_arguments(out, "--heads", "parallel,ctc", "--protocol", "separate", *rate))
    assert code == 0
    assert said.splitlines() == [f"trained: {out / 'parallel'}", f"trained: {out / 'ctc'}"]
    parallel, ctc = load_recognizer(out / "parallel"), load_recognizer(out / "ctc")
    assert (list(parallel.heads), list(ctc.heads)) == (["parallel"], ["ctc"])
    name = "backbone.embeddings.patch_embeddings.projection.weight"
    torch.testing.assert_close(parallel.encoder.state_dict()[name], ctc.encoder.state_dict()[name])


def test_frozen_training_starts_from_trained_weights(run_cli: Run, digits: None, tmp_path: Path, weights: Path) -> None:
    out = tmp_path / "out"
    arguments = train_arguments(out, "--init", weights, "--protocol", "frozen", "--heads", "ctc", "--length", "3")
    assert run_cli(*arguments)[0] == 0
    before, after = load_recognizer(weights), load_recognizer(out)
    assert list(after.heads) == ["ctc"]
    for name, tensor in before.encoder.state_dict().items():
        assert torch.equal(tensor, after.encoder.state_dict()[name]), name


@pytest.mark.parametrize(("level", "shares"), [([], [2, 1]), (["--level", "data"], [1])])
def test_training_on_lines_of_your_own_says_what_it_gained(
    run_cli: Run, digits: None, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, level: list[str], shares
) -> None:
    if level:
        monkeypatch.setattr(sources, "load_digits", lambda *_: pytest.fail("custom data need no digits"))
    monkeypatch.setattr("seqocr.train.recipe.MIN_LINES", 1)
    out, folder = tmp_path / "out", own_lines(tmp_path / "lines", 30)
    more = ["--data", folder, "--validation-share", 0.3, "--batch-size", 6, *level]
    code, said, _ = run_cli(*train_arguments(out, "--init", weights, *more))
    assert code == 0
    for word in ("before", "after", "parallel", "validation lines", f"trained: {out}"):
        assert word in " ".join(said.split())
    facts = load_recognizer(out).provenance
    assert [part["weight"] for part in facts["data"]] == shares
    learned = facts["data"][0]["lines"]
    assert facts["held_out"] + learned == 30
    assert facts["config"]["learning_rate"] == FINE_TUNING["learning_rate"]
    assert facts["validation"][0]["step"] == 0
    code, _, said = run_cli("eval", "--data", folder, "--weights", out, "--out", tmp_path / "tables")
    assert code == 0
    (count,) = re.findall(r"warning: these weights learned from (\d+) of these 30 lines", said)
    assert learned <= int(count) < 30  # some of those held out are the same as others
    kept = json.loads((out / "config.json").read_text())["provenance"]["calibration"]
    assert {head: each["lines"] > 0 for head, each in kept.items()} == {"ar": True, "parallel": True, "ctc": True}


def test_calibrating_warns_of_lines_that_were_learned_and_refuses_few(
    run_cli: Run, tmp_path: Path, weights: Path
) -> None:
    folder, config = own_lines(tmp_path / "lines", 49), json.loads((weights / "config.json").read_text())
    refused = run_cli("calibrate", "--weights", weights, "--data", folder, "--device", "cpu")
    assert is_one_clear_error(refused, "49 lines are too few to calibrate by: give at least 50")
    folder = own_lines(tmp_path / "lines", 50)
    some = [line.digest for line in LineFolder(folder).lines[:7]]
    count = sum(line.digest in some for line in LineFolder(folder).lines)  # some are the same as others
    config["provenance"] = {"data": [{"source": "lines of x", "lines": 7, "digests": " ".join(some)}]}
    (weights / "config.json").write_text(json.dumps(config))
    code, _, said = run_cli("calibrate", "--weights", weights, "--data", folder, "--device", "cpu")
    assert code == 0
    assert f"warning: these weights learned from {count} of these 50 lines" in said
    kept = json.loads((weights / "config.json").read_text())["provenance"]["calibration"]
    assert {each["source"] for each in kept.values()} == {"lines of lines"}


@pytest.mark.parametrize("charset", ["xyz", None])
def test_another_charset_trains_through_every_head_from_a_folder(
    run_cli: Run, tmp_path: Path, weights: Path, charset: str | None
) -> None:
    folder = own_lines(tmp_path / "lines", 40, charset="xyz", longest=5)
    given = ["--charset", charset] if charset else []
    for start in ([], ["--init", weights, "--charset", "zyx"]):
        out = tmp_path / f"out-{len(start)}"
        assert run_cli(*train_arguments(out, "--data", folder, *given, *start))[0] == 0
        trained = load_recognizer(out)
        assert (trained.charset, trained.max_length) == ("zyx" if start else "xyz", 5)
        code, said, _ = run_cli("read", folder, "--weights", out, "--format", "csv")
        assert (code, len(said.splitlines())) == (0, 41)
        for head in ("ar", "parallel", "ctc"):
            assert set("".join(trained.decode(LineFolder(folder).batch(range(40))[0], head).texts)) <= set("xyz")


def test_digits_may_stand_for_other_symbols(run_cli: Run, digits: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_cli(*train_arguments(out, "--charset", "abcdefghij", "--length", "1-3"))[0] == 0
    assert load_recognizer(out).charset == "abcdefghij"


def test_levels_and_lines_of_your_own_are_mixed(run_cli: Run, digits: None, tmp_path: Path, weights: Path) -> None:
    folder = own_lines(tmp_path / "lines", 30)
    more = ["--init", weights, "--data", folder, "--level", "data,grid", "--length", "1-3", "--repeats", "0.3"]
    assert run_cli(*train_arguments(tmp_path / "out", *more))[0] == 0
    facts = load_recognizer(tmp_path / "out").provenance
    assert [part["source"] for part in facts["data"]] == ["lines of lines", "made for the test"]
    assert facts["config"]["repeats"] == 0.3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--charset", "0123"], ["1234.png", "'5'", "charset"]),
        (["--data", "nowhere"], ["nowhere is not a folder"]),
        (["--validation-share", "0"], ["share of 0"]),
        (["--level", "grid,misty"], ["unknown level 'misty'"]),
        (["--level", "grid", "--charset", "ab"], ["charset 'ab'", "10 classes"]),
        (["--repeats", "2", "--level", "grid"], ["repeats 2"]),
        (["--patch", "14x7"], ["--patch", "--init"]),
        (["--layers", "9"], ["--layers", "--init"]),
        (["--layers", "0", "--init", "strings"], ["layers 0", "1 to 128"]),
        (["--optimizer", "sgd"], ["unknown optimizer 'sgd'"]),
    ],
)
def test_training_on_a_folder_refuses_in_one_line(
    run_cli: Run, digits: None, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    folder = own_lines(tmp_path / "lines", 12)
    (folder / "1234.png").write_bytes((folder / "line-000.png").read_bytes())
    with (folder / "metadata.csv").open("a") as file:
        file.write("\n1234.png,15")
    code, _, err = run_cli(*train_arguments(tmp_path / "out", "--data", folder, *arguments))
    assert code == 2
    assert all(word in err for word in words)
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_weights_are_fitted_to_other_lengths_and_patches(
    run_cli: Run, digits: None, tmp_path: Path, weights: Path
) -> None:
    out = tmp_path / "out"
    sizes = ["--image-size", "40x160", "--patch", "20x20", "--layers", 3, "--length", "1-6"]
    assert run_cli(*train_arguments(out, "--init", weights, *sizes))[0] == 0
    trained = load_recognizer(out)
    assert (trained.encoder.image_size, trained.max_length) == ((40, 160), 6)
    assert trained.encoder.config.num_hidden_layers == 3
    assert (trained.processor.height, trained.processor.width) == (40, 160)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(KeyboardInterrupt(), 130, "interrupted"), (SystemExit(143), 143, "terminated"), (BrokenPipeError(), 141, "")],
)
def test_what_ends_a_command_is_one_word_and_an_exit_code(
    run_cli: Run, digits: None, tmp_path: Path, monkeypatch: Any, error: BaseException, code: int, said: str
) -> None:
    def ended(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("seqocr.cli._discarding", lambda code: code)  # pytest still needs the output
    monkeypatch.setattr("seqocr.train.recipe.Trainer", ended)
    found, _, err = run_cli(*train_arguments(tmp_path / "out", "--heads", "ctc"))
    assert (found, err.strip()) == (code, said)


# eval


def test_eval_writes_every_table(run_cli: Run, digits: None, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    code, said, _ = run_cli("eval", "--weights", weights, "--out", out, "--length", "1-3", "--count", 20)
    assert code == 0
    assert "20 strings of test digits (grid), made for the test" in " ".join(said.split())
    names = {"predictions", "summary", "positions", "confusion", "comparisons"}
    assert {path.stem for path in out.iterdir()} == names
    as_text = {"text": str, "prediction": str}
    predictions = pd.read_csv(out / "predictions.csv", dtype=as_text, keep_default_na=False)
    assert len(predictions) == 60
    assert predictions["head"].unique().tolist() == ["ar", "parallel", "ctc"]
    assert pd.read_csv(out / "summary.csv")["strings"].tolist() == [20] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--heads", "lstm"], ["'lstm'", "ar-generate"]),
        (["--split", "dev"], ["'dev'"]),
        (["--dataset", "svhn"], ["svhn"]),
        (["--length", "abc"], ["--length abc"]),
        (["--count", "0"], ["count 0"]),
        (["--count", 10**20], [f"count {10**20}"]),
        (["--count", 10**9], ["1,000,000,000", "fewer"]),
        (["--seed", 2**64], [f"seed {2**64}"]),
        (["--length", 10**20], [f"length {10**20}"]),
        (["--heads", "ctc,ctc"], ["--heads ctc,ctc"]),
        (["--count", "1000"], ["1,000", "fewer"]),
        (["--device", "tpu"], ["--device tpu"]),
        (["--weights", "nowhere"], ["nowhere"]),
    ],
)
def test_eval_refuses_in_one_line(
    run_cli: Run, digits: None, weights: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    out = tmp_path / "out"
    assert is_one_clear_error(run_cli("eval", "--weights", weights, "--out", out, *arguments), *words)
    assert not out.exists()


# data


def test_data_says_what_there_is_and_draws_it(run_cli: Run, digits: None, tmp_path: Path) -> None:
    code, out, _ = run_cli("data", "--picture", tmp_path / "sheet.png")
    assert code == 0
    assert "train: 160 digits, made for the test" in out
    assert "test: 90 digits" in out
    assert Image.open(tmp_path / "sheet.png").size == (864, 640)


def test_data_fetches_fonts(run_cli: Run, digits: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("seqocr.data.sources.font_packages.load_families", list)
    code, out, _ = run_cli("data", "--fonts", tmp_path / "fonts")
    assert code == 0
    assert f"fonts: 0 families in {tmp_path / 'fonts'}" in out
    (tmp_path / "file").write_text("x")
    assert is_one_clear_error(run_cli("data", "--fonts", tmp_path / "file"), "cannot be written")


def test_data_of_an_unknown_set_is_refused(run_cli: Run) -> None:
    assert is_one_clear_error(run_cli("data", "--dataset", "svhn"), "unknown data set 'svhn'")


# usage


COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def squeezed(text: str) -> str:
    """Without colours, and what wraps and frames a table: blanks, and lines beside the text."""
    return re.sub(r"\x1b\[[0-9;]*m|[\s│]", "", text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fly", "No such command 'fly'"),
        ("read", "Missing argument"),
        ("train", "Missing option '--out'"),
        ("eval --no-such-option", "--no-such-option"),
        ("train --steps x", "Invalid value for '--steps'"),
    ],
)
def test_wrong_usage_is_named_ends_with_2_and_no_traceback(
    run_cli: Run, monkeypatch: pytest.MonkeyPatch, arguments: str, words: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run_cli(*arguments.split())
    assert (code, out) == (2, "")
    assert squeezed(words) in squeezed(err)
    assert "Traceback" not in err


def test_help_lists_every_command_and_says_what_it_does(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run_cli("--help")
    assert (code, err) == (0, "")
    assert {"data", "train", "average", "eval", "read", "export"} <= COMMANDS.keys()
    for name, command in COMMANDS.items():
        assert squeezed(name + command.help.split("\n\n")[0]) in squeezed(out)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_says_of_every_option_what_it_is_and_what_it_is_without(
    run_cli: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Brackets in a help text were taken for markup, and left out."""
    monkeypatch.setenv("COLUMNS", "100")  # narrow ones cut names off
    code, out, err = run_cli(name, "--help")
    assert (code, err) == (0, "")
    said, parameters = squeezed(out), COMMANDS[name].params
    assert squeezed(inspect.getdoc(COMMANDS[name].callback) or "-") in said
    assert len(parameters) >= 2
    for parameter in parameters:
        assert all(option in said for option in parameter.opts)
        assert parameter.help
        about = squeezed(parameter.help)
        if parameter.required:
            about += "[required]"
        elif isinstance(parameter.show_default, str):
            about += squeezed(f"[default: ({parameter.show_default})]")
        elif isinstance(parameter.default, str | float) and not isinstance(parameter.default, bool):
            about += squeezed(f"[default: {parameter.default}]")
        assert about in said


def test_help_of_read_fits_on_a_screen_and_names_heads_and_checks(
    run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_cli("read", "--help")[1].splitlines()
    assert len(lines) <= 48
    assert max(map(len, lines)) <= 80
    said = squeezed("".join(lines))
    assert all(name in said for name in (*HEADS, "ar-speculative", "luhn", "mod97", "ean", "isbn", "damm"))


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_breaks_no_line_before_it_is_full(run_cli: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    about = run_cli(name, "--help")[1].split("╭")[0].splitlines()
    for line, following in pairwise(map(str.strip, about)):
        if line and following and not following.startswith("`"):
            assert len(f" {line} {following.split()[0]}") > 78, line


def test_the_version(run_cli: Run) -> None:
    assert run_cli("--version") == (0, f"seqocr {seqocr.__version__}\n", "")


def test_a_shell_completes_commands() -> None:
    script = Path(sys.executable).with_name("seqocr")
    asked = {"_SEQOCR_COMPLETE": "complete_bash", "COMP_WORDS": "seqocr pre", "COMP_CWORD": "1"}
    done = subprocess.run([script], env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["predict-batch"]


def test_earlier_names_still_work_with_a_line_of_advice_and_are_not_shown(
    run_cli: Run, weights: Path, image: Path
) -> None:
    code, out, err = run_cli("read", image, "--weights", weights, "--width=3", "--top", 2)
    assert (code, err) == (0, "--width is now called --beam-width\n")
    assert out == run_cli("read", image, "--weights", weights, "--beam-width", 3, "--top", 2)[1]
    code, out, err = run_cli("read", image, "--weights", weights, "--accept", "0.99")
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "--accept is now called --target-precision"
    assert err.splitlines()[1].startswith("error: --target-precision 0.99: ")
    code, out, err = run_cli("read-many", "nowhere", "--out", "out", "--shard", "0")
    assert (code, out, err.splitlines()[0]) == (2, "", "read-many is now called predict-batch")
    assert "--shard 0" in err
    for arguments in (["--help"], ["read", "--help"]):
        said = run_cli(*arguments)[1]
        assert not any(name in said for name in ("read-many", "--accept", "--width"))


def test_every_setting_of_a_training_is_an_option() -> None:
    groups = {parameter.name: parameter.rich_help_panel for parameter in COMMANDS["train"].params}
    for kind in (TrainConfig, Start, Source, DistributedConfig):
        assert {f.name: f.metadata["group"] for f in fields(kind)}.items() <= groups.items()


def test_average_writes_the_mean_of_runs(run_cli: Run, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "mean"
    code, said, err = run_cli("average", weights, weights, "--out", out)
    assert (code, said, err) == (0, f"averaged: {out}\n", "")
    kept = load_recognizer(weights).state_dict()
    assert all(torch.equal(weight, kept[name]) for name, weight in load_recognizer(out).state_dict().items())
    code, _, err = run_cli("average", weights, tmp_path / "none", "--out", out)
    assert code == 2
    assert err.startswith(f"error: {tmp_path / 'none' / 'config.json'} is missing")


@pytest.mark.parametrize(
    ("count", "says"),
    [(400, "In the study: "), (30, "No advice: Not enough data: 10 labels of one length are too few")],
)
def test_advice_is_given_or_said_to_need_more(
    run_cli: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, says: str
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("seqocr.inference.predictions._KNOWN", 0.0)
    folder = own_lines(tmp_path / "lines", count, longest=3)
    code, out, _ = run_cli("advise", "--data", folder, "--weights", weights)
    assert code == 0
    assert "Labels of" in out
    assert f"of {count} lines" in out
    assert says in out


def test_weights_that_do_not_know_such_lines_say_so_first_and_recommend_no_head(
    run_cli: Run, weights: Path, tmp_path: Path
) -> None:
    folder = own_lines(tmp_path / "lines", 60, longest=3)
    for command in (("advise",), ("eval", "--out", tmp_path / "out")):
        code, out, _ = run_cli(*command, "--data", folder, "--weights", weights)
        assert code == 0
        assert out.startswith("These weights do not know such lines: ")
        assert "In the study" not in out
        assert "No advice" not in out


def test_images_are_sampled_where_there_are_many(
    run_cli: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqocr.cli.advise._MOST", 60)
    _, out, _ = run_cli("advise", "--data", own_lines(tmp_path / "lines", 300), "--weights", weights)
    (count,) = re.findall(r"Images: of (\d+) lines", out)
    assert 30 < int(count) < 100


def test_advice_on_what_is_no_folder_of_lines_is_one_clear_error(run_cli: Run, weights: Path, tmp_path: Path) -> None:
    assert is_one_clear_error(run_cli("advise", "--data", tmp_path / "nothing", "--weights", weights), "nothing")
    folder = own_lines(tmp_path / "lines", 5, charset="xyz")
    code, _, err = run_cli("advise", "--data", folder, "--weights", weights)
    assert code == 2
    assert "Traceback" not in err
    assert "not in the charset" in err
