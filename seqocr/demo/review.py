"""The page's tab for many lines: a table, least confident first, to correct and to download as a data folder."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr
import pandas as pd

from seqocr.data.images import line_or_problem, suffixes
from seqocr.demo.lanes import data_url
from seqocr.errors import InputError
from seqocr.inference.prediction import ReadOptions
from seqocr.serving.queue import QueueFull
from seqocr.serving.service import Service

MOST_IMAGES = 2000
MOST_MEGABYTES = 200  # of what a zip holds
_COLUMNS = ["file_name", "text", "confidence", "problem"]
_SHOWN: dict[str, Any] = {
    "line": "html",
    "text ✎": "str",
    "reviewed ✎": "str",
    "confidence": "str",
    "file": "str",
    "note": "str",
}
_EDITED = ("text ✎", "reviewed ✎")
_HEIGHT = 28  # pixels, of a thumbnail
_AT_ONCE = 64


@dataclass(frozen=True)
class Uploads:
    """The images of one visitor."""

    folder: Path  # of ours, deleted an hour after it was last used
    images: dict[str, Path]  # by the names that visitors see; names differ


@dataclass(frozen=True)
class Reading:
    """Uploads, and their rows as of `read_all`."""

    uploads: Uploads
    rows: pd.DataFrame


def many_tab(service: Service) -> None:
    """Add the tab's components to the page that is being built."""
    gr.Markdown(
        "Read images or a zip of images. The least confident lines come first. Correct a text (double click), or "
        "put an x under reviewed where it is right. What you have reviewed can be taken away: a folder for "
        "`seqocr train --data`."
    )
    with gr.Row():
        files = gr.UploadButton(
            "Read images or a zip", file_count="multiple", file_types=["image", ".zip"], variant="primary",
            elem_id="files",
        )  # fmt: skip
        folder = gr.UploadButton("Read a folder", file_count="directory", elem_id="folder")
    names = list(_SHOWN)
    table = gr.Dataframe(
        headers=names, datatype=list(_SHOWN.values()), interactive=True, label="Lines", elem_id="table", wrap=True,
        static_columns=[i for i, name in enumerate(names) if name not in _EDITED], visible=False,
        column_widths=[150, 130, 130, 130, 220, 300],
    )  # fmt: skip
    with gr.Row():
        as_csv = gr.DownloadButton("Download CSV", interactive=False, elem_id="csv")
        corrections = gr.DownloadButton("Download reviewed lines (zip)", interactive=False, elem_id="corrections")
    kept = gr.State(None, time_to_live=3600, delete_callback=_forget)

    def run(paths: list[str] | None) -> tuple[Any, ...]:
        try:
            found = gather([Path(path) for path in paths or []])
            rows = read_all(service, found.images)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None
        reading = Reading(found, rows)
        return (
            gr.update(value=shown_rows(reading), visible=True),
            reading,
            *_downloads(rows.assign(reviewed=False), reading),
        )

    def edit(table: pd.DataFrame, reading: Reading | None) -> tuple[Any, Any]:
        return (gr.skip(), gr.skip()) if reading is None else _downloads(reviewed_rows(table, reading.rows), reading)

    downloads = [as_csv, corrections]
    for button in (files, folder):
        button.upload(run, button, [table, kept, *downloads], api_visibility="private")
    quietly: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
    table.input(edit, [table, kept], downloads, **quietly)


def shown_rows(reading: Reading) -> pd.DataFrame:
    """The table as it is shown: a thumbnail, what may be edited, and no column that is empty."""
    rows = reading.rows
    shown = pd.DataFrame(
        {
            "line": [_thumbnail(reading.uploads.images[name]) for name in rows["file_name"]],
            "text ✎": rows["text"],
            "reviewed ✎": "",
            "confidence": [f"{100 * p:.0f} %" for p in rows["confidence"]],
            "file": rows["file_name"],
            "note": rows["problem"],
        }
    )
    return shown if any(rows["problem"]) else shown.drop(columns="note")


def _thumbnail(path: Path) -> str:
    line = line_or_problem(path)
    if isinstance(line, str):
        return ""
    line = line.resize((max(1, min(140, round(line.width * _HEIGHT / line.height))), _HEIGHT))
    return f'<img alt="" src="{data_url(line, "jpeg")}">'


