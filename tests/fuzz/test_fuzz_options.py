"""Numbers out of range, and texts where something else is meant, for every option there is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqocr.data.sources import datasets as sources
from seqocr.train.config import Source, Start, TrainConfig
from tests.conftest import barred
from tests.fuzz.conftest import Command, examples, strict_json

NUMBERS = ["nan", "inf", "-inf", "-1", "1e300", str(2**31), str(2**64), "-9" * 30, "", "x", "1,5", "9" * 5000]
SIZES = ["0x0", "-1x-1", "1x1x1", "x", "28x", f"{10**9}x{10**9}", f"{2**70}x1", "0", "0-0", "-5--1", "1-", "5-1"]
TEXTS = [
    "",
    " ",
    ",",
    "ctc,ctc",
    "ar,",
    "lstm",
    "data,data",
    "grid,",
    "00",
    "\x1b[31m",
    "a\nb",
    "\udcff",
    "[/red]",
    "/dev/null",
]
OF_TRAIN = {f.name: f for kind in (Start, Source, TrainConfig) for f in fields(kind)}


def bad_values(name: str) -> list[str]:
    """Of an option of `train`, by its type."""
    kind = str(OF_TRAIN[name].type)
    if "tuple[int" in kind:
        return [*NUMBERS, *SIZES]
    return NUMBERS if "int" in kind or "float" in kind else TEXTS


@pytest.fixture(autouse=True)
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "load_digits", lambda split, *_: barred(60, split))
    monkeypatch.setattr(sources, "load_digits_or_validation", lambda split, *_: barred(60, split))


@pytest.mark.kind("options of train")
@pytest.mark.parametrize("name", list(OF_TRAIN))
def test_options_of_train(command: Command, weights: Path, tmp_path: Path, name: str) -> None:
    """With lines that are not there, so that none of them trains: each is answered before, or for its lines."""
    rest = {"data": tmp_path / "none", "init": weights, "encoder": "tiny"}
    for value in bad_values(name):
        given = [f"--{key}={other}" for key, other in rest.items() if key != name]
        flag = f"--{name.replace('_', '-')}={value}"
        command.refused("train", "--out", tmp_path / "out", *given, flag)


READ = ["batch", "min-confidence", "head", "format", "device", "engine", "weights"]


@pytest.mark.kind("options of read")
@pytest.mark.parametrize("name", READ)
def test_options_of_read(command: Command, weights: Path, line: Path, name: str) -> None:
    rest = {"weights": weights, "format": "json"}
    of = NUMBERS if name in ("batch", "min-confidence") else TEXTS
    for value in [*of, "0", "1", "4096", "4097", "0.5", "1.5", "cuda", "openvino", "ar-generate"]:
        given = [f"--{key}={other}" for key, other in rest.items() if key != name]
        ended = command("read", line, *given, f"--{name}={value}")
        if ended.code == 0 and name != "format":
            assert len(strict_json(ended.out)) == 1


EVAL = ["count", "seed", "length", "heads", "split", "level", "dataset", "root", "device", "engine", "weights", "data"]


@pytest.mark.kind("options of eval")
@pytest.mark.parametrize("name", EVAL)
def test_options_of_eval(command: Command, weights: Path, tmp_path: Path, name: str) -> None:
    rest = {"weights": weights, "heads": "ctc", "length": "2", "count": "3"}
    of = {"count": NUMBERS, "seed": NUMBERS, "length": [*NUMBERS, *SIZES]}.get(name, TEXTS[:9])
    for i, value in enumerate([*of, "1", "30", "31"]):
        given = [f"--{key}={other}" for key, other in rest.items() if key != name]
        out = tmp_path / str(i)
        ended = command("eval", *given, f"--{name}={value}", "--out", out)
        assert out.exists() == (ended.code == 0)


@pytest.mark.kind("options of export, average and data")
@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS])
def test_options_of_the_others(command: Command, weights: Path, tmp_path: Path, value: str) -> None:
    out = ("--out", tmp_path / "out")
    command.refused("export", *out, "--weights", weights, f"--runtime={value}")
    command.refused("export", *out, "--weights", weights, f"--precision={value}")
    command.refused("export", *out, "--weights", weights, f"--heads={value or 'x'}")
    command.refused("average", weights, value, *out)
    command.refused("data", "--picture", tmp_path / "picture.png", f"--level={value}")


@pytest.mark.kind("any words at all")
@examples(100)
@given(
    first=st.sampled_from(["read", "eval", "train", "export", "average", "data"]),
    words=st.lists(
        st.sampled_from(["--help", "-", "--", "--out", "x"]) | st.text("-ax=,\n é0", max_size=5), max_size=4
    ),
)
def test_any_words(command: Command, first: str, words: list[str]) -> None:
    weights = {"read": ["none", "--weights"], "eval": ["--weights"], "train": ["--init"], "export": ["--weights"]}
    command(first, *weights.get(first, []), "/none", *words)
