"""Heads of one decoder pass: the distribution of every slot, or of every CTC frame, at once."""

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.decoding.greedy import GREEDY
from seqocr.decoding.output import DecoderOutput
from seqocr.errors import InputError
from seqocr.models.graph import Graph, OfPixels
from seqocr.models.heads.base import FeatureMap, Head, full_precision

# Reductions of torch.ctc_loss: a loss for each text, or the mean over texts of nats per symbol, as other heads' losses.
_PER_TEXT, _PER_SYMBOL = 0, 1


class OnePassHead(Head):
    """A head that classifies every slot or CTC frame in one decoder pass, whatever the text.

    A subclass declares its `output`, "slots" or "ctc", and defines `logits`; losses, decoding and export follow.

    Attributes:
        blank: id of the last class: "empty" for slots, blank for CTC.
    """

    is_one_pass = True

    def __init__(self, features: FeatureMap, charset: str, max_length: int) -> None:
        super().__init__(features, charset, max_length)
        self.blank = len(charset)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, slots or frames, k + 1): the charset, then "empty" or blank."""
        raise NotImplementedError

    def log_probs(self, features: torch.Tensor) -> torch.Tensor:
        return full_precision(self.logits(features)).log_softmax(dim=2)

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Cross-entropy of every slot, those past the text's end being "empty"; or CTC's, in nats per symbol."""
        rows = [self.encode_text(text) for text in texts]
        if self.output == "ctc":
            log_probs = self.log_probs(features)
            for text, ids in zip(texts, rows, strict=True):
                self._check_frames(text, ids, log_probs.shape[1])
            return self.ctc_nats(log_probs, rows, _PER_SYMBOL)
        slots = [ids + [self.blank] * (self.max_length - len(ids)) for ids in rows]
        targets = torch.tensor(slots, device=features.device)
        return F.cross_entropy(full_precision(self.logits(features)).flatten(0, 1), targets.flatten())

    def distillation_loss(self, features: torch.Tensor, texts: list[str], temperature: float) -> torch.Tensor:
        if self.output == "ctc":
            return super().distillation_loss(features, texts, temperature)
        endings = [[self.blank] * (self.max_length - len(text)) for text in texts]
        return self.soft_cross_entropy(self.logits(features), texts, endings, temperature)

    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        if torch.is_inference_mode_enabled():  # to enter it again would take longer than the head's product
            return self.decode_logits(self.logits(features))
        with torch.inference_mode():
            return self.decode_logits(self.logits(features))

    def decode_logits(self, logits: torch.Tensor) -> DecoderOutput:
        """Greedy decoding of logits, or log probabilities: the likeliest class of each slot or frame. CTC's best path
        is collapsed; the confidence is the text's, summed over all of its paths, not that path's."""
        rows = logits.argmax(dim=2).tolist()

        def of_symbols() -> list[list[float]]:
            log_probs = logits.log_softmax(dim=2, dtype=torch.float32).cpu().numpy()
            return GREEDY[self.output](log_probs, self.charset).symbol_confidences()

        if self.output == "slots":
            texts = [self.text_of(row) for row in rows]
            return DecoderOutput(
                texts, lambda: _slots_probability(logits).cpu().numpy(), passes=1, symbol_confidences=of_symbols
            )
        ids = [[i for i, _ in itertools.groupby(row) if i != self.blank] for row in rows]

        def confidences() -> Any:
            log_probs = logits.log_softmax(dim=2, dtype=torch.float32)
            nats = self.ctc_nats(log_probs, ids, _PER_TEXT).tolist()
            return torch.tensor([min(math.exp(-n), 1.0) for n in nats]).numpy()  # in this order NaN stays NaN

        return DecoderOutput([self.text_of(row) for row in ids], confidences, passes=1, symbol_confidences=of_symbols)

    def graphs(self, encoder: nn.Module) -> dict[str, Graph]:
        return {self.name: _LogProbsGraph(encoder, self)}

    def ctc_nats(self, log_probs: torch.Tensor, texts: list[list[int]], reduction: int) -> torch.Tensor:
        """Minus the log probability of texts, as ids, summed over their paths (Graves et al. 2006, section 4.1)."""
        targets = torch.tensor([i for ids in texts for i in ids], dtype=torch.int64, device=log_probs.device)
        # What torch.nn.functional.ctc_loss calls after its checks. Lengths as tensors would cost a third more per line.
        frames, lengths = [log_probs.shape[1]] * len(texts), [len(ids) for ids in texts]
        return torch.ctc_loss(log_probs.transpose(0, 1), targets, frames, lengths, self.blank, reduction)

    def _check_frames(self, text: str, ids: list[int], frames: int) -> None:
        needed = len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
        if needed > frames:
            raise InputError(f"{text!r} needs {needed} CTC frames, the head has {frames}: use a wider image")


class FrameClassifier(nn.Linear):
    """Patch features averaged over height into columns, each column cut into one or more frames, each frame classified.

    With input narrower than the encoder's own there are as many columns, and frames, as it has.

    A column's D features are cut into as many frames, of fewer features each, as make `at_least` (as sub-pixels are
    from channels, Shi et al. 2016), so the work grows neither with them nor with the image's height.

    Raises:
        InputError: there are fewer features than frames.
    """

    def __init__(self, features: FeatureMap, at_least: int, width: int) -> None:
        per_column = math.ceil(at_least / features.columns)
        if per_column > features.dim:
            raise InputError(
                f"{at_least} frames cannot be cut from {features.columns} columns of {features.dim} features: "
                "use a wider image, or a smaller max_length"
            )
        super().__init__(features.dim // per_column, width)
        self.map, self.count, self.used = features, per_column * features.columns, per_column * self.in_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, count, width)."""
        columns = features[:, self.map.prefix :, : self.used]
        if self.map.rows > 1:
            columns = columns.view(-1, self.map.rows, self.map.columns, self.used).mean(dim=1)
        # As many columns as the image has, which may be narrower than the encoder's own.
        return super().forward(columns.reshape(columns.shape[0], -1, self.in_features))


def _slots_probability(logits: torch.Tensor) -> torch.Tensor:
    """(B, slots, classes) -> (B,) float32: the probability of the likeliest class in every slot."""
    return logits.softmax(dim=2, dtype=torch.float32).amax(dim=2).prod(dim=1)


class _LogProbsGraph(OfPixels):
    def __init__(self, encoder: nn.Module, head: OnePassHead) -> None:
        super().__init__(encoder, ["log_probs"])
        self.head = head

    def then(self, features: torch.Tensor) -> Any:
        return [self.head.log_probs(features)]
