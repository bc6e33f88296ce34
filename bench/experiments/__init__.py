"""The experiments: each module here, or small folder, is one, and names an instance EXPERIMENT."""

import importlib
import pkgutil

from bench.core.experiment import Experiment


def experiments() -> list[Experiment]:
    """All, in the order of the report's sections."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return sorted((m.EXPERIMENT for m in modules if hasattr(m, "EXPERIMENT")), key=lambda experiment: experiment.order)
