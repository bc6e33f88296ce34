"""What reading is, whoever does it: a recognizer, exported graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from seqocr.data.processor import LineImage
from seqocr.decoding.calibration import apply_calibration
from seqocr.errors import InputError
from seqocr.models.heads.base import DecodeFunction, DecoderOutput


class Reader:
    """Reads line images. What a trained recognizer and one exported to another runtime have in common.

    Attributes:
        charset: the symbols that can be read.
        max_length: the longest string that can be read.
        heads: by name.
        provenance: how the weights came about; with what calibrates confidences (`seqocr.decoding.calibration`).
    """

    charset: str
    max_length: int
    heads: Any
    provenance: Mapping[str, Any] = MappingProxyType({})

    def variants(self) -> dict[str, DecodeFunction]:
        """Every way to decode what `encode` gives, by name, over all heads."""
        raise NotImplementedError

    def encode(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:
        """What the variants decode, of B line images (see `Processor`); its first axis is B."""
        raise NotImplementedError

    def to(self, device: Any) -> Any:
        """The same on another device ("cpu", "cuda")."""
        raise NotImplementedError

    @torch.inference_mode()
    def read(
        self, images: torch.Tensor | Sequence[LineImage], head: str = "parallel", batch_size: int = 64
    ) -> DecoderOutput:
        """Read line images. Confidences are honest where the weights are calibrated.

        Args:
            images: see `Processor`.
            head: a head, or one of its other variants ("ar-generate", "ctc-beam").
            batch_size: images encoded at once.

        Raises:
            InputError: the head is not part of this recognizer, or an image cannot be used.
        """
        variants = self.variants()
        if head not in variants:
            raise InputError(f"no head {head!r} in this recognizer: it has {', '.join(variants)}")
        starts = range(0, len(images), batch_size)
        parts = [variants[head](self.encode(images[start : start + batch_size])) for start in starts]
        if not parts:
            return DecoderOutput([], torch.empty(0), passes=0)
        texts = [text for part in parts for text in part.texts]
        raw = torch.cat([part.confidences for part in parts]).cpu().numpy()
        confidences = torch.from_numpy(apply_calibration(self.provenance, head, raw).astype("float32"))
        line_passes = [passes for part in parts for passes in part.line_passes]
        return DecoderOutput(texts, confidences, max(part.passes for part in parts), line_passes)
