"""UNIPEN's isolated digits, from a local copy of the collection (Guyon et al. 1994, "UNIPEN project of on-line data
exchange and recognizer benchmarks").

    data/1a/apb/apb02/app0237.dat       .INCLUDE apb/data/apb02/app0237.dat
                                        .SEGMENT CHARACTER 0-1 ? "4"          components 0 and 1 are a four
    include/apb/data/apb02/app0237.dat  .PEN_DOWN, x and y a line, .PEN_UP    a component each
"""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqocr.errors import InputError
from seqocr.files import shown

log = logging.getLogger(__name__)

DIGITS_OF = Path("data", "1a")  # the collection's category of isolated digits
_SEGMENT = re.compile(r'\.SEGMENT\s+(?:CHARACTER|DIGIT)\s+([\d,:-]+)\s+\S+\s+"([0-9])"')
_DEEPEST = 5  # includes within includes
Stroke = Sequence[Sequence[float]]


def is_unipen(directory: Path) -> bool:
    return (directory / DIGITS_OF).is_dir()


def digits_of(directory: Path) -> Iterator[tuple[int, str, list[Stroke]]]:
    """Label, writer and strokes (x to the right, y down) of each digit of a copy of the collection.

    A writer is who `.WRITER_ID` says, else the sheet. A warning counts segments whose components are not there.

    Raises:
        InputError: there are no digits, or a file cannot be read or includes one that is not there.
    """
    found = missing = 0
    for path in sorted((directory / DIGITS_OF).rglob("*.dat")):
        sheet = path.relative_to(directory / DIGITS_OF).with_suffix("").as_posix()
        lines = _whole(path, directory / "include")
        components, writer = _components(lines)
        for segment in filter(None, map(_SEGMENT.match, lines)):
            if strokes := _strokes(segment[1], components):
                found += 1
                yield int(segment[2]), f"{sheet.split('/')[0]}/{writer}" if writer else sheet, strokes
            else:
                missing += 1
    if missing:
        log.warning("%s: %s digits left out, whose strokes are not there", shown(directory), f"{missing:,}")
    if not found:
        raise InputError(
            f"{shown(directory)} has no digits in {DIGITS_OF}: give a copy of UNIPEN (train_r01_v07), with data and "
            "include"
        )


def _whole(path: Path, includes: Path, depth: int = 0) -> list[str]:
    """The lines of a file, with those of what it includes in place."""
    if depth > _DEEPEST:
        raise InputError(
            f"{shown(path)} is included by a file that it includes: give the collection as it was published"
        )
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(
            f"{shown(path)} cannot be read ({error.strerror}): give a whole copy of UNIPEN, with data and include"
        ) from error
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(".INCLUDE"):
            name = line.split()[1] if len(line.split()) > 1 else ""
            if name.endswith(".dat"):  # others document, and have no strokes
                lines += _whole(includes / name, includes, depth + 1)
        else:
            lines.append(line)
    return lines


def _components(lines: list[str]) -> tuple[list[list[list[float]]], str]:
    """What the pen wrote, and who held it: strokes after `.PEN_DOWN`, and an empty one per `.PEN_UP` with points."""
    components: list[list[list[float]]] = []
    points: list[list[float]] = []
    is_up, writer = False, ""
    for line in lines:
        if line.startswith("."):
            if is_up and points:
                components.append([])
            points, word = [], line.split()
            is_up = word[0] == ".PEN_UP"
            if word[0] == ".PEN_DOWN":
                components.append(points)
            elif word[0] == ".WRITER_ID" and len(word) > 1:
                writer = word[1]
        elif point := _point(line):
            points.append(point)
    return components, writer


def _point(line: str) -> list[float] | None:
    try:
        x, y, *_ = map(float, line.split())
    except ValueError:
        return None
    return [x, -y]  # UNIPEN counts upwards


def _strokes(delineation: str, components: Sequence[Stroke]) -> list[Stroke]:
    """Of "3", "0-1" or "2:5-4:7,9": components, perhaps from a point and to one; empty where one is not there."""
    found: list[Stroke] = []
    for part in delineation.split(","):
        ends = [end.split(":") for end in part.split("-")]
        try:
            first, last = int(ends[0][0]), int(ends[-1][0])
            begin = int(ends[0][1]) if len(ends[0]) > 1 else 0
            end = int(ends[-1][1]) + 1 if len(ends[-1]) > 1 else None
        except (ValueError, IndexError):
            return []
        if not 0 <= first <= last < len(components):
            return []
        for number in range(first, last + 1):
            whole = components[number]
            found.append(whole[begin if number == first else 0 : end if number == last else None])
    return [stroke for stroke in found if stroke]
