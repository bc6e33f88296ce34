"""A source read whole: the plan, what is left of it, how far it is, and what came of it.

The folder of results holds `plan.json` and one Parquet file a shard, whose names are in the order of the source. A file
that is there is finished: it appears when all of it is written. So the same command goes on where it was cut short.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from seqocr.batch.shards import Job, LineReader, Outcome, part_name, versions, write
from seqocr.batch.sources import Shard, Source, absolute, file_system, on_this_machine
from seqocr.errors import InputError
from seqocr.files import shown, sweep
from seqocr.inference.shipped import graphs_path
from seqocr.progress import progress

PLAN = "plan.json"
_PARTS = "part-*.parquet"  # see `part_name`

Engine = Callable[[Job, Sequence[Shard]], Iterator[Outcome]]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        shards: all there are; before: those that were finished before.
        lines: rows written in this run; problems: those of images that could not be read.
        seconds: that this run took.
    """

    shards: int
    before: int
    lines: int
    problems: int
    seconds: float


def predict_batch(source: str, out: str, engine: Engine, weights: str | None, head: str, size: int) -> Summary:
    """Read all images of a source; one row an image, in the order of names.

    Args:
        out: folder of results, as fsspec takes it; what was finished there before stays.
        engine: see `seqocr.batch.engines`.
        size: images a shard, where they are files of their own.

    Raises:
        InputError: the source or the weights cannot be used, or `out` cannot be written, holds another run, or is not
            where workers write.
    """
    reader = LineReader(weights, head)
    if weights is not None and graphs_path(weights) == Path(weights):  # not of those that come with seqocr
        weights = str(Path(weights).absolute())
    source, out = absolute(source), absolute(out)
    job = Job(source, weights, head, out, versions(reader))
    shards = Source(source).shards(size, out)
    finished = _claimed(out, _plan(job, shards))
    todo = [shard for shard in shards if part_name(shard.number) not in finished]
    start, lines, problems = time.monotonic(), 0, 0
    with progress("read", len(shards), len(shards) - len(todo)) as reporter:
        if len(todo) < len(shards):
            reporter.say(f"{len(shards) - len(todo):,} of {len(shards):,} shards were read before")
        for outcome in engine(job, todo) if todo else ():
            if outcome.error:
                raise InputError(f"{outcome.error}\nwhat was finished stays: the same command goes on from there")
            lines, problems = lines + outcome.lines, problems + outcome.problems
            reporter.advance(f"{lines / (time.monotonic() - start):,.0f} lines/s")
    fs, root = file_system(out)
    if on_this_machine(fs):
        sweep(Path(root) / _PARTS)
    there = _names(out)
    if lost := [shard for shard in shards if part_name(shard.number) not in there]:
        raise InputError(
            f"{len(lost):,} of {len(shards):,} files are not in {shown(out)}, though workers wrote them: give a place "
            "that all machines share"
        )
    return Summary(len(shards), len(shards) - len(todo), lines, problems, time.monotonic() - start)


def _plan(job: Job, shards: Sequence[Shard]) -> dict[str, Any]:
    """What a run is: two runs with the same plan write the same files."""
    parts = [{"first": shown(shard.names[0]), "files": len(shard.names), "digest": shard.digest} for shard in shards]
    return {"source": job.source, "head": job.head, **job.versions, "kind": shards[0].kind, "shards": parts}


def _names(out: str) -> set[str]:
    """Of all files of a folder; none where there is no folder.

    Raises:
        InputError: it cannot be listed.
    """
    fs, root = file_system(out)
    try:
        fs.invalidate_cache()  # others write there
        return {PurePosixPath(name).name for name in fs.ls(root, detail=False)} if fs.exists(root) else set()
    except Exception as error:  # every file system has its own kinds
        raise InputError(f"{shown(out)} cannot be used ({error}): give another --out") from error


def _claimed(out: str, plan: dict[str, Any]) -> set[str]:
    """The names of finished files in a folder that is, or becomes, that of this plan.

    Raises:
        InputError: it holds another run, or cannot be written.
    """
    fs, root = file_system(out)
    there = _names(out)
    try:
        before = json.loads(fs.cat_file(f"{root.rstrip('/')}/{PLAN}")) if PLAN in there else None
    except Exception as error:  # every file system has its own kinds
        raise InputError(f"{shown(out)} cannot be used ({error}): give another --out") from error
    parts = {name for name in there if fnmatch(name, _PARTS)}
    if before is None and parts:
        raise InputError(f"{shown(out)} holds Parquet files of something else: give another --out")
    if before is not None and before != plan:
        changed = ", ".join(sorted(key for key in plan.keys() | before.keys() if plan.get(key) != before.get(key)))
        raise InputError(f"{shown(out)} was begun with other {changed}: give another --out, or delete it")
    if before is None:
        write(out, PLAN, json.dumps(plan, indent=1).encode())
    return parts
