"""What is read beyond the task's five digits on a grid: every length at every level, and real lines from a folder.

Nothing here is timed but reading real lines, so these measurements have runs of their own (`Store.for_lines`), which
are not made again when only a clock's plan changes.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench import peers
from bench.plan import HEADS
from bench.store import Store, now
from seqocr.checkpoints import load_recognizer
from seqocr import evaluation
from seqocr.data.augment import LineAugmentation
from seqocr.data.folder import LineFolder, ShuffledLines
from seqocr.data.images import load_line
from seqocr.data.levels import LEVELS, contact_sheet
from seqocr.data.material import OWN, mixture
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources import Digits, load_digits_or_validation
from seqocr.files import replacing
from seqocr.models.recognizer import Recognizer
from seqocr.progress import progress
from seqocr.train.config import FINE_TUNING, VALIDATION_SHARE, TrainConfig
from seqocr.train.loop import fit

LONGEST = 10  # symbols of the longest strings, if the recognizer reads so many
HELD_OUT = 0.2  # share of a folder that is never trained on
TRAINED = ("RapidOCR", "Tesseract")  # the peers that come with weights
_SHEET = 18  # lines on a contact sheet
_TUNED = "tuned"  # folder of the fine-tuned weights while they are needed


def measure(recognizer: Recognizer, count: int, folder: LineFolder | None, store: Store) -> None:
    """Measure what is missing: `count` strings of every length and level, and the real lines if there are any."""
    steps: list[tuple[str, Callable[[], None]]] = []
    if not store.has("levels"):
        steps.append(("levels and lengths", lambda: measure_levels(count, store, recognizer)))
    if folder is not None and not store.has("real"):
        steps.append(("real lines", lambda: measure_real(folder, store, recognizer)))
    with progress("bench lines", len(steps)) as reporter:
        for name, step in steps:
            step()
            reporter.advance(name)
    if store.facts()["finished"] is None:
        store.write_facts({**store.facts(), "finished": now()})


def measure_levels(count: int, store: Store, recognizer: Recognizer) -> None:
    """Read held-out strings of every length and level with every head."""
    digits = load_digits_or_validation("test")
    tables, lengths = [], range(1, min(LONGEST, recognizer.max_length) + 1)
    for level in LEVELS:
        of_length = {n: strings(digits, level, n, count) for n in lengths}
        for length, lines in of_length.items():
            read = evaluation.predict(recognizer, lines, HEADS)
            tables.append(read.assign(level=level, length=length))
        shown = [lines[i // len(lengths) % len(lines)][0] for i, lines in zip(range(_SHEET), cycle(of_length.values()))]
        with replacing(store.path(f"{level}.png")) as temporary:
            contact_sheet(shown).save(temporary)
    about = {"source": digits.source, "split": digits.split, "count": count, "provenance": recognizer.provenance}
    store.write_facts({**store.facts(), "levels": about})
    store.write("levels", pd.concat(tables, ignore_index=True))


def strings(digits: Digits, level: str, length: int, count: int) -> SequenceMNIST:
    """The strings of one length and level; fewer than `count` where the source has fewer digits."""
    return SequenceMNIST(digits, length, count=min(count, len(digits) // length), seed=length, layout=LEVELS[level])


@dataclass(frozen=True)
class RealReader:
    """Something that reads line images as they are, and what it had learned before.

    Attributes:
        read: a line (h, w) uint8 to its text and the confidence in it, which others do not give.
        name: as the report has it.
        phase: "zero-shot", "fine-tuned" or "as it comes".
    """

    read: Callable[[torch.Tensor], tuple[str, float | None]]
    name: str
    phase: str


def measure_real(folder: LineFolder, store: Store, recognizer: Recognizer) -> None:
    """Fine-tune on most lines of a folder; read the rest with what was and was not fine-tuned, and with every peer.

    Lines are read one by one, from the file to the text, by everyone in turn, in random order: what is kept is the
    reading and its seconds.
    """
    learned, held_out = folder.split(HELD_OUT, "test")
    tuned = fine_tuned(learned, store.path(_TUNED), recognizer)
    not_run = {name: why for name in TRAINED if (why := peers.missing(name))}
    others = [name for name in TRAINED if name not in not_run]
    with TemporaryDirectory() as scratch:
        made = {name: peers.load(name, recognizer, Path(scratch), inverted=False) for name in others}
        readers = [*_own(recognizer, "zero-shot"), *_own(tuned, "fine-tuned")]
        readers += [RealReader(partial(_read_by_peer, peer), name, "as it comes") for name, peer in made.items()]
        table = pd.DataFrame(_readings(readers, held_out))
    about = {
        "folder": folder.directory.resolve().name,
        "lines": len(folder),
        "learned": len(learned),
        "held_out": len(held_out),
        "fine_tuning": tuned.provenance,
        "about": {name: peer.about for name, peer in made.items()},
        "not_run": not_run,
    }
    store.write_facts({**store.facts(), "real": about})
    store.write("real", table)
    shutil.rmtree(store.path(_TUNED))  # weights are not measurements


def fine_tuned(learned: LineFolder, out: Path, recognizer: Recognizer) -> Recognizer:
    """As `seqocr train --init strings --data DIR` does it; goes on where an earlier run was cut short."""
    if (out / "config.json").exists() and not (out / "training-state.safetensors").exists():
        return load_recognizer(out)
    config = TrainConfig(level=OWN, **FINE_TUNING)
    train, validation = learned.split(VALIDATION_SHARE, "validation")
    own = ShuffledLines(train, LineAugmentation(), config.seed), validation
    material = mixture(OWN, config.length, config.seed, config.augmentation, own=own)
    return fit(recognizer.adapted(HEADS), material, config, out, recognizer.device, start_counts=True)


def _own(recognizer: Recognizer, phase: str) -> Iterator[RealReader]:
    def read(head: str, line: torch.Tensor) -> tuple[str, float]:
        decoded = recognizer.read([line], head)
        return decoded.texts[0], decoded.confidences.item()

    for head in HEADS:
        yield RealReader(partial(read, head), head, phase)


def _read_by_peer(peer: peers.Peer, line: torch.Tensor) -> tuple[str, None]:
    return peer.read([line])[0], None


def _readings(readers: list[RealReader], held_out: LineFolder) -> Iterator[dict[str, Any]]:
    def read(reader: RealReader, path: Path) -> tuple[str, float | None]:
        return reader.read(torch.from_numpy(np.array(load_line(path))))

    for reader in readers:
        read(reader, held_out.lines[0].path)  # the first time takes longer
    with progress("real lines", len(held_out)) as reporter:
        for index, line in enumerate(held_out.lines):
            for reader in random.Random(index).sample(readers, len(readers)):
                start = time.perf_counter()
                text, confidence = read(reader, line.path)
                seconds = time.perf_counter() - start
                facts = {"index": index, "reader": reader.name, "phase": reader.phase, "seconds": seconds}
                yield {**facts, "text": line.text, "prediction": text, "confidence": confidence}
            reporter.advance()
