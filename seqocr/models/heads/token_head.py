"""What heads have in common that write tokens, one after another."""

from collections.abc import Callable

import numpy as np
import torch

from seqocr.decoding.output import DecoderOutput
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.models.heads.base import Head


class TokenHead(Head):
    """A head whose texts are tokens up to the end.

    Attributes:
        vocabulary: of the tokens, which a subclass sets.
    """

    output = "tokens"
    vocabulary: TokenVocabulary

    @property
    def begin(self) -> int:
        return self.vocabulary.begin

    @property
    def end(self) -> int:
        return self.vocabulary.end

    @property
    def pad(self) -> int:
        return self.vocabulary.pad

    @torch.inference_mode()
    def greedy(
        self, logits_of: Callable[[torch.Tensor], torch.Tensor], batch: int, length: int | None = None
    ) -> DecoderOutput:
        """Write the likeliest token until all B strings have ended or the budget is spent.

        Args:
            logits_of: tokens so far (B, t), the first of them "begin", to logits of the next one (B, vocabulary).
            length: symbols before which the end may not come, and after which nothing does.

        Raises:
            InputError: `length` is more than the decoder has positions for.
        """
        budget, device = self.vocabulary.budget(length), self.device
        tokens = torch.full((batch, budget + 1), self.pad, device=device)
        tokens[:, 0] = self.begin
        logits = torch.empty(batch, budget, self.end + 2, device=device)
        ended = torch.zeros(batch, dtype=torch.bool, device=device)
        passes = 0
        while passes < budget:
            following = logits_of(tokens[:, : passes + 1])
            logits[:, passes] = following
            if length is not None and passes < length:
                following[:, self.end] = -torch.inf
            tokens[:, passes + 1] = following.argmax(dim=1).masked_fill_(ended, self.pad)
            passes += 1
            ended |= tokens[:, passes] == self.end
            if ended.all():
                break
        return self.decoded(tokens[:, 1 : passes + 1], lambda: logits[:, :passes], length)

    def decoded(
        self, tokens: torch.Tensor, logits: Callable[[], torch.Tensor], length: int | None, passes: int | None = None
    ) -> DecoderOutput:
        """Texts of tokens (B, t) up to the end, with their probability by the logits (B, t, vocabulary).

        Args:
            passes: that all took together; default: one a token.
        """
        texts, line_passes = [], []
        for row in tokens.tolist():
            written = row[: row.index(self.end) + 1] if self.end in row else row
            texts.append(self.vocabulary.text_of(written, length))
            line_passes.append(len(written) if passes is None else passes)

        def confidences() -> np.ndarray:
            scores = logits().log_softmax(dim=2, dtype=torch.float32).gather(2, tokens[:, :, None])[:, :, 0]
            ends = (tokens == self.end).long()
            return scores.masked_fill(ends.cumsum(dim=1) > ends, 0).sum(dim=1).exp().cpu().numpy()

        return DecoderOutput(texts, confidences, tokens.shape[1] if passes is None else passes, line_passes)
