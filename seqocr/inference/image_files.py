"""Image files: those that arguments of the command line name, and their predictions."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from glob import glob, has_magic
from itertools import chain, islice
from pathlib import Path
from typing import cast

from PIL import Image

from seqocr.data.images import line_or_problem, suffixes
from seqocr.files import is_hidden, shown
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.inference.predict import Reader, predict
from seqocr.inference.prediction import Prediction, ReadOptions

MOST_HELD = 64_000_000  # pixels in memory, of a byte each
_CHUNK = 16  # files that a thread opens and reads


def image_files(arguments: Iterable[str]) -> list[Path]:
    """Files that arguments name, each once: a file itself, the images in a folder and below, or what a pattern matches,
    by name.

    An argument that names nothing stands for itself: opening it says what is wrong.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        if os.path.isdir(argument):  # noqa: PTH112 (Path's raises an error for a name that is too long)
            files = _images_below(Path(argument))
        elif has_magic(argument) and not os.path.lexists(argument):
            files = sorted(map(Path, glob(argument, recursive=True)))  # noqa: PTH207 (Path's takes no absolute pattern)
        else:
            files = []
        for path in files or [Path(argument)]:
            found.setdefault(os.path.abspath(path), path)  # noqa: PTH100 (links stay apart)
    return list(found.values())


def _images_below(folder: Path) -> list[Path]:
    """All that is named as an image, but hidden files and what macOS adds to archives. Broken links and pipes are among
    them: opening one says what is wrong."""
    known = suffixes()
    named = (path for path in folder.rglob("*") if path.suffix.lower() in known and not path.is_dir())
    return sorted(path for path in named if not any(map(is_hidden, path.relative_to(folder).parts)))


def predict_files(
    reader: Reader, paths: Iterable[Path], options: ReadOptions | None = None, batch_size: int = 64
) -> Iterator[Prediction]:
    """Read image files: one prediction per file, in order; `problem` says why a file cannot be read.

    In memory at once are `batch_size` images, or fewer large ones (`MOST_HELD` pixels). Raises what `predict` raises.
    """
    options, paths = options or ReadOptions(), iter(paths)
    threads = reader.batch_threads.threads if isinstance(reader, OnnxRecognizer) else 1
    first = list(islice(paths, 2 * threads))
    paths = chain(first, paths)
    divides = isinstance(reader, OnnxRecognizer) and reader.batch_threads.divides and options.is_plain
    if not divides or len(first) < 2 * threads:
        for batch in _batches(paths, batch_size):
            yield from _predict_batch(reader, batch, options)
            batch.clear()  # or its images would be held while those of the next one are opened
        return
    # Each thread opens, resizes and reads some files: while one waits for the disk, others compute.
    alone = cast(OnnxRecognizer, reader).with_threads(1)

    def work(chunk: list[Path]) -> list[Prediction]:
        return [each for batch in _batches(chunk, len(chunk)) for each in _predict_batch(alone, batch, options)]

    waiting: deque[Future[list[Prediction]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="files") as pool:
        while chunk := list(islice(paths, min(batch_size, _CHUNK))):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _predict_batch(
    reader: Reader, batch: list[tuple[Path, Image.Image | str]], options: ReadOptions | None
) -> list[Prediction]:
    images = [image for _, image in batch if not isinstance(image, str)]
    predictions = iter(predict(reader, images, options, max(len(images), 1)))
    found = []
    for path, image in batch:
        if isinstance(image, str):
            found.append(Prediction(problem=image))
        elif (prediction := next(predictions)).problem:
            found.append(Prediction(problem=f"{shown(path)} {prediction.problem}"))
        else:
            found.append(prediction)
    return found


def _batches(paths: Iterable[Path], size: int) -> Iterator[list[tuple[Path, Image.Image | str]]]:
    """Files with their images, or why these cannot be used."""
    batch: list[tuple[Path, Image.Image | str]] = []
    pixels = 0
    for path in paths:
        image = _line_or_problem(path)
        batch.append((path, image))
        pixels += 0 if isinstance(image, str) else image.width * image.height
        if len(batch) == size or pixels >= MOST_HELD:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _line_or_problem(path: Path) -> Image.Image | str:
    if os.path.isdir(path) and not _images_below(path):  # noqa: PTH112 (as above)
        return f"{shown(path)} is a folder without images: give one that holds PNG or JPEG files"
    if has_magic(str(path)) and not os.path.lexists(path):
        return f"no file matches {shown(path)}: give the name of a PNG or JPEG, or a pattern that one has"
    return line_or_problem(path)
