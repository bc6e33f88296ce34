"""Commands run in this process, each checked, and cases counted by kind.

Cases are the same every time. FUZZ=10 in the environment tries ten times as many, others every time, and looks for the
smallest that fails, which takes long.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from PIL import Image

from seqocr import cli, metrics
from seqocr.models.checkpoint import save
from tests.conftest import lively, own_lines, small_recognizer

# Loaded before a test replaces the classes of pickle, from which some that it loads derive.
assert metrics
TIMES = int(os.environ.get("FUZZ", "1"))


def examples(count: int) -> Callable[..., Any]:
    """So many of hypothesis's, or more where FUZZ asks for them."""
    return settings(
        max_examples=count * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if TIMES > 1 else [])],
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended. `errors` are its lines that say so."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error:")]


class Command:
    """Runs `seqocr` and asserts what holds whatever it is given.

    It ends in 0 or 2, as SystemExit and no other exception. 2 comes with one line of error, or with usage; 0 with none.
    No temporary and no empty file appears in `folder`, and no file at all after 2.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.cases = folder, 0

    def __call__(
        self,
        *arguments: object,
        encoding: str = "utf-8",
        cases: int = 1,
        lines_of_error: int | None = 1,
        writes_on_error: bool = False,
    ) -> Ended:
        """
        Args:
            encoding: of stdout.
            cases: that this run tries.
            lines_of_error: after 2, at most; None where a file each may have one.
            writes_on_error: it has written some of several whole files when it finds out.
        """
        self.cases += cases
        before = self._files()
        ended = _run([str(argument) for argument in arguments], encoding)
        assert ended.code in (0, 2), ended
        assert "Traceback" not in ended.err, ended
        new = self._files() - before
        assert not {name for name in new if b".tmp" in name or os.lstat(name).st_size == 0}, ended
        if ended.code == 0:
            assert not ended.errors, ended
        else:
            assert ended.errors or "─ Error ─" in ended.err, ended  # of which the latter is typer's, for wrong usage
            assert lines_of_error is None or len(ended.errors) <= lines_of_error, ended
            assert writes_on_error or not new, ended
        return ended

    def refused(self, *arguments: object, **more: Any) -> str:
        """Run what has to end in 2; returns what it said."""
        ended = self(*arguments, **more)
        assert ended.code == 2, ended
        assert ended.out == "", ended
        return ended.err

    def _files(self) -> set[bytes]:
        return {os.path.join(root, name) for root, _, names in os.walk(os.fsencode(self.folder)) for name in names}  # noqa: PTH118


def _run(arguments: list[str], encoding: str) -> Ended:
    out = io.TextIOWrapper(io.BytesIO(), encoding, newline="")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline="")
    # Where a command ends by this, its output had nowhere to go, or an error of the system reached the very end.
    last_resort = mock.patch.object(cli, "_discarding", side_effect=AssertionError("an OSError that nobody answered"))
    streams = mock.patch.multiple(sys, argv=["seqocr", *arguments], stdout=out, stderr=err)
    with streams, last_resort, mock.patch.dict(os.environ, {"COLUMNS": "500"}), pytest.raises(SystemExit) as stop:
        cli.main()
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(stream.encoding))  # type: ignore[attr-defined]
    return Ended(int(stop.value.code or 0), *texts)


def strict_json(text: str) -> Any:
    """JSON without what Python alone takes for a number."""

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refused)


@pytest.fixture
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Command]:
    runs = Command(tmp_path)
    yield runs
    kind = request.node.get_closest_marker("kind")
    request.node.user_properties.append(("cases", [kind.args[0], runs.cases]))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recognizer that was saved."""
    folder = tmp_path_factory.mktemp("fuzz") / "weights"
    save(small_recognizer(), folder)
    return folder


@pytest.fixture(scope="session")
def lively_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a recognizer whose texts depend on the image: of at most three symbols, or six of CTC."""
    folder = tmp_path_factory.mktemp("fuzz") / "lively"
    save(lively(small_recognizer(max_length=3), scale=0.4), folder)
    return folder


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "line.png"
    Image.linear_gradient("L").resize((84, 28)).save(path)
    return path


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one's own."""
    return own_lines(tmp_path_factory.mktemp("fuzz") / "lines", 12)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kind(name): of the cases that a test tries")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Cases and seconds by kind."""
    cases: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    spent: dict[str, float] = defaultdict(float)
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "duration")]
    for report in reports:
        spent[report.nodeid] += report.duration
    for report in reports:
        for kind, count in [value for name, value in report.user_properties if name == "cases"]:
            cases[kind] += count
            seconds[kind] += spent.pop(report.nodeid, 0)
    if not cases:
        return
    terminalreporter.section("fuzz: cases by kind")
    for kind in sorted(cases, key=cases.__getitem__, reverse=True):
        terminalreporter.write_line(f"{cases[kind]:6,}  {seconds[kind]:6.1f} s  {kind}")
    terminalreporter.write_line(f"{sum(cases.values()):6,}  {sum(seconds.values()):6.1f} s  in all")
