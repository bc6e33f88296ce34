"""Options from a TOML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seqocr.data.sources import datasets as sources
from seqocr.files import read_json
from tests.conftest import coded

Run = Callable[..., tuple[int, str, str]]


def write(folder: Path, *lines: str) -> Path:
    path = folder / "run.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_run_from_a_file_can_be_repeated_without_it(
    tmp_path: Path, run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "load_digits", lambda split, *_: coded(60, split))
    path = write(
        tmp_path,
        f'out = "{tmp_path / "out"}"',
        "steps = 3",
        'image-size = "28x84"',
        'heads = ["ctc", "parallel"]',
        "length = 3",
        "batch_size = 4",
        "validation-strings = 10",
    )
    code, _, error = run_cli("train", "--config", path, "--steps", "2")
    assert code == 0, error
    provenance = read_json(tmp_path / "out" / "config.json")["provenance"]
    assert (provenance["step"], provenance["config"]["length"]) == (2, 3)
    assert provenance["command"] == (
        f"seqocr train --steps 2 --out {tmp_path / 'out'} --image-size 28x84 --heads ctc,parallel "
        "--length 3 --batch-size 4 --validation-strings 10"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stepps = 3", "stepps is no option: did you mean steps?"),
        ("banana = 3", "banana is no option: see seqocr train --help"),
        ('steps = "many"', "steps = many: "),
        ("seed = 2.5", "seed = 2.5: "),
        ("marks = 3", "marks = 3: true and false are for options that take no value, and for these alone"),
        ("data = true", "data = True: true and false are for options that take no value, and for these alone"),
        ("heads =", "is not TOML ("),
        ("[train]", "train is no option"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, run_cli: Run, line: str, said: str) -> None:
    path = write(tmp_path, line)
    code, out, error = run_cli("train", "--out", tmp_path / "out", "--config", path)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"error: --config {path}")
    assert said in error
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there(tmp_path: Path, run_cli: Run) -> None:
    code, _, error = run_cli("serve", "--config", tmp_path / "none.toml")
    assert (code, error) == (
        2,
        f"error: --config {tmp_path}/none.toml cannot be read (No such file or directory): give a TOML file\n",
    )


def test_a_value_out_of_bounds_is_refused_as_when_typed(tmp_path: Path, run_cli: Run) -> None:
    path = write(tmp_path, "port = 99999")
    assert run_cli("serve", "--config", path) == run_cli("serve", "--port", 99999)
