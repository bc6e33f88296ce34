"""CTC head (Graves et al. 2006, "Connectionist Temporal Classification"): one pass, one distribution per frame.

Its loss is that of all heads with CTC output: `OnePassHead.loss` in one_pass.py.
"""

from typing import Any

import numpy as np
import torch

from seqocr.decoding.output import DecoderOutput
from seqocr.decoding.search import prefix_beam_search
from seqocr.models.heads.base import FeatureMap, Strategy
from seqocr.models.heads.one_pass import FrameClassifier, OnePassHead


class CTCHead(OnePassHead):
    """The line's frames, each a distribution over the charset and blank.

    A string needs one frame per symbol and one more between equal neighbours, 2n - 1 in the worst case, so columns are
    cut into as many frames as `max_length` asks for.

    Args:
        frames_a_column: at least so many; more than one where symbols may be narrower than two columns.
    """

    name = "ctc"
    output = "ctc"
    strategies = (
        Strategy("ctc", "ctc", is_one_pass=True),
        Strategy("ctc-beam", "ctc, beam search", "decode_beam", is_one_pass=True),
    )

    def __init__(self, features: FeatureMap, charset: str, max_length: int, frames_a_column: int = 1) -> None:
        super().__init__(features, charset, max_length)
        at_least = max(2 * max_length - 1, frames_a_column * features.columns)
        self.classify = FrameClassifier(features, at_least, self.blank + 1)

    @classmethod
    def settings_for_frames(cls, frames_per_column: int) -> dict[str, Any]:
        return {"frames_a_column": frames_per_column}

    @property
    def frames(self) -> int:
        return self.classify.count

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.classify(features)

    @torch.inference_mode()
    def decode_beam(self, features: torch.Tensor, length: int | None = None, *, beam_width: int = 8) -> DecoderOutput:
        """Prefix beam search (Hannun et al. 2014): the likeliest text, summed over its paths, not the best path."""
        log_probs = self.log_probs(features).tolist()
        results = [prefix_beam_search(frames, self.blank, beam_width) for frames in log_probs]
        confidences = np.exp([score for _, score in results]).astype(np.float32)
        return DecoderOutput([self.text_of(ids) for ids, _ in results], confidences, passes=1)
