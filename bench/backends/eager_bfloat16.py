"""Eager mode with matrix products in bfloat16."""

from __future__ import annotations

from functools import partial

from bench.backends import eager
from bench.backends.base import Backend
from seqocr import environment


def unable() -> str:
    return "" if environment.multiplies_bfloat16() else "the processor has no instructions for bfloat16"


BACKEND = Backend("eager-bfloat16", partial(eager.prepare, bfloat16=True), order=1, unable=unable)
