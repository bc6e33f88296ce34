"""Timing in processes of its own, one after the other: the restart of the process is the unit of replication."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from bench.core.store import Store
from seqocr.processes import pool_for


def restart(measure: Callable[[Store, int], None], table: str, number: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows, and the facts, of a table that is measured in a new process.

    Args:
        measure: of a module, so that it can be pickled; writes the table to a store, given the restart's number.
    """
    with TemporaryDirectory() as folder, pool_for(1) as process:
        store = Store(Path(folder))
        process.submit(measure, store, number).result()
        return store.read(table).assign(restart=number), store.facts(table)
