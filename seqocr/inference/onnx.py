"""Prediction with exported graphs and no package that takes long to import: numpy, Pillow, ONNX Runtime.

Importing torch and transformers takes seconds, and reading a line milliseconds. A head's graphs are decoded by its
declared output alone, so no class of a head is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from seqocr.data.pixels import Fit
from seqocr.decoding.greedy import decode_ctc, decode_slots
from seqocr.decoding.logarithms import log_sum
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.search import NextTokenFunction
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.errors import InputError
from seqocr.files import read_json, shown
from seqocr.inference.manifest import AGAIN, check_config, check_graphs, rounds_by_batch
from seqocr.inference.sessions import BatchThreads, Session, core_count, load_session, session_class
from seqocr.inference.signature import Shape, Signature
from seqocr.models.config_sum import check_sum

_DECODERS: dict[str, Callable[[np.ndarray, str], DecoderOutput]] = {"slots": decode_slots, "ctc": decode_ctc}
_STEP, _PASS = "-step", "-pass"  # endings of the names of graphs that run once per token, or per verifying pass
_STEP_TOKENS: dict[str, tuple[str, Shape]] = {"token": ("int64", (None,)), "position": ("int64", ())}
_PASS_TOKENS: dict[str, tuple[str, Shape]] = {
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
        if self.output in _DECODERS:
            return (self.name,)
        return self.name, self.name + (_STEP if self.drafter is None else _PASS)


def exported_heads(config: Mapping[str, Any]) -> tuple[dict[str, ExportedHead], dict[str, ExportedHead]]:
    """Heads and pairs of heads, by name, of exported graphs' config (see `seqocr.inference.export.declare`)."""
    charset, longest, outputs = config["charset"], config["max_length"], config["outputs"]
    heads = {}
    for name, output in outputs.items():
        positions = max(longest + 1, config["heads"][name].get("max_position_embeddings", 0))
        heads[name] = ExportedHead(name, output, TokenVocabulary(charset, longest, positions), config.get("marks", ""))
    pairs = {name: replace(heads[v], name=name, drafter=outputs[d]) for name, (v, d) in config["pairs"].items()}
    return heads, pairs


