"""results/report.md and the pages beside it, plots and tables from saved measurements alone. Nothing here measures."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core import plotting
from bench.core.damages import check
from bench.core.experiment import DEPLOYMENT, DETAILS, LONGEST_TABLE, REPORT, Experiment, Section, stored
from bench.core.formatting import listed, markdown_table
from bench.core.sealed import REMEDY
from bench.core.store import Store
from bench.core.templating import prose, render
from bench.core.timer import effort
from bench.experiments import experiments
from bench.report import answer_picture, repeats
from bench.report.first_screen import first_screen
from bench.report.questions import questions
from bench.study.sections import real_amounts
from seqocr.errors import InputError
from seqocr.files import replacing, write_text
from seqocr.version import __version__

NEEDED = ("accuracy", "latency", "costs")  # without which there is no first screen
# Between these lines, README holds the first screen.
_BEGIN, _END = "<!-- numbers: written by `make report`, do not edit -->", "<!-- end of numbers -->"


def everything(store: Store) -> dict[str, Any]:
    """The results of every experiment of which something is stored, by name.

    Raises:
        InputError: what the first screen needs has not been measured, or is damaged.
    """
    check(store)
    if (study := store.folder.parent.parent / "study").is_dir():
        check(Store(study))
    found = {each.name: each.results(store) for each in experiments()}
    if missing := [name for name in NEEDED if found.get(name) is None]:
        raise InputError(f"{store.folder} has nothing of {listed(missing)}: measure first, with `make bench`")
    return {name: results for name, results in found.items() if results is not None}


def write_report(store: Store, folder: Path) -> Path:
    """Write all pages, plots/ and tables/ into the results folder; returns the path of report.md.

    Raises:
        InputError: what was measured is damaged.
    """
    try:
        found = everything(store)
        texts = pages(store, found, repeats.summary(folder))
        _write_tables(found, folder / "tables")
        _draw(found, store, folder / "plots")
    except (InputError, OSError):
        raise
    except Exception as error:  # whatever statistics and plots say of rows that are whole, but of something else
        raise InputError(f"{store.folder} gives no report ({type(error).__name__}: {error}): {REMEDY}") from error
    for name, text in texts.items():
        write_text(folder / f"{name}.md", text)
    return folder / f"{REPORT}.md"


def pages(store: Store, found: dict[str, Any], repeated: repeats.Summary | None = None) -> dict[str, str]:
    """The text of each page, by name."""
    said: dict[str, dict[str, Any]] = {}
    said[REPORT] = {
        "first_screen": first_screen(found),
        "measured": measured(store),
        "questions": questions(found),
        "restarts": found["latency"].restarts,
        "studied": "dependence" in found,
        "amounts": real_amounts(),
    }
    said[DETAILS] = {
        "measured": measured(store),
        "repeated": repeated,
        "steadiness": prose(
            "steadiness",
            effort=_effort(store),
            repeated=repeated,
            first_screen=repeats.summary(store.folder.parent.parent / repeats.FIRST_SCREEN),
        ),
        "run": store.folder.name,
        "restarts": found["latency"].restarts,
    }
    said[DEPLOYMENT] = {"measured": measured(store)}
    made = list(_made_sections(store, found))
    return {name: render(name, sections=list(_on_page(name, made)), **said[name]) for name in said}


def measured(store: Store) -> str:
    """One line: what was measured, when, on what, at which commit."""
    facts = store.facts("run")
    return prose(
        "measured",
        day=facts["finished"][:10],
        **_commits(store),
        machine=facts["environment"],
        preset=facts["preset"],
        version=__version__,
    )


def _commits(store: Store) -> dict[str, list[str]]:
    """Commits that parts were measured at, or, of those that were verified since, that they were verified at."""
    facts = [store.facts(part) for part in sorted(_regular_parts(store))]
    measured = [each.get("commit") or "an unknown one" for each in facts if "verified" not in each]
    verified = [each["verified"]["commit"] for each in facts if "verified" in each]
    return {"commits": list(dict.fromkeys(measured)), "verified": list(dict.fromkeys(verified))}


def _changed(store: Store, experiment: str) -> str:
    """Whether the code behind an experiment has changed since, as `bench verify --record` noted."""
    facts = [each for part in stored(store, experiment) if (each := store.facts(part)).get("changed")]
    commits = dict.fromkeys(each.get("verified", each).get("commit") for each in facts)
    return f"The code has changed since commit {listed([str(each) for each in commits])}." if commits else ""


def _elsewhere(store: Store, experiment: Experiment) -> str:
    """Which other machine an experiment was measured on. Those on request name theirs."""
    if experiment.on_request:
        return ""
    parts = [part for part in stored(store, experiment.name) if store.is_of_another_machine(part)]
    machines = [store.environment(part) for part in parts]
    named = [f"{each['cpu']}, {each['threads']} threads ({each['vector_instructions']})" for each in machines]
    commits = dict.fromkeys(each["commit"] for each in machines)
    return f"Measured on {listed(dict.fromkeys(named))}, at commit {listed(commits)}." if parts else ""


def _regular_parts(store: Store) -> list[str]:
    """Stored parts, without those measured on request, whose sections name their own machine and commit."""
    return [name for each in experiments() if not each.on_request for name in stored(store, each.name)]


def _effort(store: Store) -> dict[str, int]:
    """`bench.core.timer.effort`, of all that was timed in rounds."""
    tables = [store.read(name) for name in _regular_parts(store) if store.has(name)]
    found = [effort(rows) for rows in tables if "attempt" in rows]
    return {key: sum(each[key] for each in found) for key in ("samples", "again", "disturbed")}


def _shown_experiments(found: dict[str, Any]) -> list[Experiment]:
    return [each for each in experiments() if each.name in found]


def _made_sections(store: Store, found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of all experiments, each with its page."""
    for experiment in _shown_experiments(found):
        note = " ".join(filter(None, (_changed(store, experiment.name), _elsewhere(store, experiment))))
        for section in experiment.sections(found[experiment.name], found):
            yield section.page or experiment.page, _shown(section, note)


