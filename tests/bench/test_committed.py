"""What is committed in results/ and README is what its rows say; whether these are whole is for `make verify`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.core.store import Store
from bench.experiments import experiments
from bench.report import repeats
from bench.report.build import _write_tables, everything, measured, pages, with_numbers
from bench.report.cards import cards
from bench.study.shipped import study_of
from seqocr.advice.recommend import SHIPPED_STUDY, as_json

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def store() -> Store:
    return Store.latest(RESULTS)


@pytest.fixture(scope="module")
def found(store: Store) -> dict[str, Any]:
    return everything(store)


@pytest.fixture(scope="module")
def repeated() -> Any:
    return repeats.summary(RESULTS)


@pytest.fixture(scope="module")
def made(store: Store, found: dict[str, Any], repeated: Any) -> dict[str, str]:
    """The pages, by name, as they are made today."""
    return pages(store, found, repeated)


@pytest.fixture(scope="module")
def published(store: Store, found: dict[str, Any]) -> list[tuple[Store, dict[str, Any]]]:
    """The newest run, and the newest that git knows, with what each says.

    They are one in a clean checkout. `make bench` adds a run to results/ and writes the report of that one, but leaves
    README and the shipped study as they were published.
    """
    stores = [(store, found)]
    listing = subprocess.run(
        ["git", "ls-files", "--", "results/raw/*/run.json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    known = {Path(line).parent.name for line in listing.stdout.splitlines()}
    of_git = [each for each in Store.finished_runs(RESULTS) if each.folder.name in known]
    if of_git and of_git[-1].folder != store.folder:
        stores.append((of_git[-1], everything(of_git[-1])))
    return stores


def test_the_shipped_study_is_the_committed_one(published):
    shipped = json.loads(SHIPPED_STUDY.read_text())
    assert any(as_json(study_of(each)) == shipped for _, each in published), "run `make report`"


def test_the_committed_pages_are_what_the_committed_rows_say(made):
    for name, text in made.items():
        assert (RESULTS / f"{name}.md").read_text(encoding="utf-8") == text, "run `make report`"


def test_the_report_is_read_in_minutes(made):
    assert len(made["report"].splitlines()) <= 150
    assert len(made["report"].split()) <= 1800


def test_paragraphs_are_short(made, found):
    """A claim a sentence, and no paragraph that nobody reads."""
    for name, text in made.items():
        blocks = [block for block in text.split("\n\n") if not block.startswith(("|", "#", "<", "!"))]
        assert [block for block in blocks if len(block.split()) > 80] == [], name
    sections = [
        section for each in experiments() if each.name in found for section in each.sections(found[each.name], found)
    ]
    assert [section.title for section in sections if section.text.count("\n\n") > 1] == []


def test_the_committed_tables_are_what_the_committed_rows_say(found, tmp_path):
    _write_tables(found, tmp_path)
    made = {path.name: path for path in tmp_path.iterdir()}
    committed = {path.name: path for path in (RESULTS / "tables").iterdir()}
    assert made.keys() == committed.keys()
    for name, path in made.items():
        before = pd.read_csv(committed[name]).rename(columns={"law": "labels", "visit": "sample"})  # as called before
        # Another machine's arithmetic may differ in the sixth digit.
        pd.testing.assert_frame_equal(pd.read_csv(path), before, rtol=2e-5)


def test_readmes_numbers_are_the_reports(published):
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    texts = [with_numbers(text, says, measured(each), path) for each, says in published]
    assert text in texts, "run `make report`"


def test_the_model_cards_are_what_weights_and_rows_say(published):
    made = [cards(*each) for each in published]
    for path in made[0]:
        assert path.read_text(encoding="utf-8") in [texts[path] for texts in made], "run `make report`"


def test_every_picture_of_the_pages_is_committed():
    text = "".join(path.read_text(encoding="utf-8") for path in RESULTS.glob("*.md"))
    names = {part.split(")")[0].split('"')[0] for part in text.split("plots/")[1:]}
    assert names
    assert [name for name in sorted(names) if not (RESULTS / "plots" / name).is_file()] == []
