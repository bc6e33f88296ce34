"""Whether the study's tables of trainings still come out: their settings, and readings that take no training.

Trainings take hours and their weights are not kept, so a sample is read again with weights that are: by oracle readers
with the base of the curves, and by the shipped weights of the family.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.core.fingerprint import of_weights
from bench.core.store import Store
from bench.study import crnn, curves, family, family_pipeline, folds, pipeline, predictions, training
from bench.workloads.held_out import read_some
from seqocr.inference.shipped import weights_path
from seqocr.models.checkpoint import load_recognizer

_LINES = range(40)  # of the family's repeats, that are read again
_CELL = ("lexicon-100", "erased last 40%")  # of the curves, that oracle readers read again


@dataclass(frozen=True)
class Again:
    """Attributes:
    settings: names of those that differ.
    differ, of: readings that came out otherwise, and how many there were.
    """

    settings: list[str]
    differ: int = 0
    of: int = 0


def again(study: Store) -> dict[str, Again]:
    """By table that is there."""
    checks = {curves.TABLE: _curves, family.TABLE: _family, crnn.NAME: _crnn, folds.TABLE: _folds}
    return {table: check(study) for table, check in checks.items() if study.has(table)}


def changed_settings(study: Store, table: str, now: dict[str, Any]) -> list[str]:
    """Names of those that a table was made with and that are not as they are now."""
    before = study.facts(table)["depends"]
    return [name for name, value in now.items() if before.get(name) != value]


@torch.inference_mode()
def _curves(study: Store) -> Again:
    size, rows, (labels, damage) = curves.SIZES[pipeline.SHOWN], study.read(curves.TABLE), _CELL
    of_cell = (rows["training"] == curves.ORACLES) & (rows["labels"] == labels) & (rows["damage"] == damage)
    before = rows[of_cell & (rows["seed"] == 0)].set_index("strategy")["right"]
    base = load_recognizer(study.folder / training.BASE).eval()
    lines, differ = predictions.unread_lines(labels, damage, 0, size.strings), 0
    for row in predictions.read_oracles(base, lines):
        one, other = (np.frombuffer(bytes.fromhex(bits), np.uint8) for bits in (row["right"], before[row["strategy"]]))
        differ += int(np.unpackbits(one ^ other).sum())
    return Again(changed_settings(study, curves.TABLE, pipeline.depends(size)), differ, len(before) * size.strings)


def _family(study: Store) -> Again:
    size, rows, differ, of = family.SIZES[pipeline.SHOWN], study.read(family.TABLE), 0, 0
    lines: Any = dict(family.sets(size.strings))["repeats"]
    for name in family.SHIPPED:
        before = rows[(rows["encoder"] == name) & (rows["set"] == "repeats") & rows["index"].isin(_LINES)]
        said = family.unpack(before.set_index("index"))
        read = read_some(weights_path(name), lines, _LINES, family.GRAPH_HEADS)
        differ += sum(each["prediction"] != said.loc[each["index"], each["head"]] for each in read.to_dict("records"))
        of += len(read)
    return Again(changed_settings(study, family.TABLE, family_pipeline.depends_on(size)), differ, of)


def _crnn(study: Store) -> Again:
    size = family.SIZES[pipeline.SHOWN]
    return Again([] if study.facts(crnn.NAME)["strings_seen"] == size.steps * size.batch else ["strings seen"])


def _folds(study: Store) -> Again:
    """The lines are not part of the repository."""
    return Again(
        changed_settings(study, folds.TABLE, {"weights": of_weights(weights_path(None)), "parts": folds.PARTS})
    )
