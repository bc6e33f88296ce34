"""Speculative decoding: the tokens of an autoregressive head, in fewer passes.

A one-pass head drafts the text. TrOCR's decoder verifies the whole draft in one pass, accepts the tokens that it would
have decoded itself, decodes its own at the first disagreement, and goes on from there (blockwise parallel decoding,
Stern et al. 2018; speculative decoding, Leviathan et al. 2023). With 8-bit weights the result is the same up to
rounding: activations are scaled anew in every pass.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from seqocr.decoding.output import DecodeFunction, DecoderOutput, TraceFunction
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.models.graph import Graph, OfPixels
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import Head, Strategy
from seqocr.models.heads.decoder_graphs import PassGraph, cache_names
from seqocr.models.heads.decoder_step import DecoderStep, KeysValues, growing_cache
from seqocr.models.heads.one_pass import OnePassHead

# Tokens (B, t) at positions (B, t), which earlier ones count (B, p), and which lines of the last pass go on (all if
# None), to logits (B, t, vocabulary). Whoever makes passes keeps keys and values.
VerifyFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None, list[int] | None], torch.Tensor]


def find_pairs(heads: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names of each head that verifies drafts and of the one that drafts, the first that takes one pass."""
    drafters = [name for name, head in heads.items() if head.is_one_pass]
    return [(name, drafters[0]) for name, head in heads.items() if drafters and head.verifies_drafts]


def speculative_strategy(verifier: Head | type[Head]) -> Strategy:
    return Strategy(f"{verifier.name}-speculative", f"{verifier.name}, speculative", is_speculative=True)


class SpeculativePair:
    """An autoregressive head, whose texts and confidences these are, and a one-pass head that drafts for it.

    Passes are calls of the former's decoder: 1 where the draft is right. The draft's own, one product, is not counted.
    """

    def __init__(self, head: AutoregressiveHead, drafter: OnePassHead) -> None:
        self.head, self.drafter = head, drafter
        self.name = speculative_strategy(head).name

    def decode_functions(self) -> dict[str, DecodeFunction]:
        return {self.name: self.decode}

    @torch.inference_mode()
    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        return self.verify(features, self.draft(features), length)

    def draft(self, features: torch.Tensor) -> list[list[int]]:
        """Tokens of the texts that the drafter decodes."""
        return [self.head.ids_of(text) for text in self.drafter.decode(features).texts]

    @torch.inference_mode()
    def verify(self, features: torch.Tensor, drafts: list[list[int]], length: int | None = None) -> DecoderOutput:
        """As `decode`, from given drafts: tokens of each of the B lines, any number of them.

        Raises:
            InputError: `length` is more than the decoder has positions for.
        """
        return speculative_decode(
            self.head.vocabulary, StepVerifier(self.head.step(), features), drafts, length, features.device
        )

    @torch.inference_mode()
    def decode_traced(self, features: torch.Tensor, trace: TraceFunction) -> DecoderOutput:
        head, drafts, verify = self.head, self.draft(features), StepVerifier(self.head.step(), features)
        trace("draft", head.text_of(drafts[0]))
        start, drafted = 0, list[int]()  # of the last pass: its first position, and the drafted tokens

        def traced(
            tokens: torch.Tensor, positions: torch.Tensor, known: torch.Tensor | None, rows: list[int] | None
        ) -> torch.Tensor:
            nonlocal start, drafted
            if (count := int(positions[0, 0])) > 0:  # a pass adds one token of the decoder's own
                trace("accepted", head.text_of(drafted[: count - start - 1]))
                trace("decoded", head.text_of([int(tokens[0, 0])]))
            start, drafted = count, tokens[0, 1:].tolist()
            return verify(tokens, positions, known, rows)

        output = speculative_decode(head.vocabulary, traced, drafts, device=features.device)
        rest = output.texts[0][start:]
        trace("accepted", rest[: len(drafted)])
        trace("decoded", rest[len(drafted) :])
        return output

    def graphs(self, encoder: nn.Module) -> dict[str, Graph]:
        """Two: encoder, draft, and cross-attention's keys and values, run once; and a pass over several tokens."""
        step = self.head.step()
        return {
            self.name: _DraftGraph(encoder, step, self.drafter),
            f"{self.name}-pass": PassGraph(step, self.head.features),
        }


