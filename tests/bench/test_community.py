"""Results of others are scored again, and what is wrong with them is said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench import community
from bench.community import SETS, community_table, digest, list_texts, read_about, score, submit, write_task
from seqocr.data.sources.datasets import Digits, embedded_digits, load_digits_or_validation
from seqocr.errors import InputError

CARD = Path(__file__).parents[2] / "docs" / "task-card.md"
SAID = {"task": "1", "name": "Theirs", "url": "https://example.org", "commit": "abc", "license": "MIT"}
SAID |= {"learned_from": "MNIST's training half", "machine": "a laptop", "milliseconds": 3}


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> Digits:
    """A small task, of digits that are always there."""
    found = embedded_digits()
    monkeypatch.setattr(community, "load_digits", lambda split: found)
    monkeypatch.setattr(community, "STRINGS", 6)
    monkeypatch.setattr(community, "STRINGS_PER_LENGTH", 2)
    monkeypatch.setattr(community, "LENGTHS", range(1, 4))
    return found


Submit = Callable[..., Path]


@pytest.fixture
def submitted(digits: Digits, tmp_path: Path) -> Submit:
    """Writes a result of everything but some lines, with some read wrong."""

    def write(called: str = "theirs", left_out: int = 0, wrong: int = 0, **said: object) -> Path:
        folder = tmp_path / "community" / called / "abc"
        folder.mkdir(parents=True)
        rows = [(of, file, text) for of in SETS for file, text in list_texts(of, digits).items()]
        rows = [(of, file, "x" if i < wrong else text) for i, (of, file, text) in enumerate(rows)][left_out:]
        with (folder / "predictions.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("set", "file", "prediction"), *rows])
        (folder / "about.json").write_text(json.dumps(SAID | said))
        return folder

    return write


def test_the_task_is_the_one_that_the_card_describes() -> None:
    found = load_digits_or_validation("test")
    if found.split != "test":
        pytest.skip("MNIST's test half cannot be had here")
    rows = {line.split("`")[1]: line for line in CARD.read_text().splitlines() if line.startswith("| `")}
    assert [name for name in SETS if f"| `{digest(name, found)}` |" not in rows[name]] == []
    assert len({digest(name, found) for name in SETS}) == len(SETS)


def test_lines_and_texts_are_written(digits: Digits, tmp_path: Path) -> None:
    write_task(tmp_path)
    assert {name: len(list((tmp_path / name).glob("*.png"))) for name in SETS} == dict.fromkeys(SETS, 6)
    with (tmp_path / "grid" / "metadata.csv").open() as file:
        rows = {row["file_name"]: row["text"] for row in csv.DictReader(file)}
    assert rows == list_texts("grid", digits)
    assert Image.open(tmp_path / "grid" / "03-001.png").size == (84, 28)


def test_predictions_are_scored_again(submitted: Submit) -> None:
    found = score(submitted(wrong=2))
    assert {name: each.estimate for name, each in found.items()} == {
        "five-digits": pytest.approx(4 / 6),
        **dict.fromkeys(SETS[1:], 1),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left_out": 1}, "1 lines of five-digits are missing, as 0000.png"),
        ({"license": ""}, "does not say license"),
        ({"task": "0"}, "is of task '0': this is task 1"),
        ({"commit": "def"}, "is of commit def: call its folder so"),
    ],
)
def test_what_is_wrong_is_said(submitted: Submit, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(submitted(**change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("set,file,prediction\nspots,a.png,1\n", "no set is called 'spots'"),
        ("set,file\n", "give set, file, prediction"),
        ("set,file,prediction\ngrid,a.png,1\ngrid,a.png,1\n", "has grid/a.png twice"),
        ("set,file,prediction\ngrid\n", "line 2, is too short"),
        ("set,file,prediction\n", "has no predictions"),
    ],
)
def test_rows_that_are_none_are_named(submitted: Submit, rows: str, message: str) -> None:
    folder = submitted()
    (folder / "predictions.csv").write_text(rows)
    with pytest.raises(InputError, match=message):
        score(folder)


def test_lines_that_the_task_does_not_have_are_named(submitted: Submit) -> None:
    folder = submitted()
    with (folder / "predictions.csv").open("a") as file:
        file.write("grid,99-000.png,1\n")
    with pytest.raises(InputError, match=r"grid has no line 99-000\.png"):
        score(folder)


def test_the_table_has_the_best_first(submitted: Submit) -> None:
    submitted("worse", wrong=24, name="Worse | of\nall")
    table = community_table(submitted("better").parents[1])
    assert table.index("Theirs") < table.index("Worse \\| of all")
    assert "| 100.0 % (61.0 to 100.0) |" in table
    assert "(better/abc)" in table


def test_about_is_fields_by_name(submitted: Submit) -> None:
    folder = submitted()
    (folder / "about.json").write_text("[1]")
    with pytest.raises(InputError, match="holds no fields by name"):
        score(folder)


def test_a_result_of_ours_is_written_read_and_timed(digits: Digits, tmp_path: Path) -> None:
    sizes: list[int] = []

    def read(images: Sequence[torch.Tensor]) -> list[str]:
        sizes.append(len(images))
        return ["12"] * len(images)

    folder = tmp_path / "ours" / "abc"
    submit(read, {key: value for key, value in SAID.items() if key not in ("task", "milliseconds")}, folder)
    truth = {name: list_texts(name, digits).values() for name in SETS}
    assert {name: round(exact.estimate * exact.n) for name, exact in score(folder).items()} == {
        name: [*texts].count("12") for name, texts in truth.items()
    }
    hardest = len(truth[SETS[-1]])
    assert sizes[-hardest:] == [1] * hardest  # lines one after another
    assert max(sizes) > 1
    assert read_about(folder)["milliseconds"] >= 0
