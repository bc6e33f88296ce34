"""The loop: every part that is missing or of other code is measured, what is not timed first."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch

from bench.core.engines import LOCAL, Engine
from bench.core.exclusive import alone, refuse_beside_ray
from bench.core.experiment import PRESETS, Bench, Experiment, Part
from bench.core.restarts import restart
from bench.core.store import Store, changes, now
from bench.experiments import experiments
from seqocr.data.folder import LineFolder
from seqocr.errors import InputError
from seqocr.inference.shipped import READER, SHIPPED, weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.progress import Reporter, Silent, progress


def prepared(
    preset: str,
    results: Path,
    device: str,
    weights: Path | None = None,
    real: Path | None = None,
    skip: bool = False,
    into: Path | None = None,
) -> Bench:
    """A bench whose store is the run of this preset on this machine, begun or new.

    Args:
        weights: of a recognizer to evaluate in place of the shipped ones.
        real: folder of labelled lines; skip: leave out those that cannot be used.
        into: folder of a run, begun on another machine perhaps, that parts are added to.

    Raises:
        InputError: there is no such preset, or weights or lines cannot be read.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown bench preset {preset!r}: choose one of {', '.join(PRESETS)}")
    task, reader, default, folder = weights or SHIPPED, weights or READER, weights or weights_path(None), None
    if weights is not None or real is not None:
        recognizer = load_recognizer(default)
        if real is not None:
            folder = LineFolder(real, charset=recognizer.charset, max_length=recognizer.max_length, skip=skip)
    about = {
        "weights": str(weights) if weights else "shipped",
        "real": f"{folder.directory.resolve().name}, {len(folder)} lines" if folder else None,
    }
    store = Store.within(into) if into else Store.open(results, preset, device, about)
    if into and folder:
        store.add_facts("run", real=about["real"])
    return Bench(store, torch.device(device), task.absolute(), reader.absolute(), default.absolute(), folder)


def run(preset: str, bench: Bench, again: bool = False, engine: Engine = LOCAL, only: Sequence[str] = ()) -> list[str]:
    """Measure what a preset wants and the store has not, and say why anything is measured a second time.

    Args:
        again: also what is finished.
        only: experiments by name; none: all but those on request.
        engine: what reads where nothing is timed. Beside Ray, nothing is timed.

    Returns:
        the timed parts that Ray left for a run without it.

    Raises:
        InputError: another bench runs on this machine, or Ray where something is timed; or the cluster cannot be used;
            or there is no such experiment, or it needs packages that are not installed.
    """
    chosen = _chosen(only)
    if engine.name == "ray" and bench.device.type != "cpu":
        raise InputError(f"Ray's machines read on their CPUs: leave out --engine ray, or --device {bench.device.type}")
    with alone():  # before anything that another bench measures is deleted
        finished = bench.store.facts("run").get("finished")
        left, measured = _measure_missing(chosen, preset, bench, again, engine)
        if only:  # the run is as complete as it was
            bench.store.finish_run(finished)
        elif not left and (measured or not finished):
            bench.store.finish_run(now())
    return left


def _chosen(only: Sequence[str]) -> list[Experiment]:
    found = experiments()
    if unknown := sorted(set(only) - {each.name for each in found}):
        raise InputError(f"no experiment {unknown[0]!r}: choose from {', '.join(each.name for each in found)}")
    chosen = [each for each in found if (each.name in only if only else not each.on_request)]
    for each in chosen:
        if absent := [package for module, package in each.packages.items() if not find_spec(module)]:
            packages = " ".join(absent)
            raise InputError(f"{each.name}: {packages} not installed: pip install -c constraints.txt {packages}")
    return chosen


def _measure_missing(
    chosen: list[Experiment], preset: str, bench: Bench, again: bool, engine: Engine
) -> tuple[list[str], bool]:
    """The timed parts that Ray left; whether anything was measured."""
    store = bench.store
    store.finish_all()
    parts = [(experiment, part) for experiment in chosen for part in experiment.parts(preset, bench)]
    reasons = {part.name: why for experiment, part in parts if (why := experiment.missing(part))}
    for name, why in reasons.items():
        print(f"{name}: left out, {why}")
    parts = [(experiment, part) for experiment, part in parts if part.name not in reasons]
    changed = {part.name: _changes(experiment, part, bench) for experiment, part in parts}
    missing = [each for each in parts if changed[each[1].name] or not store.facts(each[1].name).get("finished")]
    wanted = parts if again else missing
    untimed = [(experiment, part) for experiment, part in wanted if not experiment.is_timed(part)]
    timed = [(experiment, part) for experiment, part in wanted if experiment.is_timed(part)] if engine.times else []
    left = [] if engine.times else [part.name for experiment, part in missing if experiment.is_timed(part)]
    if timed:
        refuse_beside_ray()
    with contextlib.ExitStack() as open_:
        if untimed:
            open_.enter_context(_workers(bench, engine))
        for experiment, part in (todo := untimed + timed):
            if not experiment.on_request:
                store.add_facts("run", finished=None)
            if changed[part.name]:
                print(f"{part.name}: measured again, because of changes in {', '.join(changed[part.name])}")
        if todo:
            with progress(f"bench {preset}", sum(part.steps for _, part in todo)) as reporter:
                for experiment, part in untimed:
                    _measure(experiment, part, bench, reporter)
                open_.close()
                if timed:
                    refuse_beside_ray()  # it may have come meanwhile
                for experiment, part in timed:
                    _measure(experiment, part, bench, reporter)
    return left, bool(todo)


def _changes(experiment: Experiment, part: Part, bench: Bench) -> list[str]:
    """What is not as it was when a part was measured; nothing of one that was not."""
    facts = bench.store.facts(part.name)
    if not facts.get("finished"):
        return []
    return changes(facts, experiment.depends(part), experiment.fingerprint(part, bench))


def _measure(experiment: Experiment, part: Part, bench: Bench, reporter: Reporter) -> None:
    before = reporter.done
    unfinished = bench.store.begin(part.name, experiment.depends(part), experiment.fingerprint(part, bench))
    inside = replace(bench, store=unfinished)
    if getattr(part.settings, "restarts", 1) > 1:
        _measure_restarts(experiment, part, inside, reporter)
    else:
        experiment.measure(part, inside, reporter)
    reporter.advance(part.name, part.steps - (reporter.done - before))  # what an earlier run had done of it
    bench.store.finish(part.name)


def _measure_restarts(experiment: Experiment, part: Part, bench: Bench, reporter: Reporter) -> None:
    """Each restart of the process measures rounds of its own; the facts that it adds are the same in all."""

    def measured(number: int) -> pd.DataFrame:
        rows, facts = restart(partial(_measure_once, experiment, part, bench), part.name, number)
        bench.store.add_facts(part.name, **facts)
        return rows

    restarts = part.settings.restarts
    bench.measure_each(part, "restart", range(restarts), measured, reporter, steps=part.steps // restarts)


def _measure_once(experiment: Experiment, part: Part, bench: Bench, store: Store, number: int) -> None:
    experiment.measure(part, replace(bench, store=store, restart=number), Silent())


@contextlib.contextmanager
def _workers(bench: Bench, engine: Engine = LOCAL) -> Iterator[None]:
    """A process a core, or a cluster, for what is not timed."""
    if bench.device.type != "cpu":
        yield
        return
    weights = {folder / "model.safetensors" for folder in (bench.task, bench.reader)}
    with engine.workers(files=sorted(weights)) as bench.workers:
        try:
            yield
        finally:
            bench.workers = None
