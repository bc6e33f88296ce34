"""The heads there are. To add one: a file beside this one, and its class in this list."""

from __future__ import annotations

from seqocr.models.autoregressive import AutoregressiveHead
from seqocr.models.base import Head
from seqocr.models.ctc import CTCHead
from seqocr.models.parallel import ParallelHead

HEADS: dict[str, type[Head]] = {head.name: head for head in (AutoregressiveHead, ParallelHead, CTCHead)}
