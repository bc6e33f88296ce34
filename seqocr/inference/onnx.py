"""Reading with exported graphs and nothing that takes long to load: numpy, Pillow, ONNX Runtime.

Importing torch and transformers takes seconds, and reading a line milliseconds. So whatever is imported here does
without them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from seqocr.data.pixels import Fit
from seqocr.decoding.calibration import apply_calibration
from seqocr.decoding.ctc_paths import collapse, ctc_log_likelihood
from seqocr.decoding.logarithms import log_sum
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.files import read_json, shown
from seqocr.inference.manifest import check_exported, is_exported

_TOGETHER = 16  # lines that a thread reads at once: what is computed for them stays in a core's cache
_AGAIN = "write it again with `seqocr export`"


@dataclass(frozen=True)
class Texts:
    """What a head read of B lines.

    Attributes:
        texts: B strings; confidences: (B,) float64 in [0, 1], how probable each is.
        passes: (B,) decoder passes that each took.
    """

    texts: list[str]
    confidences: np.ndarray
    passes: list[int]


class OnnxRecognizer:
    """Exported graphs in ONNX Runtime; reads as the recognizer that they were exported from does.

    Args:
        directory: written by `seqocr export`.
        threads: that read side by side; default: one a core.

    Raises:
        InputError: ONNX Runtime is not installed, or the directory does not hold graphs of this version.
    """

    def __init__(self, directory: Path, threads: int | None = None) -> None:
        self.directory, self.threads = directory, threads or len(os.sched_getaffinity(0))
        config = read_json(directory / "config.json", "exported graphs' config", _AGAIN)
        try:
            processor = config["processor"]
            self.charset, self.max_length = str(config["charset"]), int(config["max_length"])
            self.heads = {name: _DECODERS[name] for name in config["heads"] if name in _DECODERS}
            size = config["encoder"]["image_size"]
            height, width = size if isinstance(size, list) else (size, size)
            self.fit = Fit(height, width, processor["keep_aspect"], tuple(processor["mean"]), tuple(processor["std"]))
            self._decoder = config["heads"].get("ar", {})
            check_exported(directory, config, [graph for each in self.heads.values() for graph in each.graphs])
            self.provenance = dict(config["provenance"])
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{shown(directory)}/config.json describes no exported graphs ({error}): {_AGAIN}"
            ) from None
        self._sessions: dict[tuple[str, int], Any] = {}

    def session(self, graph: str, threads: int) -> Any:
        """A graph, loaded once for each number of threads."""
        if (graph, threads) not in self._sessions:
            self._sessions[graph, threads] = _loaded(self.directory / f"{graph}.onnx", threads)
        return self._sessions[graph, threads]

    def decoder(self, head: str, threads: int = 1) -> Any:
        """What decodes pixel values (B, 3, H, W) with a head.

        Raises:
            InputError: there is no such head.
        """
        if head not in self.heads:
            raise InputError(f"no head {head!r} among these graphs: they have {', '.join(self.heads)}")
        return self.heads[head](self, threads)

    def log_probs(self, images: Sequence[Image.Image | np.ndarray], head: str) -> np.ndarray:
        """(B, places, classes) float32 of a one-pass head."""
        found: np.ndarray = self.decoder(head, self.threads).log_probs(self.fit(images))
        return found

    def writers(self, images: Sequence[Image.Image | np.ndarray], head: str) -> list[NextTokenFunction]:
        """Of the autoregressive head, what gives log probabilities of the next symbol, a line."""
        decoder: Autoregressive = self.decoder(head, self.threads)
        cross = decoder.cross(self.fit(images))
        return [_writer(decoder, {name: x[i : i + 1] for name, x in cross.items()}) for i in range(len(images))]

    def span(self, image: Image.Image) -> float:
        """Pixels of the image that the whole width of the encoder's input stands for."""
        if not self.fit.keep_aspect:
            return float(image.width)
        return self.fit.width / min(self.fit.height / image.height, self.fit.width / image.width)

    def read(self, images: Sequence[Image.Image | np.ndarray], head: str = "ctc", batch_size: int = 64) -> Texts:
        """Read line images: grey, (h, w) uint8, or of Pillow's. They are shared out among threads.

        Confidences are honest where the weights are calibrated.

        Raises:
            InputError: there is no such head, or an image cannot be used.
        """
        if not images:
            self.decoder(head)
            return Texts([], np.zeros(0), [])
        if len(images) < 2 * self.threads:
            return self.apply_calibration(head, self.decoder(head, self.threads).read(self.fit(images)))
        decoder = self.decoder(head)
        size = min(_TOGETHER, math.ceil(len(images) / self.threads))
        parts = [images[at : at + size] for at in range(0, len(images), size)]
        with ThreadPoolExecutor(self.threads, thread_name_prefix="lines") as pool:
            return self.apply_calibration(
                head, joined(list(pool.map(lambda part: decoder.read(self.fit(part)), parts)))
            )

    def apply_calibration(self, head: str, read: Texts) -> Texts:
        """With confidences as they should be, where the weights are calibrated."""
        return replace(read, confidences=apply_calibration(self.provenance, head, read.confidences))


def joined(parts: Sequence[Texts]) -> Texts:
    """Of one after another."""
    texts = [text for part in parts for text in part.texts]
    passes = [n for part in parts for n in part.passes]
    return Texts(texts, np.concatenate([part.confidences for part in parts]), passes)


