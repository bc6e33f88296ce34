"""Draft and verify: what `ar` writes, token for token, in fewer passes.

A one-pass head drafts the text. TrOCR's decoder reads the whole draft in one pass, as in training, and keeps what it
would have written itself. At the first disagreement it writes its own token and goes on from there (blockwise parallel
decoding, Stern et al. 2018; speculative decoding, Leviathan et al. 2023). The draft is nearly free, since both heads
read the same features. With 8-bit weights it is the same up to rounding: activations are scaled anew in every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from seqocr.models.graph import Graph, OfPixels, Sessions, any_size
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import DecodeFunction, DecoderOutput, OnePassHead, Strategy
from seqocr.models.heads.decoder_step import DecoderStep, KeysValues, cache_names

# Tokens (B, t) at positions (B, t), which earlier ones count (B, p), and which lines of the last pass go on (all if
# None), to logits (B, t, vocabulary). Whoever makes passes keeps keys and values.
Pass = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None, list[int] | None], torch.Tensor]


class SpeculativePair:
    """A pair of heads: `ar`, and a one-pass head that drafts for it.

    Text and confidence are those of `ar`. Passes are calls of TrOCR's decoder: 1 where the draft is right. The draft's
    own pass, a product of one matrix, is not counted.
    """

    name: ClassVar[str] = "ar-verified"
    writer: ClassVar[str] = AutoregressiveHead.name
    ways: ClassVar[tuple[Strategy, ...]] = (Strategy("ar-verified", "ar, drafted and verified", drafted=True),)

    def __init__(self, head: AutoregressiveHead, drafter: OnePassHead) -> None:
        self.head, self.drafter = head, drafter

    @classmethod
    def of(cls, heads: Mapping[str, Any]) -> SpeculativePair | None:
        """Of the heads of a recognizer, the first that needs one pass drafts; None if there is none, or no `ar`."""
        writers = [each for each in heads.values() if each.name == cls.writer]
        drafters = [each for each in heads.values() if isinstance(each, OnePassHead)]
        return cls(writers[0], drafters[0]) if writers and drafters else None

    def variants(self) -> dict[str, DecodeFunction]:
        return {self.name: self.decode}

    @torch.inference_mode()
    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        """As `Head.decode`."""
        return self.verify(features, self.drafts(self.drafter.decode(features)), length)

    def drafts(self, decoded: DecoderOutput) -> list[list[int]]:
        """The tokens of texts that the drafter read."""
        return [self.head.ids_of(text) for text in decoded.texts]

    @torch.inference_mode()
    def verify(self, features: torch.Tensor, drafts: list[list[int]], length: int | None = None) -> DecoderOutput:
        """As `decode`, from drafts given: tokens of each of the B lines, any number of them.

        Raises:
            InputError: `length` is more than the decoder has positions for.
        """
        step = self.head.step()
        return written(self.head, _Eager(step, step.cross(features)), drafts, length, features.device)

    def graphs(self, encoder: nn.Module) -> dict[str, Graph]:
        """Two: encoder, draft, and cross-attention's keys and values, run once; and a pass over several tokens."""
        step = self.head.step()
        return {
            self.name: _ToDraft(encoder, step, self.drafter),
            f"{self.name}-pass": PassGraph(step, self.head.features.tokens),
        }

    def exported(self, sessions: Sessions) -> DecodeFunction:
        """As `Head.exported`."""
        encode, step = sessions(self.name), sessions(f"{self.name}-pass")

        def decode(pixel_values: torch.Tensor, length: int | None = None) -> DecoderOutput:
            log_probs, *cross = encode({"pixel_values": encode.value(pixel_values.contiguous().numpy())})
            drafts = self.drafts(self.drafter.texts_of(torch.from_numpy(encode.array(log_probs))))
            passing = _Exported(step, cross, self.head.decoder.config, len(pixel_values))
            return written(self.head, passing, drafts, length, torch.device("cpu"))

        return decode


