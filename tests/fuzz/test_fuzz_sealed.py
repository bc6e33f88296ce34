"""Files that hold their own checksum, and measurements that have one each: no bit of them changes without a word."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.core.store import Store
from bench.report.build import write_report
from bench.verify import seal
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer
from seqocr.train.state import STATE, Progress, load_state, save_state
from tests.fuzz.conftest import Command, examples
from tests.fuzz.damage import DAMAGE, damaged
from tests.synthetic import finished_run

copies = count()
Load = Callable[[], Progress]


def refused(run: Any, *arguments: Any) -> str:
    """One sentence."""
    with pytest.raises(InputError) as raised:
        run(*arguments)
    said = str(raised.value)
    assert "\n" not in said
    return said


def flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


# States of trainings.


@pytest.fixture
def state(tmp_path: Path) -> tuple[bytes, Load]:
    """A whole one, and what loads another."""
    model, average = nn.Linear(2, 2), nn.Linear(2, 2)
    parts = model, average, [torch.optim.SGD(model.parameters())]
    save_state(tmp_path, {"settings": 1}, Progress(step=3), *parts)
    load = functools.partial(load_state, tmp_path, {"settings": 1}, *parts)
    assert load().step == 3
    return (tmp_path / STATE).read_bytes(), load


@pytest.mark.kind("states of trainings, bits flipped")
def test_flipped_states(command: Command, state: tuple[bytes, Load], tmp_path: Path) -> None:
    whole, load = state
    for bit in range(0, 8 * len(whole), 9):  # one of every byte, and another of the next
        (tmp_path / STATE).write_bytes(flipped(whole, bit))
        assert f"{STATE} cannot be used" in refused(load)
        command.cases += 1


@pytest.mark.kind("states of trainings, damaged")
@examples(200)
@given(damage=DAMAGE)
def test_damaged_states(command: Command, state: tuple[bytes, Load], tmp_path: Path, damage: tuple) -> None:
    whole, load = state
    if (content := damaged(whole, *damage)) == whole:
        return
    command.cases += 1
    (tmp_path / STATE).write_bytes(content)
    refused(load)


# Configs of weights.


def meant(content: bytes) -> Any:
    """What a config says of how weights read; None of what is no JSON."""
    try:
        return {key: value for key, value in json.loads(content).items() if key != "provenance"}
    except ValueError:
        return None


@pytest.mark.kind("config.json, bits flipped")
@examples(120)
@given(place=st.integers(0, 10**6))
def test_flipped_configs(command: Command, weights: Path, tmp_path: Path, place: int) -> None:
    folder = tmp_path / "weights"
    if not folder.exists():
        shutil.copytree(weights, folder)
    whole = (weights / "config.json").read_bytes()
    content = flipped(whole, place % (8 * len(whole)))
    (folder / "config.json").write_bytes(content)
    command.cases += 1
    if meant(content) == meant(whole):  # of a place in the provenance
        return
    refused(load_recognizer, folder)


@pytest.mark.kind("config.json, bits flipped")
def test_a_checksum_whose_name_is_damaged(command: Command, weights: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(weights, tmp_path / "weights")
    whole = (weights / "config.json").read_bytes()
    start = 8 * whole.rindex(b'"sha256"')
    for bit in range(start, start + 8 * len(b'"sha256"'), 3):
        (folder / "config.json").write_bytes(flipped(whole, bit))
        refused(load_recognizer, folder)
        command.cases += 1


# Measurements.


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = finished_run(tmp_path_factory.mktemp("fuzz") / "results").folder.parents[1]
    seal(results)
    return results


@pytest.mark.kind("measurements damaged")
@examples(60)
@given(
    number=st.integers(0, 100),
    damage=st.one_of(DAMAGE, DAMAGE, st.sampled_from(["deleted", "exchanged", "emptied"])),
)
def test_damaged_measurements(command: Command, measured: Path, tmp_path: Path, number: int, damage: Any) -> None:
    results = tmp_path / f"results-{next(copies)}"
    shutil.copytree(measured, results)
    files = sorted(path for path in (results / "raw").rglob("*") if path.is_file())
    path, other = files[number % len(files)], files[(number + 1) % len(files)]
    whole = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    elif damage == "exchanged":
        path.write_bytes(other.read_bytes())
    else:
        path.write_bytes(b"" if damage == "emptied" else damaged(whole, *damage))
    if path.exists() and path.read_bytes() == whole:
        return
    command.cases += 1
    refused(lambda: write_report(Store.latest(results), results))
    assert not (results / "report.md").exists()