@torch.inference_mode()
def speculative_decode(
    vocabulary: TokenVocabulary,
    verify: VerifyFunction,
    drafts: list[list[int]],
    length: int | None = None,
    device: torch.device | str = "cpu",
) -> DecoderOutput:
    """The result of greedy decoding, whatever the drafts: texts, confidences, and the passes of each line.

    Args:
        verify: makes a pass over the lines that go on.
        drafts: tokens of B lines, without begin and end; empty where nothing is drafted.
        length: as `AutoregressiveHead.greedy` has it, with its errors.
        device: for tokens.
    """
    budget = vocabulary.budget(length)
    lines = [_Line(vocabulary.begin, draft, budget) for draft in drafts]
    going, rows, known = list(range(len(lines))), None, None
    passes: list[tuple[list[int], torch.Tensor, torch.Tensor, list[int]]] = []  # lines, and what `_log_probs` takes
    while going:
        active = [lines[i] for i in going]
        tokens, positions = _inputs(active, vocabulary, device)
        logits = verify(tokens, positions, known, rows)
        chosen = _likeliest(logits, positions, vocabulary.end, length)
        counts = [line.accept(row, vocabulary.end) for line, row in zip(active, chosen.tolist(), strict=True)]
        passes.append((going, logits, chosen, counts))
        rows = [place for place, line in enumerate(active) if not line.ended]
        if rows:
            known = _known(known, rows, counts, tokens.shape[1], device)
            rows = None if len(rows) == len(going) else rows
            going = going if rows is None else [going[place] for place in rows]
        else:
            going = []

    def confidences() -> np.ndarray:
        if len(passes) == 1:  # the first pass is over all lines, in order
            return _log_probs(*passes[0][1:]).exp().cpu().numpy()
        total = torch.zeros(len(lines), device=device)
        for of, logits, chosen, counts in passes:
            log_probs = _log_probs(logits, chosen, counts)
            total[of] += log_probs
        return total.exp().cpu().numpy()

    texts = [vocabulary.text_of(line.tokens, length) for line in lines]
    return DecoderOutput(texts, confidences, len(passes), [line.passes for line in lines])


class _Line:
    """The decoded tokens of one line, and what is left of its draft."""

    def __init__(self, begin: int, draft: list[int], budget: int) -> None:
        self.tokens: list[int] = []
        self.last, self.budget, self._left = begin, budget, draft
        self.passes, self.ended, self._failed = 0, False, False

    @property
    def draft(self) -> list[int]:
        """The drafted tokens of the next pass: within the budget, of which one token is the decoder's own."""
        return self._left[: self.budget - len(self.tokens) - 1]

    def accept(self, chosen: list[int], end: int) -> int:
        """Accept drafted tokens up to the first that the decoder disagrees with, then its own; returns how many.

        Args:
            chosen: the decoder's tokens after the last one and after each drafted one.
        """
        draft, count = self.draft, 0
        while count < len(draft) and draft[count] == chosen[count] != end:
            count += 1
        own = chosen[count]
        self.tokens += chosen[: count + 1]
        self.last, self.passes = own, self.passes + 1
        self.ended = own == end or len(self.tokens) == self.budget
        # Twice in a row not even the first one: the rest is of no use, and verifying it would cost time.
        hopeless = self._failed and count == 0
        self._failed = count == 0
        self._left = [] if hopeless else _realign(self._left[count:], own)
        return count + 1


def _realign(left: list[int], own: int) -> list[int]:
    """The rest of a draft whose first token should have been `own`: the draft has one token too many where that is its
    second one, or else a wrong token."""
    return left[2:] if left[1:2] == [own] else left[1:]


