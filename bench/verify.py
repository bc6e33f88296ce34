"""Does the code still behave as it did when results were measured, and are the results whole? In seconds.

What differs is printed, and with `record` noted: the report says so beside the section, and `make bench` measures it
again. Only what cannot stand is a failure: damaged rows, a commit that is not in the history, a first screen that is
stale when a version is tagged.
"""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.damages import check, damages
from bench.core.experiment import Bench, Experiment, Part
from bench.core.fingerprint import libraries
from bench.core.store import Store, changes
from bench.experiments import experiments
from bench.report import repeats
from bench.report.build import everything, measured, pages, with_numbers
from bench.report.cards import cards
from bench.study import cost, pipeline
from bench.study.again import again, changed_settings
from seqocr import environment
from seqocr.data.folder import LineFolder
from seqocr.data.sources.datasets import DIGITS
from seqocr.errors import InputError

# Of a sample of predictions, how many another processor may make otherwise: sums in another order, and 8-bit products
# on processors without instructions for them. Between AMD and Intel, 600 and 240 of 600 and 240 agreed.
MORE_DISAGREEMENTS = 3
_ROOT = Path(__file__).parents[1]
_PREDICTED = ("prediction", "right", "confidence", "passes", "text")  # no names of rows


@dataclass
class Findings:
    """Attributes:
    same: parts that behave as they did when they were measured.
    changed: by part, what differs.
    notes: what could not be compared, and why.
    failures: what cannot stand.
    """

    same: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        changed = [f"{part}: {', '.join(what)} differs" for part, what in self.changed.items()]
        return [*changed, *self.notes, *(f"failed: {line}" for line in self.failures)]


def verify(results: Path, record: bool = False, root: Path = _ROOT) -> Findings:
    """Compare the run that was finished last, and the study, with the code as it is.

    Args:
        record: note in the results what was found: of parts that behave as they did, that this commit's code does so;
            of others, what differs.
        root: of the repository whose history has the commits.

    Raises:
        InputError: there is no run, or what is to be recorded is of no commit.
    """
    commit = environment.commit()
    if record and (not commit or commit.endswith("+")):
        raise InputError("what is verified is recorded with its commit: commit the code first")
    store, kept, findings = Store.latest(results), Store(results / "study"), Findings()
    findings.failures += [line for folder in _raw(results) for line in damages(Store(folder))]
    if findings.failures:
        return findings
    bench = _bench(store)
    for experiment in experiments():
        for part in experiment.parts(store.facts("run")["preset"], bench):
            if store.facts(part.name).get("finished"):
                fingerprint = experiment.fingerprint(part, bench)
                changed = changes(store.facts(part.name), _depends(experiment, part, store), fingerprint)
                changed += _mispredicted(experiment, part, bench, findings)
                _note(store, part.name, changed, fingerprint, findings, commit if record else None)
    if kept.facts("study"):
        settings = pipeline.depends(pipeline.SIZES[pipeline.SHOWN])
        _note(kept, "study", changed_settings(kept, "study", settings), {}, findings, commit if record else None)
        timing = cost.depends(pipeline.COST[pipeline.SHOWN])
        _note(kept, cost.TABLE, changes(kept.facts(cost.TABLE), timing), {}, findings, commit if record else None)
        for table, found in again(kept).items():
            changed = found.settings + _disagreements(table, found.differ, found.of, findings)
            _note(kept, table, changed, {}, findings, commit if record else None)
    _check_commits([store, kept], root, findings)
    _check_first_screen(store, results, root, findings)
    return findings


def _bench(store: Store) -> Bench:
    """What a run was measured with.

    Raises:
        InputError: the weights are not here.
    """
    bench, weights = Bench(store, real=_AbsentLines() if store.facts("real") else None), store.facts("run")["weights"]
    if weights != "shipped":
        if not (Path(weights) / "model.safetensors").is_file():
            raise InputError(f"{weights} holds no weights, but was measured: run this where they are, or measure again")
        bench.task = bench.reader = bench.default = Path(weights)
    return bench


class _AbsentLines(LineFolder):
    """Stands for the real lines that were measured, which are not part of the repository."""

    def __init__(self) -> None:
        self.directory, self.lines, self.charset = Path("lines"), [], DIGITS

    def split(self, share: float, purpose: str) -> tuple[LineFolder, LineFolder]:
        return self, self


