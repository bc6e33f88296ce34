"""The files of results: one Parquet file per shard, and beside each a hidden record of what it is.

A part without a record is not finished. One that is not to the bit what its record says, or whose images have changed
since, is read again.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seqocr.batch.sources import Shard
from seqocr.batch.storage import CONCURRENT, fetch, file_system, write_file
from seqocr.errors import InputError

PARTS, RECORDS = "part-*.parquet", "_part-*.json"  # readers of a folder of Parquet pass over what begins with _


def part_name(number: int) -> str:
    return PARTS.replace("*", f"{number:07d}")


def record_name(number: int) -> str:
    return RECORDS.replace("*", f"{number:07d}")


@dataclass(frozen=True)
class Record:
    """Of a finished part."""

    sha256: str
    shard: str  # digest of the shard's names
    version: str  # of its files, see `Shard`; empty: not known
    lines: int
    problems: int


def write_part(out: str, shard: Shard, content: bytes, lines: int, problems: int) -> None:
    """Write the Parquet of a shard, then its record; InputError if they cannot be written."""
    write_file(out, part_name(shard.number), content)
    write_record(out, shard.number, Record(_digest(content), shard.digest, shard.version, lines, problems))


def write_record(out: str, number: int, record: Record) -> None:
    write_file(out, record_name(number), json.dumps(asdict(record)).encode())


def record_of(shard: Shard, content: bytes) -> Record:
    """The record of a part that has none, written by seqocr 0.1; InputError if the part cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        problems = parquet.read_table(io.BytesIO(content))["problem"]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"{part_name(shard.number)} cannot be read ({error})") from error
    return Record(_digest(content), shard.digest, "", len(problems), len(problems) - problems.null_count)


def finished_parts(out: str, there: set[str], shards: Sequence[Shard], begun: bool) -> Iterator[tuple[Shard, Any]]:
    """Each shard whose part is there: with its record, or with a text that says why it is to be read again.

    Args:
        there: names of the files in `out`.
        begun: whether parts without a record are results of an earlier version, and not of a killed process.

    Raises:
        InputError: the file system does not give them.
    """
    fs, root = file_system(out)
    wanted = [s for s in shards if part_name(s.number) in there and (begun or record_name(s.number) in there)]
    for start in range(0, len(wanted), CONCURRENT):
        some = wanted[start : start + CONCURRENT]
        paths = {s: f"{root.rstrip('/')}/{part_name(s.number)}" for s in some}
        records = {s: f"{root.rstrip('/')}/{record_name(s.number)}" for s in some if record_name(s.number) in there}
        try:
            contents = fetch(fs, [*paths.values(), *records.values()])
        except Exception as error:  # every file system has its own kinds
            raise InputError(f"{out} cannot be read ({error}): try again later") from error
        for shard in some:
            kept = contents[records[shard]] if shard in records else None
            yield shard, _checked(shard, contents[paths[shard]], kept)


def _checked(shard: Shard, content: bytes | Exception, kept: bytes | Exception | None) -> Record | str:
    name = part_name(shard.number)
    try:
        if isinstance(content, Exception) or isinstance(kept, Exception):
            raise InputError(f"{name} is gone")
        record = record_of(shard, content) if kept is None else Record(**json.loads(kept))
    except InputError as error:
        return str(error)
    except (ValueError, TypeError):
        return f"{record_name(shard.number)} is damaged"
    if (record.sha256, record.shard) != (_digest(content), shard.digest):
        return f"{name} is not as it was written"
    if record.version and record.version != shard.version:
        return f"what {name} was read from has changed"
    return record


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