class OnePass:
    """A head that gives every place its distribution at once."""

    name: ClassVar[str]
    graphs: ClassVar[tuple[str, ...]]

    def __init__(self, reader: OnnxRecognizer, threads: int) -> None:
        self.charset, self._session = reader.charset, reader.session(self.name, threads)

    def log_probs(self, pixel_values: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) float32 -> (B, places, classes) float32."""
        (found,) = self._session.run(None, {"pixel_values": pixel_values})
        return np.asarray(found)

    def read(self, pixel_values: np.ndarray) -> Texts:
        log_probs = self.log_probs(pixel_values)
        texts, confidences = self.spelled(log_probs)
        return Texts(texts, confidences, [1] * len(texts))

    def spelled(self, log_probs: np.ndarray) -> tuple[list[str], np.ndarray]:
        raise NotImplementedError


class Parallel(OnePass):
    """A symbol, or "empty", a slot (see `seqocr.models.heads.parallel`)."""

    name, graphs = "parallel", ("parallel",)

    def spelled(self, log_probs: np.ndarray) -> tuple[list[str], np.ndarray]:
        symbols = [*self.charset, ""]
        texts = ["".join([symbols[i] for i in row]) for row in log_probs.argmax(axis=2).tolist()]
        return texts, np.exp(log_probs.max(axis=2).astype(np.float64).sum(axis=1))


class Ctc(OnePass):
    """A symbol, or blank, a frame (see `seqocr.models.heads.ctc`)."""

    name, graphs = "ctc", ("ctc",)

    def spelled(self, log_probs: np.ndarray) -> tuple[list[str], np.ndarray]:
        blank = len(self.charset)
        ids = [collapse(row, blank) for row in log_probs.argmax(axis=2).tolist()]
        texts = ["".join([self.charset[i] for i in row]) for row in ids]
        return texts, np.exp(np.minimum(ctc_log_likelihood(log_probs.astype(np.float64), ids), 0))


class Autoregressive:
    """TrOCR's decoder, one token a pass, greedy (see `seqocr.models.heads.autoregressive`)."""

    name, graphs = "ar", ("ar", "ar-step")

    def __init__(self, reader: OnnxRecognizer, threads: int) -> None:
        self.charset, self.max_length = reader.charset, reader.max_length
        self._encode = reader.session(self.name, threads)
        # A step is too little work to be shared: waking a second thread takes longer.
        self._step = reader.session(f"{self.name}-step", 1)
        settings = reader._decoder
        heads = int(settings["decoder_attention_heads"])
        self._shape = (heads, 0, int(settings["d_model"]) // heads)
        names = [each.name for each in self._step.get_inputs()]
        self._cross, self._past = ([name for name in names if name.startswith(kind)] for kind in ("cross", "past"))
        self.begin, self.end = len(self.charset), len(self.charset) + 1

    def cross(self, pixel_values: np.ndarray) -> dict[str, np.ndarray]:
        """The cross-attention's keys and values, each (B, heads, T, d_head), by name."""
        return dict(zip(self._cross, self._encode.run(None, {"pixel_values": pixel_values}), strict=True))

    def start(self, lines: int) -> dict[str, np.ndarray]:
        """Self-attention's keys and values before the first token."""
        return {name: np.empty((lines, *self._shape), np.float32) for name in self._past}

    def step(
        self, tokens: np.ndarray, position: int, cross: dict[str, np.ndarray], past: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Tokens (B,) int64 at a position to log probabilities (B, vocabulary), and all keys and values so far."""
        values = {"token": tokens, "position": np.array(position), **cross, **past}
        logits, *present = self._step.run(None, values)
        logits = np.asarray(logits, np.float64)
        return logits - log_sum(logits, axis=1)[:, None], dict(zip(self._past, present, strict=True))

    def read(self, pixel_values: np.ndarray) -> Texts:
        lines = len(pixel_values)
        cross, past = self.cross(pixel_values), self.start(lines)
        tokens = np.full(lines, self.begin)
        written: list[list[int]] = [[] for _ in range(lines)]
        confidence, ended = np.zeros(lines), np.zeros(lines, bool)
        for position in range(self.max_length + 1):
            log_probs, past = self.step(tokens, position, cross, past)
            tokens = log_probs.argmax(axis=1)
            confidence += np.where(ended, 0, log_probs[np.arange(lines), tokens])
            for row, token, over in zip(written, tokens.tolist(), ended.tolist(), strict=True):
                if not over:
                    row.append(token)
            ended |= tokens == self.end
            if ended.all():
                break
        return Texts([self._text(row) for row in written], np.exp(confidence), list(map(len, written)))

    def _text(self, tokens: list[int]) -> str:
        symbols = tokens[: self.max_length]
        symbols = symbols[: symbols.index(self.end)] if self.end in symbols else symbols
        return "".join(self.charset[i] for i in symbols if i < len(self.charset))


def _writer(decoder: Autoregressive, cross: dict[str, np.ndarray]) -> NextTokenFunction:
    past, position = decoder.start(1), 0

    def next_token(parents: Sequence[int], symbols: Sequence[int]) -> np.ndarray:
        nonlocal past, position
        rows = np.asarray(parents)
        wide = {name: np.repeat(x, len(rows), axis=0) for name, x in cross.items()}
        kept = {name: x[rows] for name, x in past.items()}
        log_probs, past = decoder.step(np.asarray(symbols, np.int64), position, wide, kept)
        position += 1
        return log_probs

    return next_token


_DECODERS: dict[str, Any] = {each.name: each for each in (Autoregressive, Parallel, Ctc)}


def reads_quickly(directory: Path, head: str) -> bool:
    """Whether a directory holds exported graphs, and those of a head that is read here."""
    return (
        is_exported(directory) and head in _DECODERS and head in read_json(directory / "config.json").get("heads", {})
    )


def _loaded(path: Path, threads: int) -> Any:
    name = shown(path)
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("onnxruntime is not installed: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning while idle, threads would take the cores from those at work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds
        raise InputError(f"{name} cannot be used ({str(error).splitlines()[0]}): {_AGAIN}") from error