@torch.inference_mode()
def written(
    head: AutoregressiveHead, passing: Pass, drafts: list[list[int]], length: int | None, device: torch.device
) -> DecoderOutput:
    """What greedy decoding writes, however good the drafts are: texts, confidences, and the passes of each line.

    Args:
        passing: makes a pass over the lines that go on.
        drafts: tokens of B lines, without begin and end; empty where nothing is drafted.
        length: as `AutoregressiveHead.greedy` has it.
        device: that tokens are put on.

    Raises:
        InputError: `length` is more than the decoder has positions for.
    """
    budget = head.budget(length)
    lines = [_Line(head.begin, draft, budget) for draft in drafts]
    going, rows, known = list(range(len(lines))), None, None
    scores: list[Callable[[], tuple[list[int], torch.Tensor]]] = []
    while going:
        active = [lines[i] for i in going]
        tokens, positions = _inputs(active, head, device)
        logits = passing(tokens, positions, known, rows)
        chosen = _chosen(logits, positions, head.end, length)
        counts = [line.accept(row, head.end) for line, row in zip(active, chosen.tolist(), strict=True)]
        scores.append(_scores(going, logits, chosen, counts))
        rows = [place for place, line in enumerate(active) if not line.ended]
        if rows:
            known = _known(known, rows, counts, tokens.shape[1], device)
            rows = None if len(rows) == len(going) else rows
            going = going if rows is None else [going[place] for place in rows]
        else:
            going = []

    def confidences() -> torch.Tensor:
        if len(scores) == 1:  # the first pass is over all lines, in order
            return scores[0]()[1].exp()
        total = torch.zeros(len(lines), device=device)
        for score in scores:
            of, log_probs = score()
            total[of] += log_probs
        return total.exp()

    passes = [line.passes for line in lines]
    return DecoderOutput(
        [head.text_written(line.tokens, length) for line in lines], confidences, max(passes, default=0), passes
    )


class _Line:
    """One line: what is written, and what of the draft is left."""

    def __init__(self, begin: int, draft: list[int], budget: int) -> None:
        self.tokens: list[int] = []
        self.last, self.budget, self._left = begin, budget, draft
        self.passes, self.ended, self._failed = 0, False, False

    @property
    def draft(self) -> list[int]:
        """What the next pass reads: no more than may be written, and one token is the decoder's own."""
        return self._left[: self.budget - len(self.tokens) - 1]

    def accept(self, chosen: list[int], end: int) -> int:
        """Write the tokens chosen after the last one and after each drafted one, up to the first that was not drafted.

        Returns:
            how many were written.
        """
        draft, count = self.draft, 0
        while count < len(draft) and draft[count] == chosen[count] != end:
            count += 1
        own = chosen[count]
        self.tokens += chosen[: count + 1]
        self.last, self.passes = own, self.passes + 1
        self.ended = own == end or len(self.tokens) == self.budget
        # Twice in a row not even the first one: what is left is of no use, and reading it would cost time.
        hopeless = self._failed and count == 0
        self._failed = count == 0
        self._left = [] if hopeless else _realigned(self._left[count:], own)
        return count + 1


def _realigned(left: list[int], own: int) -> list[int]:
    """What is left of a draft whose first token should have been another: the draft has one too many where that is its
    second token, or else has taken one for another."""
    return left[2:] if left[1:2] == [own] else left[1:]


