"""How a training is shared out over processes. This file imports nothing heavy, because `--help` needs it."""

from __future__ import annotations

from dataclasses import dataclass

from seqocr.train.config import check, setting

_SPREAD = "How it is shared out"


@dataclass(frozen=True)
class Spread:
    """How a training is shared out over processes. Processes that learn are started by `torchrun`.

    Raises:
        InputError: a field is out of bounds.
    """

    shards: int | None = setting(
        None,
        _SPREAD,
        "Parts of each batch, learned by as many processes, or several by each in turn.",
        least=1,
        most=1024,
        shown="one a process",
    )
    workers: int = setting(0, _SPREAD, "Processes that draw batches ahead, for each that learns.", least=0, most=256)

    def __post_init__(self) -> None:
        check(self)
