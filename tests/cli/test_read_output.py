"""What `seqocr read` prints: JSON as its schema says, and names of files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from seqocr.inference.shipped import SHIPPED

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
EXAMPLES = SHIPPED.parent.parent / "demo" / "examples"
OPTIONS = ["", "--symbols", "--top 2", "--pattern [0-9]{5}", "--min-confidence 1", "--head ar --symbols"]


@pytest.mark.parametrize("options", OPTIONS)
def test_json_is_as_its_schema_says(tmp_path: Path, run_cli: Run, options: str) -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / "read.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    folder = shutil.copytree(EXAMPLES, tmp_path / "lines")
    (folder / "broken.png").write_bytes(b"no image")
    code, out, _ = run_cli("read", folder, "--format", "json", *options.split())
    assert code == 2  # of the broken one
    found = json.loads(out)
    jsonschema.validate(found, schema)
    assert [each["file_name"] for each in found] == sorted(path.name for path in folder.iterdir())
    assert all(bool(each["problem"]) == (each["file_name"] == "broken.png") for each in found)


def test_names_are_below_a_folder_that_is_read_alone_else_as_typed(tmp_path: Path, run_cli: Run) -> None:
    for name in ("a/x/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(EXAMPLES / "grid-77253.png", tmp_path / name)

    def names(*images: Path) -> list[str]:
        return [line.split("\t")[0] for line in run_cli("read", *images, "--format", "tabs")[1].splitlines()]

    assert names(tmp_path / "a") == ["x/1.png"]
    assert names(tmp_path) == ["a/x/1.png", "b/1.png"]
    typed = [tmp_path / "a" / "x" / "1.png", tmp_path / "b" / "1.png"]
    for several in ([tmp_path / "a", tmp_path / "b"], [tmp_path / "**" / "1.png"], typed):
        assert names(*several) == [str(path) for path in typed]
