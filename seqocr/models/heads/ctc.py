"""CTC head (Graves et al. 2006, "Connectionist Temporal Classification"): one pass, one distribution a frame."""

from __future__ import annotations

import itertools
import math

import torch

from seqocr.decoding.ctc_paths import collapse
from seqocr.decoding.search import prefix_beam_search
from seqocr.errors import InputError
from seqocr.models.heads.base import DecoderOutput, FeatureMap, FrameClassifier, OnePassHead, Strategy

# Reductions of ctc_loss: one loss a text, or the mean over texts of nats a symbol, as the other heads' losses are.
_A_TEXT, _A_SYMBOL = 0, 1


class CTCHead(OnePassHead):
    """The line's frames, each a distribution over the charset and blank (the last id).

    A string needs a frame a symbol and one more between equal neighbours, 2n - 1 in the worst case, so columns are cut
    into as many frames as `max_length` asks for.

    Args:
        frames_a_column: at least so many; more than one where symbols may be narrower than two columns.
    """

    name = "ctc"
    output = "ctc"
    ways = (
        Strategy("ctc", "ctc", one_pass=True),
        Strategy("ctc-beam", "ctc, beam search", "decode_beam", one_pass=True, deployed=False, timed=False),
    )

    def __init__(self, features: FeatureMap, charset: str, max_length: int, frames_a_column: int = 1) -> None:
        super().__init__(features, charset, max_length)
        self.blank = len(charset)
        at_least = max(2 * max_length - 1, frames_a_column * features.columns)
        self.classify = FrameClassifier(features, at_least, self.blank + 1)

    @property
    def frames(self) -> int:
        return self.classify.count

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, frames, classes); classes are the charset, then blank."""
        return self.classify(features)

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        return self._nats(self.log_probs(features), [self._checked(text) for text in texts], _A_SYMBOL)

    def _nats(self, log_probs: torch.Tensor, texts: list[list[int]], reduction: int) -> torch.Tensor:
        """Minus the log probability of texts, as ids, summed over their paths (Graves et al. 2006, section 4.1)."""
        targets = torch.tensor([i for ids in texts for i in ids], dtype=torch.int64, device=log_probs.device)
        # What torch.nn.functional.ctc_loss calls after its checks. Lengths as tensors would cost a line a third more.
        frames, lengths = [log_probs.shape[1]] * len(texts), [len(ids) for ids in texts]
        return torch.ctc_loss(log_probs.transpose(0, 1), targets, frames, lengths, self.blank, reduction)

    def _checked(self, text: str) -> list[int]:
        ids = self.encode_text(text)
        needed = len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
        if needed > self.frames:
            raise InputError(f"{text!r} needs {needed} CTC frames, the head has {self.frames}: use a wider image")
        return ids

    def texts_of(self, logits: torch.Tensor) -> DecoderOutput:
        """Greedy: the best path, repeats merged and blanks dropped. The confidence is not that path's, which a symbol
        that could begin a frame sooner or later makes small, but the text's: of all its paths."""
        texts = [self.text_of(collapse(path, self.blank)) for path in logits.argmax(dim=2).tolist()]

        def confidences() -> torch.Tensor:
            log_probs = logits.log_softmax(dim=2, dtype=torch.float32)
            nats = self._nats(log_probs, [[self._ids[symbol] for symbol in text] for text in texts], _A_TEXT)
            return torch.tensor([min(math.exp(-n), 1.0) for n in nats.tolist()])  # in this order NaN stays NaN

        return DecoderOutput(texts, confidences, passes=1)

    @torch.inference_mode()
    def decode_beam(self, features: torch.Tensor, length: int | None = None, *, beams: int = 8) -> DecoderOutput:
        """Prefix beam search (Hannun et al. 2014): the likeliest text, summed over its paths, not the best path."""
        log_probs = self.log_probs(features).tolist()
        results = [prefix_beam_search(frames, self.blank, beams) for frames in log_probs]
        confidences = torch.tensor([math.exp(score) for _, score in results])
        return DecoderOutput([self.text_of(list(ids)) for ids, _ in results], confidences, passes=1)
