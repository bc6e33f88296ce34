"""What data holds, as digests: to know it again, whatever its files are called."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from PIL import Image

Contents = dict[str, str]  # digests of "images" and of "labels"
_IMAGE_DIGITS = 12  # hexadecimal, of an image's digest: among a million images no two agree by chance


def digest(parts: Iterable[str | torch.Tensor]) -> str:
    """16 hexadecimal digits of the SHA-256 of all parts, in their order."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(f"{part}\0".encode())
        else:
            found.update(part.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def image_digest(image: Image.Image) -> str:
    """Of the size and pixels of a line image (mode "L"), not of its file."""
    found = hashlib.sha256(f"{image.size}".encode())
    found.update(image.tobytes())
    return found.hexdigest()[:_IMAGE_DIGITS]


def learned_digests(provenance: Mapping[str, Any] | None) -> set[str]:
    """Digests of the line images that weights learned from, those they were initialised with included."""
    found: set[str] = set()
    while isinstance(provenance, Mapping):
        sources = provenance.get("data")
        for source in sources if isinstance(sources, list) else []:
            found.update(source.get("digests", "").split())
        provenance = provenance.get("init")
    return found
