"""`python -m bench family`: train what is missing, read what is missing, time what is trained. Killed, it goes on where
it was."""

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.engines import LOCAL, Engine
from bench.core.exclusive import alone, refuse_beside_ray
from bench.core.fingerprint import of_weights
from bench.core.restarts import restart
from bench.core.store import Store
from bench.study import crnn, family_session
from bench.study.family import (
    GRAPHS_EXACT,
    SIZES,
    STRATEGIES,
    TABLE,
    TIMES,
    Family,
    architecture_of,
    export_int8,
    is_timed,
    learn,
    learn_crnn,
    read_graphs,
    table_of,
)
from bench.study.family_session import INT8
from bench.study.pipeline import claim, depends, opened
from seqocr import environment
from seqocr.errors import InputError
from seqocr.progress import progress
from seqocr.train.state import is_finished


def run(preset: str, out: Path, runs: Path, engine: Engine = LOCAL, encoders: Sequence[str] | None = None) -> Path:
    """Train and read what is missing, then time what is trained; what is read so far is in the results after each
    training.

    Args:
        out: results folder; the tables lie in its folder `study`, of small ones in `study-PRESET`.
        runs: where recognizers are kept, and the readings of each.
        encoders: to train, in this order, `crnn` among them; default: all. Of none, graphs are read and what is trained
            is timed.

    Returns:
        the tables' folder.

    Raises:
        InputError: there is no such preset or encoder, `runs` holds recognizers of another size, or something else is
            timed here.
    """
    runs = runs.absolute()  # workers may stand elsewhere
    size, kept, study = opened(preset, SIZES, runs, out)
    members = size.members()
    there = [*dict.fromkeys(name for name, _ in members), crnn.NAME]
    if unknown := [name for name in encoders or () if name not in there]:
        raise InputError(f"unknown encoder {unknown[0]!r}: choose some of {', '.join(there)}")
    claim(kept, TABLE, depends_on(size), "another family")
    _take_over(study, size, kept)
    _write(size, kept, study)
    jobs: list[tuple[Callable[..., str], tuple[Any, ...]]]
    jobs = [(read_graphs, each) for each in members if _lacks_graphs(*each, kept)]
    for name in there if encoders is None else encoders:
        if name == crnn.NAME:
            jobs += [(learn_crnn, ())] if not crnn.missing() and not kept.has(crnn.NAME) else []
        else:
            jobs += [(learn, each) for each in members if each[0] == name and not kept.has(table_of(*each))]
    with progress(f"family {preset}", len(jobs)) as reporter, engine.workers(runs) as pool:
        for future in as_completed([pool.submit(work, *each, size, runs) for work, each in jobs]):
            reporter.advance(future.result())
            _write(size, kept, study)
    if engine.times:
        time_encoders(size, kept, study)
    return study.folder


def _lacks_graphs(name: str, seed: int, kept: Store) -> bool:
    """Whether weights that are here were read, and their graphs were not."""
    table = table_of(name, seed)
    return kept.has(table) and is_finished(kept.folder / f"{name}-seed{seed}") and GRAPHS_EXACT not in kept.facts(table)


def depends_on(size: Family) -> dict[str, Any]:
    """What all trainings depend on; encoders may be added later."""
    found = depends(size)
    del found["size"]["encoders"]
    return {**found, "strategies": [*STRATEGIES]}


def _take_over(study: Store, size: Family, kept: Store) -> None:
    """What lies in the results is neither trained nor read again where `runs` lacks it."""
    facts = study.facts(TABLE)
    if facts.get("depends") != depends_on(size):
        return
    for (name, seed), rows in study.read(TABLE).groupby(["encoder", "seed"]):
        member, about = (str(name), int(str(seed))), facts["trainings"][f"{name}-seed{seed}"]
        known = member in size.members() and about["architecture"] == architecture_of(member[0], size)
        if known and not kept.has(table_of(*member)):
            kept.write(table_of(*member), rows)
            kept.write_facts(table_of(*member), about)
    if study.has(crnn.NAME) and not kept.has(crnn.NAME):
        kept.write(crnn.NAME, study.read(crnn.NAME))
        kept.write_facts(crnn.NAME, study.facts(crnn.NAME))


def _write(size: Family, kept: Store, study: Store) -> None:
    """Readings so far, to the results."""
    if read := [each for each in size.members() if kept.has(table_of(*each))]:
        study.write(TABLE, pd.concat([kept.read(table_of(*each)) for each in read], ignore_index=True))
        trainings = {f"{name}-seed{seed}": kept.facts(table_of(name, seed)) for name, seed in read}
        facts = {"depends": depends_on(size), "trainings": trainings, "of": len(size.members())}
        facts["sums"] = study.sums(TABLE)
        study.write_facts(TABLE, facts | {"commit": environment.commit(), "environment": environment.describe()})
    if kept.has(crnn.NAME):
        study.write(crnn.NAME, kept.read(crnn.NAME))
        study.write_facts(crnn.NAME, {**kept.facts(crnn.NAME), "sums": study.sums(crnn.NAME)})


def time_encoders(size: Family, kept: Store, study: Store) -> None:
    """Add the times of weights of the first seed that are here and were not timed yet."""
    done = study.read(TIMES) if study.has(TIMES) else pd.DataFrame(columns=["encoder"])
    members = [name for name, seed in size.members() if seed == 0 and is_timed(name, size)]
    folders = {name: kept.folder / f"{name}-seed0" for name in members}
    timed = {name: about["weights"] for name, about in study.facts(TIMES).items() if name in folders}
    there = [name for name, folder in folders.items() if is_finished(folder)]
    todo = [name for name in there if timed.get(name) != of_weights(folders[name])]
    if not todo:
        return
    with alone(), progress("family, times", len(todo) * size.restarts) as reporter:
        refuse_beside_ray()
        for name in todo:
            folder, tables = folders[name], []
            if not (folder / INT8).exists():
                export_int8(folder)
            for number in range(size.restarts):
                for graphs in (False, True):
                    measure = partial(family_session.measure, folder, TIMES, dict(size.rounds), graphs)
                    tables.append(restart(measure, TIMES, number)[0].assign(encoder=name))
                reporter.advance(f"timed {name}")
            about = {"weights": of_weights(folder), "environment": environment.describe()}
            done = pd.concat([done[done["encoder"] != name], *tables], ignore_index=True)
            study.write(TIMES, done)
            facts = {**study.facts(TIMES), name: {**about, "commit": environment.commit()}}
            study.write_facts(TIMES, {**facts, "sums": study.sums(TIMES)})
