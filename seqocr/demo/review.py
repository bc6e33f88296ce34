"""The page's tab for many lines: a table, least confident first, to correct and to download as a data folder."""

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr
import pandas as pd

from seqocr.data.images import line_or_problem, suffixes
from seqocr.errors import InputError
from seqocr.inference.prediction import ReadOptions
from seqocr.serving.queue import QueueFull
from seqocr.serving.service import Service

MOST_IMAGES = 2000
MOST_MEGABYTES = 200  # of what a zip holds
_HEADERS = ["file_name", "text", "confidence", "problem"]
_AT_ONCE = 64


@dataclass(frozen=True)
class Uploads:
    """The images of one visitor."""

    folder: Path  # of ours, deleted an hour after it was last used
    images: dict[str, Path]  # by the names that visitors see; names differ


def many_tab(service: Service) -> None:
    """Add the tab's components to the page that is being built."""
    gr.Markdown(
        "Read images or a zip of images. The least confident lines come first. Correct the texts in the table, then "
        "download the corrections: a folder for `seqocr train --data`."
    )
    with gr.Row():
        files = gr.UploadButton(
            "Read images or a zip", file_count="multiple", file_types=["image", ".zip"], variant="primary",
            elem_id="files",
        )  # fmt: skip
        folder = gr.UploadButton("Read a folder", file_count="directory", elem_id="folder")
    table = gr.Dataframe(
        headers=_HEADERS, datatype=["str", "str", "number", "str"], interactive=True, label="Lines", elem_id="table"
    )
    with gr.Row():
        as_csv = gr.DownloadButton("Download the table (CSV)", interactive=False, elem_id="csv")
        corrections = gr.DownloadButton("Download the corrections (zip)", interactive=False, elem_id="corrections")
    kept = gr.State(None, time_to_live=3600, delete_callback=_forget)

    def run(paths: list[str] | None) -> tuple[Any, ...]:
        try:
            found = gather([Path(path) for path in paths or []])
            rows = read_all(service, found.images)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return rows, found, *_downloads(rows, found)

    downloads = [as_csv, corrections]
    for button in (files, folder):
        button.upload(run, button, [table, kept, *downloads], api_visibility="private")
    table.input(_downloads, [table, kept], downloads, api_visibility="private", show_progress="hidden")


def _downloads(rows: pd.DataFrame, kept: Uploads | None) -> tuple[Any, Any]:
    """Both downloads, written again whenever the table changes: a click then fetches what it shows."""
    if kept is None:
        return gr.update(), gr.update()
    return (
        gr.update(value=str(write_csv(rows, kept.folder)), interactive=True),
        gr.update(value=str(write_corrections(rows, kept)), interactive=True),
    )


def _forget(kept: Uploads | None) -> None:
    if kept is not None:
        shutil.rmtree(kept.folder, ignore_errors=True)


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
    return pd.DataFrame(rows, columns=_HEADERS).sort_values("confidence", kind="stable", ignore_index=True)


def write_csv(rows: pd.DataFrame, folder: Path) -> Path:
    """The table as it is."""
    path = folder / "lines.csv"
    rows.to_csv(path, index=False)
    return path


def write_corrections(rows: pd.DataFrame, kept: Uploads) -> Path:
    """A zip of one folder that `--data` takes: images, and metadata.csv with the table's texts; empty ones are left
    out."""
    path = kept.folder / "corrections.zip"
    texts = rows["text"].fillna("").astype(str)
    named = [(name, text) for name, text in zip(rows["file_name"], texts, strict=True) if text and name in kept.images]
    with zipfile.ZipFile(path, "w") as archive:
        for name, _ in named:
            archive.write(kept.images[name], f"corrections/{name}")
        table = pd.DataFrame(named, columns=["file_name", "text"])
        archive.writestr("corrections/metadata.csv", table.to_csv(index=False))
    return path
