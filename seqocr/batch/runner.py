"""Batch inference over a source: the plan, what is left of it, progress, and a summary.

The folder of results holds `_plan.json` and, per shard, a Parquet file and its record (see `seqocr.batch.parts`). Names
are in the order of the source. A part with a record is finished, so the same command goes on where it stopped.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seqocr.batch.parts import PARTS, RECORDS, Record, finished_parts, part_name, record_name, write_record
from seqocr.batch.shards import Job, LineReader, Outcome, versions
from seqocr.batch.sources import Shard, Source
from seqocr.batch.storage import absolute, delete_file, file_system, is_local, list_names, write_file
from seqocr.errors import InputError
from seqocr.files import shown, sweep
from seqocr.inference.shipped import graphs_path
from seqocr.progress import progress

PLAN, _EARLIER_PLAN = "_plan.json", "plan.json"  # readers of a folder of Parquet pass over what begins with _

Engine = Callable[[Job, Sequence[Shard]], Iterator[Outcome]]


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    shards: int  # all of the source
    before: int  # those finished by earlier runs
    lines: int  # rows written by this run
    problems: int  # rows of images that could not be read, of all of the source
    seconds: float  # that this run took


def predict_batch(source: str, out: str, engine: Engine, weights: str | None, head: str, size: int) -> Summary:
    """Read all images of a source; one row per image, in the order of names.

    Args:
        out: folder of results, as fsspec takes it; what was finished there before stays.
        engine: see `seqocr.batch.engines`.
        head: empty: the default one.
        size: images per shard, where they are files of their own.

    Raises:
        InputError: the source or the weights cannot be used, or `out` cannot be written, holds another run, or is not
            where workers write.
    """
    reader = LineReader(weights, head)
    if weights is not None and graphs_path(weights) == Path(weights):  # not of those that come with seqocr
        weights = str(Path(weights).absolute())
    source, out = absolute(source), absolute(out)
    job = Job(source, weights, reader.head, out, versions(reader))
    shards = Source(source).shards(size, out)
    before, again = _claim(out, _plan(job, shards), shards)
    todo = [shard for shard in shards if shard.number not in before]
    start, lines, problems = time.monotonic(), 0, sum(record.problems for record in before.values())
    with progress("read", len(shards), len(before)) as reporter:
        if before:
            reporter.say(f"{len(before):,} of {len(shards):,} shards were read before")
        if again:
            reporter.say(f"{len(again):,} shards are read again: {again[0]}")
        for outcome in engine(job, todo) if todo else ():
            if outcome.error:
                raise InputError(f"{outcome.error}\nwhat was finished stays: the same command goes on from there")
            lines, problems = lines + outcome.lines, problems + outcome.problems
            reporter.advance(f"{lines / (time.monotonic() - start):,.0f} lines/s")
    fs, root = file_system(out)
    if is_local(fs):
        for pattern in (PARTS, RECORDS):
            sweep(Path(root) / pattern)
    there = list_names(out)
    if lost := [shard for shard in shards if part_name(shard.number) not in there]:
        raise InputError(
            f"{len(lost):,} of {len(shards):,} files are not in {shown(out)}, though workers wrote them: give a place "
            "that all machines share"
        )
    return Summary(len(shards), len(before), lines, problems, time.monotonic() - start)


def _plan(job: Job, shards: Sequence[Shard]) -> dict[str, Any]:
    """What a run is: two runs with the same plan write the same files."""
    parts = [{"first": shown(shard.names[0]), "files": len(shard.names), "digest": shard.digest} for shard in shards]
    return {"source": job.source, "head": job.head, **job.versions, "kind": shards[0].kind, "shards": parts}


def _claim(out: str, plan: dict[str, Any], shards: Sequence[Shard]) -> tuple[dict[int, Record], list[str]]:
    """Records of finished parts, by number, in a folder that holds, or from now on will hold, this plan; and why other
    parts are to be read again. InputError if the folder holds another run, or cannot be used."""
    there = list_names(out)
    kept = PLAN if PLAN in there else _EARLIER_PLAN if _EARLIER_PLAN in there else None
    if kept is None and any(fnmatch(name, PARTS) for name in there):
        raise InputError(f"{shown(out)} holds Parquet files of something else: give another --out")
    if kept is not None:
        _check_plan(out, kept, plan)
    found: dict[int, Record] = {}
    again = []
    for shard, record in finished_parts(out, there, shards, kept == _EARLIER_PLAN):
        if isinstance(record, str):
            again.append(record)
            continue
        found[shard.number] = record
        if record_name(shard.number) not in there:
            write_record(out, shard.number, record)
    if kept != PLAN:
        write_file(out, PLAN, json.dumps(plan, indent=1).encode())
    if _EARLIER_PLAN in there:
        delete_file(out, _EARLIER_PLAN)
    return found, again


def _check_plan(out: str, name: str, plan: dict[str, Any]) -> None:
    """InputError unless a folder's plan is this one."""
    fs, root = file_system(out)
    try:
        before = dict(json.loads(fs.cat_file(f"{root.rstrip('/')}/{name}")))
        before["source"] = absolute(str(before.get("source")))
    except Exception as error:  # every file system has its own kinds
        raise InputError(f"{shown(out)}/{name} cannot be used ({error}): give another --out") from error
    if before != plan:
        changed = ", ".join(sorted(key for key in plan.keys() | before.keys() if plan.get(key) != before.get(key)))
        raise InputError(f"{shown(out)} was begun with other {changed}: give another --out, or delete it")