def _on_page(page: str, made: list[tuple[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """As templates take them. Of the report's own sections, the page of details has what the report leaves out."""
    for where, shown in made:
        if where == REPORT == page:
            yield {**shown, "details": {}, "more": _anchor(shown["title"]) if shown["details"] else ""}
        elif where == page:
            yield shown
        elif where == REPORT and page == DETAILS and shown["details"]:
            yield {**shown, "plot": None, "table": None, "text": "", "note": ""}


def _anchor(title: str) -> str:
    """Of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _shown(section: Section, changed: str) -> dict[str, Any]:
    table, details = section.table, dict(section.details)
    if table is not None and len(table) > LONGEST_TABLE:  # of more heads than the built-in ones
        table, details["All rows"] = table.head(LONGEST_TABLE), table
    shown = {name: markdown_table(what) if isinstance(what, pd.DataFrame) else what for name, what in details.items()}
    written = None if table is None else markdown_table(table)
    return {**vars(section), "table": written, "details": shown, "note": changed}


def _write_tables(found: dict[str, Any], folder: Path) -> None:
    _emptied(folder)
    for experiment in _shown_experiments(found):
        for name, table in experiment.tables(found[experiment.name]).items():
            with replacing(folder / f"{name}.csv") as temporary:
                # Six digits: the last ones of a float are the machine's own.
                table.to_csv(temporary, index=False, float_format="%.6g")


def _draw(found: dict[str, Any], store: Store, folder: Path) -> None:
    _emptied(folder)
    if answer := answer_picture.picture(found):
        plotting.save(answer_picture.NAME, answer, folder)
    for experiment in _shown_experiments(found):
        for name, picture in experiment.plots(found[experiment.name], found).items():
            plotting.save(name, picture, folder)
        for name, source in experiment.pictures(store).items():
            with replacing(folder / f"{name}.png") as temporary:
                shutil.copyfile(source, temporary)


def _emptied(folder: Path) -> None:
    """Without what an earlier report left and this one may not write."""
    for path in folder.glob("*"):
        if path.suffix in (".csv", ".png", ".svg"):
            path.unlink()


def with_numbers(text: str, found: dict[str, Any], line: str, path: Path) -> str:
    """A README's text, with the first screen and a line below it between its marks.

    Args:
        path: the README's, for the error.

    Raises:
        InputError: the text has no marks.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError(f"{path} has no place for the numbers: put {_BEGIN} and {_END} there, a line each")
    return f"{before}{_BEGIN}\n{first_screen(found, 'results/plots')}\n\n{line}\n{_END}{after}"