def _depends(experiment: Experiment, part: Part, store: Store) -> dict[str, Any]:
    """What a part depends on, but for which real lines it had."""
    depends, stored = experiment.depends(part), store.facts(part.name)["depends"]["settings"]
    if "lines" in depends["settings"]:
        depends["settings"] |= {name: stored[name] for name in ("lines", "sizes") if name in stored}
    return depends


def _mispredicted(experiment: Experiment, part: Part, bench: Bench, findings: Findings) -> list[str]:
    """Whether a sample of a part's predictions comes out otherwise."""
    if not bench.store.has(part.name):
        return []
    rows = bench.store.read(part.name)
    predicted = experiment.predict_again(part, bench, rows)
    if predicted is None:
        return []
    keys = [name for name in predicted.columns if name in rows.columns and name not in _PREDICTED]
    both = predicted.merge(rows, on=keys, suffixes=("_now", ""))
    differ = int((both["prediction_now"] != both["prediction"]).sum()) + len(predicted) - len(both)
    return _disagreements(part.name, differ, len(predicted), findings)


def _disagreements(part: str, differ: int, of: int, findings: Findings) -> list[str]:
    said = f"{differ} of {of} predictions"
    if 0 < differ <= MORE_DISAGREEMENTS:
        findings.notes.append(f"{part}: {said} differ, as they may on another processor")
    return [said] if differ > MORE_DISAGREEMENTS else []


def _note(
    store: Store,
    part: str,
    changed: list[str],
    fingerprint: dict[str, Any],
    findings: Findings,
    commit: str | None,
) -> None:
    facts = store.facts(part)
    if changed:
        findings.changed[part] = changed
    else:
        findings.same.append(part)
    if facts.get("fingerprint") and facts["libraries"] != libraries():
        there, here = _said(facts["libraries"]), _said(libraries())
        findings.notes.append(f"{part}: its fingerprint, with {there}, cannot be compared with one of {here}")
        return
    if commit is None:
        return
    if changed:
        store.write_facts(part, {**facts, "changed": changed})
        return
    facts.pop("changed", None)
    evidence = {"fingerprint": fingerprint, "libraries": libraries()} if fingerprint else {}
    store.write_facts(part, {**facts, **evidence, "verified": {"commit": commit}})


def _said(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def seal(results: Path) -> None:
    """Add checksums to results of a version that wrote none; InputError if they are damaged."""
    for folder in _raw(results):
        store = Store(folder)
        check(store)
        store.seal({"study": [pipeline.READINGS]})
    repeats.seal(results)


def _raw(results: Path) -> list[Path]:
    """Folders of measurements."""
    return sorted({path.parent for pattern in ("raw/*/*.json", "study/*.json") for path in results.glob(pattern)})


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20, check=False)


def _check_commits(stores: list[Store], root: Path, findings: Findings) -> None:
    """Every commit that results cite is part of the history."""
    try:
        shallow = _git(root, "rev-parse", "--is-shallow-repository")
    except (OSError, subprocess.SubprocessError):
        findings.notes.append("commits: not checked, since git is not installed")
        return
    if shallow.returncode or shallow.stdout.strip() == "true":
        findings.notes.append("commits: not checked, since the history is not here")
        return
    cited: dict[str, list[str]] = {}
    for store in stores:
        for part in store.parts():
            facts = store.facts(part)
            if commit := facts.get("verified", facts).get("commit"):
                cited.setdefault(commit, []).append(part)
    for commit, parts in cited.items():
        if _git(root, "merge-base", "--is-ancestor", commit.removesuffix("+"), "HEAD").returncode:
            findings.failures.append(
                f"commit {commit} of {parts[0]} and {len(parts) - 1} others is not in the history: verify them at one "
                "that is, with `python -m bench verify --record`, or measure again"
            )


def _check_first_screen(store: Store, results: Path, root: Path, findings: Findings) -> None:
    """Under a version's tag, pages and README say what the rows say."""
    try:
        tags = _git(root, "tag", "--points-at", "HEAD", "--list", "v*").stdout.split()
    except (OSError, subprocess.SubprocessError):
        return
    if not tags:
        return
    found, repeated = everything(store), repeats.summary(results)
    expected = {results / f"{name}.md": text for name, text in pages(store, found, repeated).items()}
    readme = root / "README.md"
    expected[readme] = with_numbers(readme.read_text(encoding="utf-8"), found, measured(store), readme)
    expected |= cards(store, found, root / "seqocr" / "weights")
    findings.failures += [
        f"{path} is older than the results, and {tags[0]} is tagged: run `make report`"
        for path, text in expected.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
