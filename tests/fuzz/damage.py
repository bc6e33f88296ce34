"""Bytes of a file changed at random."""

from __future__ import annotations

import random

from hypothesis import strategies as st

KINDS = ["flipped", "zeroed", "overwritten", "cut", "duplicated", "inserted", "left out"]


def damaged(whole: bytes, kind: str, place: float, length: int, seed: int, blocks: bool) -> bytes:
    """Some bytes changed; `blocks`: from the beginning of a block of tar, and whole ones."""
    draw, at = random.Random(seed), int(place * len(whole))
    if blocks:
        at, length = at // 512 * 512, (length // 50 + 1) * 512
    part, rest = whole[at : at + length], whole[at + length :]
    if kind == "flipped":
        return whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]
    other = {
        "zeroed": bytes(len(part)) + rest,
        "overwritten": draw.randbytes(len(part)) + rest,
        "cut": b"",
        "duplicated": part + part + rest,
        "inserted": draw.randbytes(length) + part + rest,
        "left out": rest,
    }
    return whole[:at] + other[kind]


DAMAGE = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 9999).map(lambda place: place / 10_000),
    st.integers(1, 200),
    st.integers(0, 10**6),
    st.booleans(),
)