class OnnxRecognizer:
    """Exported graphs in an engine; predicts as the recognizer that they were exported from does.

    Args:
        directory: written by `seqocr export`.
        engine: one of `seqocr.inference.sessions.ENGINES`.
        threads: default: one per core.

    Attributes:
        heads, pairs: by name; pairs, for speculative decoding, need torch.
        rounds_by_batch: whether a line's numbers depend on those read at once: int8 graphs of earlier versions.

    Raises:
        InputError: the engine is not installed, or the directory does not hold graphs of this version.
    """

    def __init__(self, directory: Path, engine: str = "onnxruntime", threads: int | None = None) -> None:
        session_class(engine)  # what is wrong with it is said first
        self.directory, self.engine = directory, engine
        self.batch_threads = BatchThreads(threads or core_count(), engine)
        config = read_json(directory / "config.json", "exported graphs' config", AGAIN)
        try:
            check_config(directory, config)
            processor, size = config["processor"], config["encoder"]["image_size"]
            self.charset, self.max_length = str(config["charset"]), int(config["max_length"])
            height, width = size if isinstance(size, list) else (size, size)
            look: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in processor.items()}
            self.processor = Fit(height, width, **look)
            self.marks = str(config.get("marks", ""))
            self.heads, self.pairs = exported_heads(config)
            both = (*self.heads.values(), *self.pairs.values())
            check_graphs(directory, config, [graph for each in both for graph in each.graphs])
            check_sum(directory / "config.json", config)
            self.provenance: Mapping[str, Any] = dict(config["provenance"])
            self.rounds_by_batch = rounds_by_batch(config)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = f"{shown(directory)}/config.json"
            raise InputError(f"{name} describes no exported graphs ({error}): {AGAIN}") from None
        self._sessions: dict[tuple[str, int], Session] = {}
        self._loading = Lock()

    @property
    def shown_symbols(self) -> str:
        """Those of `marks_log_probs`, in order; none where there is no reader of marks."""
        return self.charset + self.marks if self.marks else ""

    @property
    def threads(self) -> int:
        return self.batch_threads.threads

    def with_threads(self, threads: int) -> OnnxRecognizer:
        """The same graphs on another number of threads."""
        other = copy.copy(self)
        other.batch_threads = BatchThreads(threads, self.engine)
        return other

    def session(self, graph: str, threads: int) -> Session:
        """A graph, loaded once for each number of threads."""
        # A step is too little work to be shared: waking a second thread takes longer.
        key = graph, 1 if graph.endswith(_STEP) else threads
        with self._loading:
            if key not in self._sessions:
                path = self.directory / f"{graph}.onnx"
                session = load_session(path, self.engine, key[1])
                try:
                    self._check(graph, session.signature)
                except ValueError as error:
                    raise InputError(f"{shown(path)} is no graph of {graph} ({error}): {AGAIN}") from None
                self._sessions[key] = session
        return self._sessions[key]

    def _check(self, graph: str, signature: Signature) -> None:
        """Raise a ValueError unless the graph's inputs and outputs are as its head declares."""
        name = graph.removesuffix(_STEP).removesuffix(_PASS)
        head = self.heads.get(name) or self.pairs[name]
        if graph != name:
            # Step and pass: a token, or several; the decoder has classes for begin, end and pad.
            signature.check_step(_STEP_TOKENS if graph.endswith(_STEP) else _PASS_TOKENS, head.vocabulary.pad + 1)
            return
        one_pass = head.output in _DECODERS
        classes = len(self.charset) + 1 if one_pass or head.drafter else None
        width = self.processor.width if self.processor.width_multiple is None else None
        marks = len(self.shown_symbols) + 1 if self.marks else None
        signature.check_pixels(self.processor.height, width, classes, not one_pass, marks)

    def decode_functions(self) -> dict[str, DecodeFunction]:
        """Of each head and pair, by name; they take pixel_values (B, 3, H, W) float32, the output of `encode`."""
        return {name: partial(self._decode, name) for name in (*self.heads, *self.pairs)}

    def _decode(self, name: str, pixel_values: Any, length: int | None = None) -> DecoderOutput:
        def work(part: Any, threads: int) -> DecoderOutput:
            return self._decoder(name, threads)(part, length)

        return DecoderOutput.concatenate(self.batch_threads.map(work, pixel_values))

    def _decoder(self, name: str, threads: int) -> DecodeFunction:
        return graph_decoder(self.heads.get(name) or self.pairs[name], partial(self.session, threads=threads))

    def encode(self, images: Sequence[Image.Image | np.ndarray]) -> np.ndarray:
        """pixel_values (B, 3, H, W) float32: every head's graph has the encoder in it."""
        return self.processor(images)

    def decode(self, images: Sequence[Image.Image | np.ndarray], strategy: str, batch_size: int = 64) -> DecoderOutput:
        """Read line images (see `Fit`); confidences are the head's own, not calibrated. InputError if there is no such
        head, or an image cannot be used."""
        if strategy not in self.heads and strategy not in self.pairs:
            raise InputError(f"no head {strategy!r} among these graphs: they have {', '.join(self.heads)}")

        def work(part: Any, threads: int) -> DecoderOutput:
            decoded = self._decoder(strategy, threads)(self.processor(part))
            _ = decoded.confidences  # by this thread, not by whoever needs them
            return decoded

        batches = self.processor.batches(images, batch_size)
        parts = [part for batch in batches for part in self.batch_threads.map(work, [images[i] for i in batch])]
        return DecoderOutput.concatenate(parts).ordered([i for batch in batches for i in batch])

    def log_probs(self, images: Sequence[Image.Image | np.ndarray], head: str) -> list[np.ndarray]:
        """Of each line (slots or frames, k + 1) float32, of a head whose output is "slots" or "ctc"."""
        return self._lattices(images, head, 0)

    def marks_log_probs(self, images: Sequence[Image.Image | np.ndarray]) -> list[np.ndarray]:
        """Of each line (frames, k + 1) float32: the charset and the marks, then blank."""
        return self._lattices(images, next(iter(self.heads)), -1)

    def _lattices(self, images: Sequence[Image.Image | np.ndarray], graph: str, output: int) -> list[np.ndarray]:
        session = self.session(graph, self.threads)
        found: dict[int, np.ndarray] = {}
        for batch in self.processor.batches(images, len(images)):
            outputs = session({"pixel_values": session.value(self.processor([images[i] for i in batch]))})
            found.update(zip(batch, session.array(outputs[output]), strict=True))
        return [found[i] for i in range(len(images))]

    def next_tokens(self, images: Sequence[Image.Image | np.ndarray], head: str) -> list[NextTokenFunction]:
        """A function for each line, of a head whose output is "tokens"."""
        load = partial(self.session, threads=self.threads)
        return [_TokenGraphs(self.heads[head], load, self.processor([image])).next_token for image in images]


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
    output = _DECODERS[head.output](session.array(log_probs), head.vocabulary.charset)
    if head.marks:
        output.shown = _shown(head, session.array(rest[-1]))
    return output


def _shown(head: ExportedHead, log_probs: np.ndarray) -> list[str]:
    """All that lines show, by a graph's last output."""
    return decode_ctc(log_probs, head.vocabulary.charset + head.marks).texts


class _TokenGraphs:
    """An autoregressive head's graphs on one batch of pixel_values (B, 3, H, W)."""

    def __init__(self, head: ExportedHead, load: LoadFunction, pixel_values: Any) -> None:
        encode, self._session = load(head.name), load(head.name + _STEP)
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
    budget, graphs = vocabulary.budget(length), _TokenGraphs(head, load, pixel_values)
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

    encode, verify = load(pair.name), load(pair.name + _PASS)
    log_probs, *cross = encode({"pixel_values": encode.value(np.asarray(pixel_values))})
    shown = _shown(pair, encode.array(cross.pop())) if pair.marks else None
    charset = pair.vocabulary.charset
    drafts = _DECODERS[str(pair.drafter)](encode.array(log_probs), charset).texts
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
