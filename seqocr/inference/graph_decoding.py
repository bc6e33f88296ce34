"""Decoding of exported graphs, by what their heads declare, with numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from seqocr.decoding.greedy import GREEDY, decode_ctc
from seqocr.decoding.logarithms import log_sum
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.inference.sessions import Session
from seqocr.inference.signature import Shape

STEP, PASS = "-step", "-pass"  # endings of the names of graphs that run once per token, or per verifying pass
STEP_TOKENS: dict[str, tuple[str, Shape]] = {"token": ("int64", (None,)), "position": ("int64", ())}
PASS_TOKENS: dict[str, tuple[str, Shape]] = {
    "tokens": ("int64", (None, None)),
    "positions": ("int64", (None, None)),
    "known": ("bool", (None, None)),
}
LoadFunction = Callable[[str], Session]  # from a graph's name


@dataclass(frozen=True)
class ExportedHead:
    """A head, or a pair of heads for speculative decoding, as `config.json` declares it."""

    name: str
    output: str  # "slots", "ctc" or "tokens"
    vocabulary: TokenVocabulary  # of a head whose output is "tokens"
    marks: str = ""  # symbols beyond the charset, of a reader of marks whose log probabilities are the last output
    drafter: str | None = None  # the output of the head that drafts; None: not speculative

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of its graphs."""
        if self.output in GREEDY:
            return (self.name,)
        return self.name, self.name + (STEP if self.drafter is None else PASS)


def exported_heads(config: Mapping[str, Any]) -> tuple[dict[str, ExportedHead], dict[str, ExportedHead]]:
    """Heads and pairs of heads, by name, of exported graphs' config (see `seqocr.inference.export.declare`)."""
    charset, longest, outputs = config["charset"], config["max_length"], config["outputs"]
    heads = {}
    for name, output in outputs.items():
        positions = max(longest + 1, config["heads"][name].get("max_position_embeddings", 0))
        heads[name] = ExportedHead(name, output, TokenVocabulary(charset, longest, positions), config.get("marks", ""))
    pairs = {name: replace(heads[v], name=name, drafter=outputs[d]) for name, (v, d) in config["pairs"].items()}
    return heads, pairs


def graph_decoder(head: ExportedHead, load: LoadFunction) -> DecodeFunction:
    """A function of pixel_values (B, 3, H, W) float32 that decodes a head's graphs by its declared output."""
    if head.drafter is not None:
        return partial(_decode_speculatively, head, load)
    return partial(_decode_tokens if head.output == "tokens" else _decode_one_pass, head, load)


def _decode_one_pass(
    head: ExportedHead, load: LoadFunction, pixel_values: Any, length: int | None = None
) -> DecoderOutput:
    session = load(head.name)
    log_probs, *rest = session({"pixel_values": session.value(np.asarray(pixel_values))})
    output = GREEDY[head.output](session.array(log_probs), head.vocabulary.charset)
    if head.marks:
        output.shown = _shown(head, session.array(rest[-1]))
    return output


def _shown(head: ExportedHead, log_probs: np.ndarray) -> list[str]:
    """All that lines show, by a graph's last output."""
    return decode_ctc(log_probs, head.vocabulary.charset + head.marks).texts


