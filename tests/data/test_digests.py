"""Digests of what data holds."""

from __future__ import annotations

import torch
from PIL import Image

from seqocr.data.digests import digest, image_digest, learned_digests


def test_a_digest_is_of_all_parts_in_their_order() -> None:
    parts = [["1", "23"], ["12", "3"], ["23", "1"], [torch.tensor([1.0])], [torch.tensor([1])], [torch.tensor(1)], []]
    assert len({digest(each) for each in parts}) == len(parts) - 1  # a scalar is as a vector of one
    assert digest(["1", "23"]) == digest(iter(["1", "23"]))


def test_an_image_is_known_by_its_size_and_pixels() -> None:
    image = Image.new("L", (4, 2), 7)
    other = image.copy()
    other.putpixel((3, 1), 8)
    assert image_digest(image) == image_digest(image.copy())
    assert len({image_digest(each) for each in (image, other, image.resize((2, 4)))}) == 3


def test_lines_are_learned_by_a_run_and_those_before_it() -> None:
    before = {"data": [{"source": "lines", "digests": "a b"}, {"source": "digits"}], "init": None}
    assert learned_digests({"data": [{"digests": "c"}], "init": before}) == {"a", "b", "c"}
    assert learned_digests({"data": "made by hand"}) == learned_digests({}) == learned_digests(None) == set()
