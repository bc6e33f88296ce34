"""Many lines: what is given is copied under names of ours, read, and taken away as a folder to learn from."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra 'demo' is not installed")

from seqocr.data.folder import LineFolder
from seqocr.demo import review as many
from seqocr.demo.review import (
    Reading,
    Uploads,
    gather,
    read_all,
    reviewed_rows,
    shown_rows,
    write_corrections,
    write_csv,
)
from seqocr.errors import InputError
from seqocr.serving.service import Service
from tests.serving.test_api import EXAMPLES


@pytest.fixture(scope="module")
def service() -> Any:
    found = Service()
    yield found
    found.close()


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_images_of_zips_are_found_and_no_name_becomes_a_path(tmp_path: Path) -> None:
    data = EXAMPLES[0].read_bytes()
    entries = {"a/1.png": data, "b/1.png": data, "../../evil.png": data, "/root.png": data, "note.txt": b"x"}
    entries |= {"__MACOSX/._1.png": b"x", "b\\2.PNG": data}
    kept = gather([zipped(tmp_path / "z.zip", entries), EXAMPLES[1]])
    assert len(kept.images) == 6
    assert {path.parent for path in kept.images.values()} == {kept.folder}
    assert sorted(path.name for path in kept.folder.iterdir()) == [f"{i}.png" for i in range(6)]
    assert {"a_1.png", "b_1.png", EXAMPLES[1].name} <= set(kept.images)


def test_images_of_one_name_are_all_kept(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    again = tmp_path / "other" / EXAMPLES[0].name
    again.write_bytes(EXAMPLES[1].read_bytes())
    kept = gather([EXAMPLES[0], again])
    assert [path.read_bytes() for path in kept.images.values()] == [p.read_bytes() for p in (EXAMPLES[0], again)]


def test_what_cannot_be_used_is_one_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many.tempfile, "mkdtemp", lambda prefix: str(made(tmp_path / "kept")))
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    monkeypatch.setattr(many, "MOST_IMAGES", 2)
    monkeypatch.setattr(many, "MOST_MEGABYTES", 0.001)
    data = EXAMPLES[0].read_bytes()
    for given, said in (
        ([], "no images"),
        ([zipped(tmp_path / "none.zip", {"a.txt": b"x"})], "no images"),
        ([tmp_path / "broken.zip"], "broken.zip cannot be unpacked"),
        ([EXAMPLES[0]] * 3, "more than 2 images"),
        ([zipped(tmp_path / "large.zip", {"a.png": data, "b.png": data})], "large.zip holds more than"),
    ):
        with pytest.raises(InputError, match=said):
            gather(given)
        assert not (tmp_path / "kept").exists()


def made(path: Path) -> Path:
    path.mkdir()
    return path


def test_unsure_lines_come_first_and_broken_ones_say_why(service: Service, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(EXAMPLES[0].read_bytes()[:300])
    kept = gather([*EXAMPLES, broken])
    rows = read_all(service, kept.images)
    assert list(rows["confidence"]) == sorted(rows["confidence"])
    assert rows["file_name"][0] == "broken.png"
    assert rows["problem"][0].startswith("broken.png cannot be read")
    read = dict(zip(rows["file_name"], rows["text"], strict=True))
    assert read["grid-77253.png"] == "77253"
    assert write_csv(rows, kept.folder).read_text().startswith("file_name,text,confidence,problem\nbroken.png,,0.0,")


def test_what_was_reviewed_is_a_folder_that_training_takes(service: Service, tmp_path: Path) -> None:
    kept = gather(EXAMPLES)
    rows = read_all(service, kept.images)
    table = shown_rows(Reading(kept, rows))
    assert not reviewed_rows(table, rows)["reviewed"].any()
    names = table["file"].tolist()
    marked, changed, emptied = (names.index(f"{name}.png") for name in ("grid-77253", "wild-530163285", "wild-017837"))
    table.loc[marked, "reviewed ✎"] = "x"
    table.loc[changed, "text ✎"] = "530163285"
    table.loc[emptied, "text ✎"] = ""  # cannot be told
    reviewed = reviewed_rows(table.sort_values("file"), rows)  # as a visitor may sort it
    assert reviewed["reviewed"].sum() == 3
    with zipfile.ZipFile(write_corrections(reviewed, kept)) as archive:
        archive.extractall(tmp_path)
    folder = LineFolder(tmp_path / "corrections")
    found = {line.path.name: line.text for line in folder.lines}
    assert found == {"grid-77253.png": "77253", "wild-530163285.png": "530163285"}


def test_the_table_shows_thumbnails_percent_and_no_empty_column(service: Service, tmp_path: Path) -> None:
    kept = gather([path for path in EXAMPLES if path.name == "grid-77253.png"])
    shown = shown_rows(Reading(kept, read_all(service, kept.images)))
    assert list(shown) == ["line", "text ✎", "reviewed ✎", "confidence", "file"]
    assert shown["line"][0].startswith('<img alt="" src="data:image/jpeg;base64,')
    assert re.fullmatch(r"\d+ %", shown["confidence"][0])
    broken = tmp_path / "broken.png"
    broken.write_bytes(EXAMPLES[0].read_bytes()[:300])
    kept = gather([broken])
    assert shown_rows(Reading(kept, read_all(service, kept.images)))["note"][0].startswith("broken.png cannot be read")


def test_names_that_a_visitor_makes_up_are_left_out(service: Service) -> None:
    kept = gather(EXAMPLES[:1])
    rows = read_all(service, kept.images).assign(reviewed=True)
    rows.loc[0, "file_name"] = "/etc/passwd"
    with zipfile.ZipFile(write_corrections(rows, Uploads(kept.folder, kept.images))) as archive:
        assert archive.namelist() == ["corrections/metadata.csv"]