def _inputs(
    lines: list[_Line], vocabulary: TokenVocabulary, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, t) of a pass, the last decoded one and the draft; and their positions."""
    longest = max(len(line.draft) for line in lines)
    rows = [[line.last, *line.draft, *[vocabulary.pad] * (longest - len(line.draft))] for line in lines]
    positions = torch.arange(longest + 1, device=device).expand(len(lines), longest + 1)
    if any(line.tokens for line in lines):
        positions = positions + torch.tensor([[len(line.tokens)] for line in lines], device=device)
    # Padding may go past the last position.
    return torch.tensor(rows, device=device), positions.clamp(max=vocabulary.positions - 1)


def _likeliest(logits: torch.Tensor, positions: torch.Tensor, end: int, length: int | None) -> torch.Tensor:
    """(B, t): the likeliest tokens; before `length` symbols, no end."""
    if length is not None:
        early = (positions < length)[:, :, None] & (torch.arange(logits.shape[2], device=logits.device) == end)
        logits = logits.masked_fill(early, -torch.inf)
    return logits.argmax(dim=2)


def _known(
    known: torch.Tensor | None, rows: list[int], counts: list[int], t: int, device: torch.device | str
) -> torch.Tensor:
    """(B, p + t) bool for the lines that go on: of the tokens of all passes, those that were accepted, and begin."""
    new = torch.arange(t, device=device) < torch.tensor([counts[row] for row in rows], device=device)[:, None]
    return new if known is None else torch.cat([known[rows], new], dim=1)


def _log_probs(logits: torch.Tensor, chosen: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """(B,): the log probability of the first `counts` tokens (B, t) that a pass chose."""
    log_probs = logits.log_softmax(dim=2, dtype=torch.float32).gather(2, chosen[:, :, None])[:, :, 0]
    if min(counts) < chosen.shape[1]:
        places = torch.arange(chosen.shape[1], device=chosen.device)
        log_probs = log_probs.masked_fill(places >= torch.tensor(counts, device=chosen.device)[:, None], 0)
    return log_probs.sum(dim=1)


class StepVerifier:
    """A `VerifyFunction` of a `DecoderStep` and features (B, T, D)."""

    def __init__(self, step: DecoderStep, features: torch.Tensor) -> None:
        self.step, self.cross = step, step.cross(features)
        self.past: list[KeysValues] = []

    def __call__(
        self, tokens: torch.Tensor, positions: torch.Tensor, known: torch.Tensor | None, rows: list[int] | None
    ) -> torch.Tensor:
        if rows is not None:
            self.cross = [(keys[rows], values[rows]) for keys, values in self.cross]
            self.past = [(keys[rows], values[rows]) for keys, values in self.past]
        self.past, append = growing_cache(self.past)
        return self.step.several(tokens, positions, known, self.cross, append)


class SessionVerifier:
    """A `VerifyFunction` of a loaded `PassGraph`.

    Args:
        session: a `seqocr.inference.sessions.Session`.
        cross: cross-attention's keys and values, as a session gives them.
    """

    def __init__(self, session: Any, cross: list[Any], empty: Any) -> None:
        self.session = session
        self.names = {kind: [n for n in session.inputs if n.startswith(kind)] for kind in ("cross", "past")}
        self.cross, self.past = cross, [empty] * len(self.names["past"])

    def __call__(
        self, tokens: torch.Tensor, positions: torch.Tensor, known: torch.Tensor | None, rows: list[int] | None
    ) -> torch.Tensor:
        session = self.session
        if rows is not None:
            self.cross, self.past = (
                [session.value(session.array(value)[rows]) for value in each] for each in (self.cross, self.past)
            )
        known = torch.empty(len(tokens), 0, dtype=torch.bool) if known is None else known
        given = {"tokens": tokens, "positions": positions, "known": known}
        values = {name: session.value(tensor.contiguous().numpy()) for name, tensor in given.items()}
        values |= zip(self.names["cross"], self.cross, strict=True)
        values |= zip(self.names["past"], self.past, strict=True)
        logits, *self.past = session(values)
        return torch.from_numpy(session.array(logits))


class _DraftGraph(OfPixels):
    """To the drafter's log probabilities, and the cross-attention's keys and values, a pair a layer."""

    def __init__(self, encoder: nn.Module, step: DecoderStep, drafter: OnePassHead) -> None:
        super().__init__(encoder, ["log_probs", *cache_names("cross", step)])
        self.step, self.drafter = step, drafter

    def then(self, features: torch.Tensor) -> Any:
        return [self.drafter.log_probs(features), *(tensor for pair in self.step.cross(features) for tensor in pair)]
