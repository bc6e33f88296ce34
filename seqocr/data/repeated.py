"""Lines that stay the same for several epochs, to save the time of making them (data echoing, Choi et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seqocr.data.digests import Contents
from seqocr.data.mixture import TrainingLines


class RepeatedLines:
    """Other lines, those of every epoch in `repeats` epochs.

    Args:
        lines: to learn from; those that have been read are kept in memory until their last epoch.
    """

    def __init__(self, lines: TrainingLines, repeats: int, epoch: int = 0) -> None:
        self.lines, self.repeats, self.epoch = lines, repeats, epoch
        self._kept: dict[int, tuple[Any, str]] = {}

    def at_epoch(self, epoch: int) -> RepeatedLines:
        if epoch // self.repeats == self.epoch // self.repeats:
            return self
        return RepeatedLines(self.lines.at_epoch(epoch // self.repeats), self.repeats, epoch)

    @property
    def about(self) -> dict[str, Any]:
        return {**self.lines.about, "epochs of each line": self.repeats}

    @property
    def contents(self) -> Contents:
        return self.lines.contents

    def __len__(self) -> int:
        return len(self.lines)

    def batch(self, indices: Iterable[int]) -> tuple[list[Any], list[str]]:
        indices = list(indices)
        new = [index for index in indices if index not in self._kept]
        if new:
            # By range where it is one, as all sources take it.
            is_range = new == list(range(new[0], new[-1] + 1))
            wanted: Any = range(new[0], new[-1] + 1) if is_range else new
            self._kept.update(zip(new, zip(*self.lines.batch(wanted), strict=True), strict=True))
        found = [self._kept[index] for index in indices]
        return [image for image, _ in found], [text for _, text in found]
