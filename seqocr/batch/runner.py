"""Batch inference over a source: the plan, what is left of it, progress, and a summary.

The folder of results holds `plan.json` and one Parquet file per shard, whose names are in the order of the source. A
file that is there is finished: it appears when all of it is written. So the same command goes on where it stopped.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seqocr.batch.shards import Job, LineReader, Outcome, part_name, versions
from seqocr.batch.sources import Shard, Source
from seqocr.batch.storage import absolute, file_system, is_local, list_names, write_file
from seqocr.errors import InputError
from seqocr.files import shown, sweep
from seqocr.inference.shipped import graphs_path
from seqocr.progress import progress

PLAN = "plan.json"
_PARTS = "part-*.parquet"  # see `part_name`

Engine = Callable[[Job, Sequence[Shard]], Iterator[Outcome]]


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    shards: int  # all of the source
    before: int  # those finished by earlier runs
    lines: int  # rows written by this run
    problems: int  # those of images that could not be read
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
    finished = _claim(out, _plan(job, shards))
    todo = [shard for shard in shards if part_name(shard.number) not in finished]
    before = len(shards) - len(todo)
    start, lines, problems = time.monotonic(), 0, 0
    with progress("read", len(shards), before) as reporter:
        if before:
            reporter.say(f"{before:,} of {len(shards):,} shards were read before")
        for outcome in engine(job, todo) if todo else ():
            if outcome.error:
                raise InputError(f"{outcome.error}\nwhat was finished stays: the same command goes on from there")
            lines, problems = lines + outcome.lines, problems + outcome.problems
            reporter.advance(f"{lines / (time.monotonic() - start):,.0f} lines/s")
    fs, root = file_system(out)
    if is_local(fs):
        sweep(Path(root) / _PARTS)
    there = list_names(out)
    if lost := [shard for shard in shards if part_name(shard.number) not in there]:
        raise InputError(
            f"{len(lost):,} of {len(shards):,} files are not in {shown(out)}, though workers wrote them: give a place "
            "that all machines share"
        )
    return Summary(len(shards), before, lines, problems, time.monotonic() - start)


def _plan(job: Job, shards: Sequence[Shard]) -> dict[str, Any]:
    """What a run is: two runs with the same plan write the same files."""
    parts = [{"first": shown(shard.names[0]), "files": len(shard.names), "digest": shard.digest} for shard in shards]
    return {"source": job.source, "head": job.head, **job.versions, "kind": shards[0].kind, "shards": parts}


def _claim(out: str, plan: dict[str, Any]) -> set[str]:
    """The names of finished files in a folder that holds, or from now on will hold, this plan; InputError if it holds
    another run, or cannot be written."""
    there, (fs, root) = list_names(out), file_system(out)
    try:
        before = json.loads(fs.cat_file(f"{root.rstrip('/')}/{PLAN}")) if PLAN in there else None
    except Exception as error:  # every file system has its own kinds
        raise InputError(f"{shown(out)}/{PLAN} cannot be used ({error}): give another --out") from error
    parts = {name for name in there if fnmatch(name, _PARTS)}
    if before is None and parts:
        raise InputError(f"{shown(out)} holds Parquet files of something else: give another --out")
    if before is not None and before != plan:
        changed = ", ".join(sorted(key for key in plan.keys() | before.keys() if plan.get(key) != before.get(key)))
        raise InputError(f"{shown(out)} was begun with other {changed}: give another --out, or delete it")
    if before is None:
        write_file(out, PLAN, json.dumps(plan, indent=1).encode())
    return parts
