"""Prediction with exported graphs and no package that takes long to import: numpy, Pillow, ONNX Runtime.

Importing torch and transformers takes seconds, and reading a line milliseconds. A head's graphs are decoded by its
declared output alone, so no class of a head is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from seqocr.data.pixels import Fit
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.files import read_json, shown
from seqocr.inference.graph_decoding import (
    GREEDY,
    PASS,
    PASS_TOKENS,
    STEP,
    STEP_TOKENS,
    TokenGraphs,
    exported_heads,
    graph_decoder,
)
from seqocr.inference.manifest import AGAIN, check_config, check_graphs, rounds_by_batch
from seqocr.inference.sessions import BatchThreads, Session, core_count, load_session, session_class
from seqocr.inference.signature import Signature
from seqocr.models.config_sum import check_sum


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
        key = graph, 1 if graph.endswith(STEP) else threads
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
        name = graph.removesuffix(STEP).removesuffix(PASS)
        head = self.heads.get(name) or self.pairs[name]
        if graph != name:
            # Step and pass: a token, or several; the decoder has classes for begin, end and pad.
            signature.check_step(STEP_TOKENS if graph.endswith(STEP) else PASS_TOKENS, head.vocabulary.pad + 1)
            return
        one_pass = head.output in GREEDY
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
            raise InputError(
                f"no head {strategy!r} among these graphs, which have {', '.join(self.heads)}: choose one, or name the "
                f"head where weights are loaded, as in seqocr.load(head={strategy!r})"
            )

        def work(part: Any, threads: int) -> DecoderOutput:
            decoded = self._decoder(strategy, threads)(self.processor(part))
            _ = decoded.confidences  # by this thread, not by whoever needs them
            return decoded

        return DecoderOutput.of_batches(
            self.processor.batches(images, batch_size),
            lambda batch: DecoderOutput.concatenate(self.batch_threads.map(work, [images[i] for i in batch])),
        )

    def log_probs(self, images: Sequence[Image.Image | np.ndarray], head: str) -> list[np.ndarray]:
        """Of each line (slots or frames, k + 1) float32, of a head whose output is "slots" or "ctc"."""
        return self._lattices(images, head, 0)

    def marks_log_probs(self, images: Sequence[Image.Image | np.ndarray]) -> list[np.ndarray]:
        """Of each line (frames, k + 1) float32: the charset and the marks, then blank."""
        return self._lattices(images, next(iter(self.heads)), -1)

    def _lattices(self, images: Sequence[Image.Image | np.ndarray], graph: str, output: int) -> list[np.ndarray]:
        session = self.session(graph, self.threads)

        def lattices(some: list[Any]) -> np.ndarray:
            return session.array(session({"pixel_values": session.value(self.processor(some))})[output])

        return self.processor.by_width(images, lattices)

    def next_tokens(self, images: Sequence[Image.Image | np.ndarray], head: str) -> list[NextTokenFunction]:
        """A function for each line, of a head whose output is "tokens"."""
        load = partial(self.session, threads=self.threads)
        return [TokenGraphs(self.heads[head], load, self.processor([image])).next_token for image in images]