class TokenGraphs:
    """An autoregressive head's graphs on one batch of pixel_values (B, 3, H, W)."""

    def __init__(self, head: ExportedHead, load: LoadFunction, pixel_values: Any) -> None:
        encode, self._session = load(head.name), load(head.name + STEP)
        cross = encode({"pixel_values": encode.value(np.asarray(pixel_values))})
        self.shown = _shown(head, encode.array(cross.pop())) if head.marks else None
        names = self._session.inputs
        self._past_names = [name for name in names if name.startswith("past")]
        self._cross = dict(zip([name for name in names if name.startswith("cross")], cross, strict=True))
        self._past = dict.fromkeys(self._past_names, self._session.value(empty_cache(encode.array(cross[0]))))
        self._position = 0

    def step(self, tokens: np.ndarray, cross: dict[str, Any] | None = None) -> np.ndarray:
        """Tokens (B,) int64 at the next position to logits (B, vocabulary)."""
        session = self._session
        token, position = session.value(tokens), session.value(np.array(self._position))
        logits, *present = session({"token": token, "position": position, **(cross or self._cross), **self._past})
        self._past = dict(zip(self._past_names, present, strict=True))
        self._position += 1
        return session.array(logits)

    def next_token(self, parents: Sequence[int], symbols: Sequence[int]) -> np.ndarray:
        """As a `NextTokenFunction`, of a batch of one line."""
        session, rows = self._session, np.asarray(parents)
        shared = {name: session.value(session.array(x).repeat(len(rows), axis=0)) for name, x in self._cross.items()}
        self._past = {name: session.value(session.array(x)[rows]) for name, x in self._past.items()}
        return _log_softmax(self.step(np.asarray(symbols, np.int64), shared))


def _decode_tokens(
    head: ExportedHead, load: LoadFunction, pixel_values: Any, length: int | None = None
) -> DecoderOutput:
    """Greedy, one pass per token, until every text has ended; `length` as of `Head.decode`."""
    vocabulary, lines = head.vocabulary, len(pixel_values)
    budget, graphs = vocabulary.budget(length), TokenGraphs(head, load, pixel_values)
    tokens = np.full(lines, vocabulary.begin)
    decoded: list[list[int]] = [[] for _ in range(lines)]
    ended, steps = np.zeros(lines, bool), []
    for position in range(budget):
        logits = allowed = graphs.step(tokens)
        if length is not None and position < length:
            allowed = logits.copy()
            allowed[:, vocabulary.end] = -np.inf
        tokens = allowed.argmax(axis=1)
        steps.append((logits, tokens))
        for row, token, over in zip(decoded, tokens.tolist(), ended.tolist(), strict=True):
            if not over:
                row.append(token)
        ended |= tokens == vocabulary.end
        if ended.all():
            break

    def scores() -> np.ndarray:  # (B, passes): log probabilities of the tokens
        return np.stack([_log_softmax(logits)[np.arange(lines), ids] for logits, ids in steps], axis=1)

    def confidences() -> np.ndarray:
        return np.exp([line[: len(row)].sum() for line, row in zip(scores(), decoded, strict=True)])

    texts = [vocabulary.text_of(row, length) for row in decoded]
    output = DecoderOutput(
        texts,
        confidences,
        len(steps),
        list(map(len, decoded)),
        lambda: [np.exp(line[: len(text)]).tolist() for line, text in zip(scores(), texts, strict=True)],
    )
    output.shown = graphs.shown
    return output


def _decode_speculatively(
    pair: ExportedHead, load: LoadFunction, pixel_values: Any, length: int | None = None
) -> DecoderOutput:
    from seqocr.models.heads.speculative import SessionVerifier, speculative_decode

    encode, verify = load(pair.name), load(pair.name + PASS)
    log_probs, *cross = encode({"pixel_values": encode.value(np.asarray(pixel_values))})
    shown = _shown(pair, encode.array(cross.pop())) if pair.marks else None
    charset = pair.vocabulary.charset
    drafts = GREEDY[str(pair.drafter)](encode.array(log_probs), charset).texts
    verifier = SessionVerifier(verify, cross, verify.value(empty_cache(encode.array(cross[0]))))
    output = speculative_decode(pair.vocabulary, verifier, [list(map(charset.index, text)) for text in drafts], length)
    output.shown = shown
    return output


def empty_cache(cross: np.ndarray) -> np.ndarray:
    """Self-attention's keys or values before the first token, shaped as cross-attention's (B, heads, T, d_head)."""
    batch, heads, _, size = cross.shape
    return np.empty((batch, heads, 0, size), np.float32)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    return logits - log_sum(logits, axis=1)[:, None]
