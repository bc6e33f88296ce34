"""Measuring a part of an experiment as the runner does."""

from __future__ import annotations

from dataclasses import replace

from bench.core.experiment import Bench, Experiment, Part
from seqocr.progress import Silent


def measured(experiment: Experiment, part: Part, bench: Bench) -> None:
    """Measure a part as the loop does."""
    unfinished = bench.store.begin(part.name, experiment.depends(part))
    experiment.measure(part, replace(bench, store=unfinished), Silent())
    bench.store.finish(part.name)