def reviewed_rows(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the texts of the edited table, and whether each was reviewed: marked so, or its text changed.

    Args:
        table: as of `shown_rows`, in any order; rows: as of `read_all`.
    """
    edited = table.drop_duplicates("file").set_index("file").reindex(rows["file_name"])
    texts = edited["text ✎"].fillna("").astype(str).to_numpy()
    marked = edited["reviewed ✎"].fillna("").astype(str).str.strip().ne("").to_numpy()
    return rows.assign(text=texts, reviewed=marked | (texts != rows["text"].to_numpy()))


def _downloads(rows: pd.DataFrame, reading: Reading) -> tuple[Any, Any]:
    """Both downloads, written again whenever the table changes: a click then fetches what it shows."""
    kept = reading.uploads
    return (
        gr.update(value=str(write_csv(rows, kept.folder)), interactive=True),
        gr.update(value=str(write_corrections(rows, kept)), interactive=bool(rows["reviewed"].any())),
    )


def _forget(kept: Reading | None) -> None:
    if kept is not None:
        shutil.rmtree(kept.uploads.folder, ignore_errors=True)


def gather(paths: list[Path]) -> Uploads:
    """Images of files and zips, copied into a folder of ours under numbers: no name of a visitor becomes a path;
    InputError if a zip is broken or holds too much, or there are no images, or too many."""
    folder = Path(tempfile.mkdtemp(prefix="seqocr-"))
    images: dict[str, Path] = {}

    def place(name: str, suffix: str) -> Path:
        if len(images) >= MOST_IMAGES:
            raise InputError(f"more than {MOST_IMAGES:,} images: read them with `seqocr read`")
        number = len(images)
        images[name if name not in images else f"{number}-{name}"] = target = folder / f"{number}{suffix}"
        return target

    try:
        for path in paths:
            if path.suffix.lower() == ".zip":
                _unpack(path, place)
            else:
                shutil.copyfile(path, place(path.name, path.suffix.lower()))
        if not images:
            raise InputError(f"no images: give some of {', '.join(sorted(suffixes()))}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Uploads(folder, images)


def _unpack(path: Path, place: Any) -> None:
    left = MOST_MEGABYTES * 1_000_000
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = PurePosixPath(entry.filename.replace("\\", "/"))
                if entry.is_dir() or name.suffix.lower() not in suffixes() or name.name.startswith("."):
                    continue
                if (left := left - entry.file_size) < 0:  # no more than it says is read
                    raise InputError(f"{path.name} holds more than {MOST_MEGABYTES} MB: give a part of it")
                place("_".join(name.parts), name.suffix.lower()).write_bytes(archive.read(entry))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be unpacked ({error}): make the zip again, without a password") from error


def read_all(service: Service, images: dict[str, Path]) -> pd.DataFrame:
    """The predictions, the least confident first; "problem" says why an image could not be read, or what may be
    wrong with its reading."""
    rows: list[tuple[str, str, float, str]] = []
    names = list(images)
    for first in range(0, len(names), _AT_ONCE):  # leaves room for clients of the interface
        opened = {name: line_or_problem(images[name], name) for name in names[first : first + _AT_ONCE]}
        lines = {name: line for name, line in opened.items() if not isinstance(line, str)}
        rows += [(name, "", 0.0, problem) for name, problem in opened.items() if isinstance(problem, str)]
        try:
            done = service.submit(list(lines.values()), ReadOptions(service.default_head, symbols=True)).result()
        except QueueFull as full:
            raise InputError(str(full)) from None
        rows += [
            (name, prediction.text, round(prediction.confidence, 4), prediction.problem or "; ".join(prediction.notes))
            for name, (prediction, _) in zip(lines, done, strict=True)
        ]
    return pd.DataFrame(rows, columns=_COLUMNS).sort_values("confidence", kind="stable", ignore_index=True)


def write_csv(rows: pd.DataFrame, folder: Path) -> Path:
    """The table as it is."""
    path = folder / "lines.csv"
    rows.to_csv(path, index=False)
    return path


def write_corrections(rows: pd.DataFrame, kept: Uploads) -> Path:
    """A zip of one folder that `--data` takes: the images that were reviewed, and metadata.csv with their texts; empty
    ones are left out."""
    path = kept.folder / "corrections.zip"
    rows = rows[rows["reviewed"]]
    named = [
        (name, text) for name, text in zip(rows["file_name"], rows["text"], strict=True) if text and name in kept.images
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for name, _ in named:
            archive.write(kept.images[name], f"corrections/{name}")
        table = pd.DataFrame(named, columns=["file_name", "text"])
        archive.writestr("corrections/metadata.csv", table.to_csv(index=False))
    return path
