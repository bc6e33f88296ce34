"""A config that was edited is refused, of weights as of graphs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seqocr
from seqocr.errors import InputError
from seqocr.inference.load import load
from seqocr.inference.shipped import graphs_path, weights_path
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.config_sum import with_sum
from tests.conftest import small_recognizer

Config = dict[str, Any]


def edit(path: Path, change: Callable[[Config], None]) -> None:
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def permute(config: Config) -> None:
    config["charset"] = config["charset"][::-1]


def flip(config: Config) -> None:
    config["processor"]["keep_aspect"] = not config["processor"]["keep_aspect"]


def darken(config: Config) -> None:
    config["processor"]["mean"] = [0.1, 0.1, 0.1]


def divide(config: Config) -> None:
    """Attention among other heads, whose weights have the same shapes."""
    config["encoder"]["num_attention_heads"] = 1


def heat(config: Config) -> None:
    config["provenance"]["calibration"]["parallel"]["temperature"] = 0.06


def accept(config: Config) -> None:
    config["provenance"]["calibration"]["parallel"]["accepted"][0]["threshold"] = 0.001


EDITS = (permute, flip, darken, divide, heat, accept)


@pytest.mark.parametrize("change", EDITS)
@pytest.mark.parametrize("place", [weights_path, graphs_path])
def test_an_edited_config_of_shipped_weights_is_refused(tmp_path: Path, place: Any, change: Any) -> None:
    shutil.copytree(place("strings"), tmp_path / "copy", ignore=shutil.ignore_patterns("onnx"))
    edit(tmp_path / "copy" / "config.json", change)
    with pytest.raises(
        InputError, match=r"copy/config\.json is not as it was written|not what the graphs were written"
    ):
        load(str(tmp_path / "copy"))


def test_weights_are_written_with_a_checksum_and_load_without_one(tmp_path: Path) -> None:
    save(small_recognizer(), tmp_path)
    edit(tmp_path / "config.json", permute)
    with pytest.raises(InputError, match="if it was edited on purpose, delete its sha256"):
        load_recognizer(tmp_path)
    edit(tmp_path / "config.json", lambda config: config.pop("sha256"))  # as earlier versions wrote it
    assert load_recognizer(tmp_path).charset == "9876543210"


def test_a_checksum_under_another_name_is_refused(tmp_path: Path) -> None:
    save(small_recognizer(), tmp_path)
    edit(tmp_path / "config.json", lambda config: config.update(rha256=config.pop("sha256")))
    with pytest.raises(InputError, match="is not as it was written"):
        load_recognizer(tmp_path)


def test_the_provenance_may_be_added_to(tmp_path: Path) -> None:
    save(small_recognizer(), tmp_path)
    edit(tmp_path / "config.json", lambda config: config["provenance"].update(note="ours"))
    assert seqocr.load(tmp_path).provenance["note"] == "ours"


def test_a_checksum_is_of_the_content_alone() -> None:
    config = {"charset": "01", "provenance": {"calibration": {"ctc": 1}}}
    sealed = with_sum(config)
    assert with_sum(dict(reversed(sealed.items())))["sha256"] == sealed["sha256"]
    assert with_sum({**config, "provenance": {"calibration": {"ctc": 2}}})["sha256"] != sealed["sha256"]
