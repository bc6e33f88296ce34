"""The experiments: each module here, or small folder, is one, and names an instance EXPERIMENT."""

from __future__ import annotations

import importlib
import pkgutil

from bench.experiment import Experiment


def experiments() -> list[Experiment]:
    """All, in the order of the report's sections."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return sorted((module.EXPERIMENT for module in modules), key=lambda experiment: experiment.order)
