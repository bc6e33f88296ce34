"""Reading image files: which ones, a batch at a time, and what to do with those that cannot be read."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PIL import Image

from seqocr.data.images import line_or_problem, suffixes
from seqocr.files import shown

if TYPE_CHECKING:
    from seqocr.inference.onnx import OnnxRecognizer
    from seqocr.inference.predict import Answer, ReadOptions
    from seqocr.inference.reader import Reader

MOST_HELD = 64_000_000  # pixels in memory, of a byte each
_CHUNK = 16  # files that a thread opens and reads


@dataclass(frozen=True)
class Reading:
    """What was read from a file.

    Attributes:
        file_name: as found.
        text: empty where nothing was read.
        confidence: in [0, 1], the model's probability of the text; honest where the weights are calibrated.
        problem: why the file could not be read; empty if it could.
        answer: more about it, where that was asked for.
    """

    file_name: str
    text: str = ""
    confidence: float = 0.0
    problem: str = ""
    answer: Answer | None = None


def image_files(arguments: Iterable[str]) -> list[Path]:
    """Files that arguments name: a file itself, the images in a folder and below, or what a pattern matches, by name.

    An argument that names nothing stands for itself: opening it says what is wrong.
    """
    found: list[Path] = []
    for argument in arguments:
        if os.path.isdir(argument):  # noqa: PTH112 (Path's raises an error for a name that is too long)
            files = _images_below(Path(argument))
        elif has_magic(argument) and not os.path.lexists(argument):
            files = sorted(map(Path, glob(argument, recursive=True)))  # noqa: PTH207 (Path's takes no absolute pattern)
        else:
            files = []
        found += files or [Path(argument)]
    return found


def _images_below(folder: Path) -> list[Path]:
    """All that is named as an image. Broken links and pipes are among them: opening one says what is wrong."""
    known = suffixes()
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in known and not path.is_dir())


def read_files(
    reader: Reader | OnnxRecognizer,
    paths: Iterable[Path],
    head: str,
    batch_size: int = 64,
    asked: ReadOptions | None = None,
) -> Iterator[Reading]:
    """Read files in order; those that cannot be read say why.

    In memory at once are `batch_size` images, or fewer large ones (`MOST_HELD` pixels). Where the weights are
    calibrated (`seqocr.decoding.calibration`), so are confidences, but those among texts of a form.

    Args:
        asked: what else is to be said of each line (see `seqocr.inference.predict`).

    Raises:
        InputError: the reader has no such head.
    """
    paths = iter(paths)
    if asked is None and hasattr(reader, "decoder"):
        quick = cast("OnnxRecognizer", reader)
        first = list(islice(paths, 2 * quick.threads))
        paths = chain(first, paths)
        if len(first) == 2 * quick.threads:  # enough for each thread
            yield from _side_by_side(quick, paths, head, min(batch_size, _CHUNK))
            return
    for batch in _batches(paths, batch_size):
        yield from _read(reader, batch, head, asked)
        batch.clear()  # or its images would be held while those of the next one are opened


def _read(
    reader: Reader | OnnxRecognizer, batch: list[tuple[Path, Image.Image | str]], head: str, asked: ReadOptions | None
) -> list[Reading]:
    """What a batch says, or why some of it cannot be read."""
    images = [image for _, image in batch if not isinstance(image, str)]
    found: Iterator[tuple[str, float, Answer | None]]
    if asked is not None:
        from seqocr.inference.predict import answers

        found = iter([(each.text, each.confidence, each) for each in answers(reader, images, asked)])
    else:
        decoded = reader.read(images, head, max(len(images), 1))
        found = ((text, p, None) for text, p in zip(decoded.texts, decoded.confidences.tolist(), strict=True))
    return [
        Reading(str(path), problem=image) if isinstance(image, str) else _checked(path, *next(found))
        for path, image in batch
    ]


def _side_by_side(reader: OnnxRecognizer, paths: Iterator[Path], head: str, size: int) -> Iterator[Reading]:
    """Each thread opens, resizes and reads some files: what one of them waits for, the others use."""
    decoder = reader.decoder(head)

    def work(chunk: list[Path]) -> list[Reading]:
        batch = [(path, line_or_problem(path)) for path in chunk]
        images = [image for _, image in batch if not isinstance(image, str)]
        read = reader.apply_calibration(head, decoder.read(reader.fit(images))) if images else None
        found = zip(read.texts, read.confidences.tolist(), strict=True) if read else iter(())
        return [
            Reading(str(path), problem=image) if isinstance(image, str) else _checked(path, *next(found), None)
            for path, image in batch
        ]

    waiting: deque[Future[list[Reading]]] = deque()
    with ThreadPoolExecutor(reader.threads, thread_name_prefix="files") as pool:
        while chunk := list(islice(paths, size)):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > reader.threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _batches(paths: Iterable[Path], size: int) -> Iterator[list[tuple[Path, Image.Image | str]]]:
    """Files with their images, or why there are none."""
    batch: list[tuple[Path, Image.Image | str]] = []
    pixels = 0
    for path in paths:
        image = line_or_problem(path)
        batch.append((path, image))
        pixels += 0 if isinstance(image, str) else image.width * image.height
        if len(batch) == size or pixels >= MOST_HELD:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _checked(path: Path, text: str, confidence: float, answer: Answer | None) -> Reading:
    if math.isfinite(confidence):
        return Reading(str(path), text, confidence, answer=answer)
    return Reading(str(path), problem=f"{shown(path)} gives {confidence} with these weights: take others")
