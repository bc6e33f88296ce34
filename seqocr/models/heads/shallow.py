"""`ar` with a decoder of one layer: deep encoder, shallow decoder (Kasai et al. 2021)."""

from typing import Any

from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import Strategy


class ShallowHead(AutoregressiveHead):
    """As many passes as `ar` makes, each of one layer."""

    name = "ar-1layer"
    verifies_drafts = False
    strategies = (Strategy("ar-1layer", "ar, one layer"),)

    @classmethod
    def default_settings(cls, decoder: dict[str, Any]) -> dict[str, Any]:
        return {**decoder, "decoder_layers": 1}
