"""Commands that the documents show are run as they stand there, on the inputs that they name. Those that take long, a
cluster or a network are parsed alone: their commands, options and targets exist."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from bench.__main__ import app as bench
from seqocr.cli.app import app as seqocr
from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.shipped import weights_path

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
CALLS_SEQOCR, CALLS_BENCH = r"(torchrun .* -m )?seqocr ", r"(\.venv/bin/)?python -m bench "
# Not run: these train, publish, serve until they are stopped, or take an encoder, a cluster or a store of others.
ONLY_PARSED = r"torchrun|seqocr (train|serve|push)|s3://|runs/trocr"
_OUTPUT: dict[str, Any] = {"capture_output": True, "text": True, "check": False}
TAKES = {"predict-batch": "pyarrow", "export": "onnxscript"}  # modules of extras, by command


def commands(document: str, pattern: str) -> list[str]:
    """Lines of indented blocks that begin so, without their comments, which `&` ends, too."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    return [re.split(r"  +#| &", line)[0].strip() for line in lines if re.match(f"    {pattern}", line)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents name: line.png, folders of lines, labelled where they are to be, codes.txt, runs/mine."""
    place, source, labels = tmp_path_factory.mktemp("workplace"), embedded_digits(), list[str]()
    by_digit = [source.images[source.labels == digit] for digit in range(10)]
    folders = [place / name for name in ("lines", "held-out-lines", "other-lines", "images", "scans")]
    for folder in folders:
        folder.mkdir()
    for i in range(150):
        text = str(1000 + 53 * i)
        labels.append(f"{i}.png,{text}")
        line = torch.cat([by_digit[int(digit)][i] for digit in text], dim=1)
        for folder in folders:
            Image.fromarray(line.numpy()).save(folder / f"{i}.png")
    for folder in folders[:3]:
        (folder / "metadata.csv").write_text("\n".join(["file_name,text", *labels]))
    shutil.copy(place / "lines" / "0.png", place / "line.png")
    (place / "codes.txt").write_text("\n".join(label.split(",")[1] for label in labels))
    sample = Path("seqocr/demo/examples/grid-77253.png")
    (place / sample).parent.mkdir(parents=True)
    shutil.copy(ROOT / sample, place / sample)
    shutil.copytree(weights_path("strings"), place / "runs" / "mine", ignore=shutil.ignore_patterns("onnx"))
    return place


def parse(app: typer.Typer, words: list[str]) -> None:
    """typer.Exit or an error of usage if they are no command line."""
    group: Any = typer.main.get_command(app)
    name, command, rest = group.resolve_command(group.make_context("", [*words]), words)
    command.make_context(name, rest)


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if commands(name, CALLS_SEQOCR)])
def test_commands_of_seqocr(document: str, workplace: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in commands(document, CALLS_SEQOCR):
        name, *_ = words = shlex.split(line.split("seqocr ", 1)[1])
        if re.search(ONLY_PARSED, line) or not importlib.util.find_spec(TAKES.get(name, "seqocr")):
            parse(seqocr, words)
            continue
        done = subprocess.run(["bash", "-c", line], cwd=workplace, env={**os.environ, "PATH": path}, **_OUTPUT)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, line


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if commands(name, CALLS_BENCH)])
def test_commands_of_the_bench_exist(document: str) -> None:
    for line in commands(document, CALLS_BENCH):
        parse(bench, shlex.split(line.split("-m bench ", 1)[1]))


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if commands(name, "make ")])
def test_targets_exist(document: str) -> None:
    for line in commands(document, "make "):
        done = subprocess.run(["bash", "-c", f"{line} --dry-run"], cwd=ROOT, **_OUTPUT)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("words", ["red lines/", "read lines/ --top three", "read --no-such-option lines/", "read"])
def test_what_is_no_command_line_is_found(words: str) -> None:
    with pytest.raises(Exception) as found:  # noqa: PT011 (of click, or of typer's own copy of it)
        parse(seqocr, words.split())
    assert "UsageError" in {kind.__name__ for kind in type(found.value).mro()}