def _inputs(lines: list[_Line], head: AutoregressiveHead, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, t) to read, the last one that was written and the draft; and their positions."""
    longest = max(len(line.draft) for line in lines)
    rows = [[line.last, *line.draft, *[head.pad] * (longest - len(line.draft))] for line in lines]
    positions = torch.arange(longest + 1, device=device).expand(len(lines), longest + 1)
    if any(line.tokens for line in lines):
        positions = positions + torch.tensor([[len(line.tokens)] for line in lines], device=device)
    most = head.decoder.config.max_position_embeddings - 1  # which what only fills up may go past
    return torch.tensor(rows, device=device), positions.clamp(max=most)


def _chosen(logits: torch.Tensor, positions: torch.Tensor, end: int, length: int | None) -> torch.Tensor:
    """(B, t): the likeliest tokens; before `length` symbols, no end."""
    if length is not None:
        early = (positions < length)[:, :, None] & (torch.arange(logits.shape[2], device=logits.device) == end)
        logits = logits.masked_fill(early, -torch.inf)
    return logits.argmax(dim=2)


def _known(
    known: torch.Tensor | None, rows: list[int], counts: list[int], t: int, device: torch.device
) -> torch.Tensor:
    """(B, p + t) bool for the lines that go on: of the tokens that were read, those that were written or begin."""
    new = torch.arange(t, device=device) < torch.tensor([counts[row] for row in rows], device=device)[:, None]
    return new if known is None else torch.cat([known[rows], new], dim=1)


def _scores(
    lines: list[int], logits: torch.Tensor, chosen: torch.Tensor, counts: list[int]
) -> Callable[[], tuple[list[int], torch.Tensor]]:
    """Lines, and the log probability of what a pass wrote of each: computed when it is asked for."""

    def score() -> tuple[list[int], torch.Tensor]:
        log_probs = logits.log_softmax(dim=2, dtype=torch.float32).gather(2, chosen[:, :, None])[:, :, 0]
        if min(counts) == chosen.shape[1]:
            return lines, log_probs.sum(dim=1)
        beyond = (
            torch.arange(chosen.shape[1], device=chosen.device) >= torch.tensor(counts, device=chosen.device)[:, None]
        )
        return lines, log_probs.masked_fill(beyond, 0).sum(dim=1)

    return score


class _Eager:
    """Passes of a `DecoderStep`."""

    def __init__(self, step: DecoderStep, cross: list[KeysValues]) -> None:
        self.step, self.cross = step, cross
        self.past: list[KeysValues] = []

    def __call__(
        self, tokens: torch.Tensor, positions: torch.Tensor, known: torch.Tensor | None, rows: list[int] | None
    ) -> torch.Tensor:
        if rows is not None:
            self.cross = [(keys[rows], values[rows]) for keys, values in self.cross]
            self.past = [(keys[rows], values[rows]) for keys, values in self.past]
        past, present = self.past, []

        def append(layer: int, key: torch.Tensor, value: torch.Tensor) -> KeysValues:
            both = (
                (key, value)
                if not past
                else (torch.cat([past[layer][0], key], dim=2), torch.cat([past[layer][1], value], dim=2))
            )
            present.append(both)
            return both

        logits = self.step.several(tokens, positions, known, self.cross, append)
        self.past = present
        return logits


class _Exported:
    """Passes of a graph."""

    def __init__(self, session: Any, cross: list[Any], config: Any, batch: int) -> None:
        self.session = session
        self.names = {kind: [n for n in session.inputs if n.startswith(kind)] for kind in ("cross", "past")}
        shape = (batch, config.decoder_attention_heads, 0, config.d_model // config.decoder_attention_heads)
        nothing = session.value(np.empty(shape, np.float32))
        self.cross, self.past = cross, [nothing] * len(self.names["past"])

    def __call__(
        self, tokens: torch.Tensor, positions: torch.Tensor, known: torch.Tensor | None, rows: list[int] | None
    ) -> torch.Tensor:
        session = self.session
        if rows is not None:
            self.cross, self.past = ([self._some(value, rows) for value in each] for each in (self.cross, self.past))
        known = torch.empty(len(tokens), 0, dtype=torch.bool) if known is None else known
        given = {"tokens": tokens, "positions": positions, "known": known}
        values = {name: session.value(tensor.contiguous().numpy()) for name, tensor in given.items()}
        values |= zip(self.names["cross"], self.cross, strict=True)
        values |= zip(self.names["past"], self.past, strict=True)
        logits, *self.past = session(values)
        return torch.from_numpy(session.array(logits))

    def _some(self, value: Any, rows: list[int]) -> Any:
        return self.session.value(self.session.array(value)[rows])


class _ToDraft(OfPixels):
    """To what the drafter's `texts_of` takes, and the cross-attention's keys and values, a pair a layer."""

    def __init__(self, encoder: nn.Module, step: DecoderStep, drafter: OnePassHead) -> None:
        super().__init__(encoder, ["log_probs", *cache_names("cross", step)])
        self.step, self.drafter = step, drafter

    def then(self, features: torch.Tensor) -> Any:
        return [self.drafter.log_probs(features), *(tensor for pair in self.step.cross(features) for tensor in pair)]


class PassGraph(Graph):
    """Several tokens: (tokens, positions, known, cross..., past...) to (logits, present...).

    Args:
        features: T, tokens of the features.
    """

    any_sizes = True

    def __init__(self, step: DecoderStep, features: int) -> None:
        super().__init__()
        self.step, self.features = step, features
        self.cross, self.past = cache_names("cross", step), cache_names("past", step)
        self.inputs = ["tokens", "positions", "known", *self.cross, *self.past]
        self.outputs = ["logits", *cache_names("present", step)]

    def forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        known: torch.Tensor,
        cross: list[torch.Tensor],
        past: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        present: list[torch.Tensor] = []

        def append(layer: int, key: torch.Tensor, value: torch.Tensor) -> KeysValues:
            new = torch.cat([past[2 * layer], key], dim=2), torch.cat([past[2 * layer + 1], value], dim=2)
            present.extend(new)
            return new

        pairs = list(zip(cross[::2], cross[1::2], strict=True))
        return [self.step.several(tokens, positions, known, pairs, append), *present]

    def arguments(self, values: dict[str, Any]) -> tuple[Any, ...]:
        caches = ([values[name] for name in names] for names in (self.cross, self.past))
        return values["tokens"], values["positions"], values["known"], *caches

    def example(self) -> tuple[Any, ...]:
        step = self.step

        def cache(tokens: int) -> list[torch.Tensor]:
            shape = (2, step.heads, tokens, step.width // step.heads)
            return [torch.zeros(shape) for _ in range(2 * len(step.layers))]

        # Of the same tensor twice, the exporter would make one input.
        tokens, positions = (torch.zeros(2, 4, dtype=torch.int64) for _ in range(2))
        return tokens, positions, torch.ones(2, 3, dtype=torch.bool), cache(self.features), cache(3)

    def dynamic(self) -> tuple[Any, ...]:
        many = 2 * len(self.step.layers)
        batch, tokens, past = any_size("batch"), any_size("tokens"), any_size("past", least=0)
        both = {0: batch, 1: tokens}
        return both, both, {0: batch, 1: past}, [{0: batch}] * many, [{0: batch, 2: past}] * many
