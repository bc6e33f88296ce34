"""What people would use instead, on the same line images: from pixels in memory to text.

A peer is given a fair image, dark on light and scaled as its documentation advises, and the settings recommended there
for a single line of digits. What it reads that is not in the charset is dropped.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps

from bench import runtimes
from bench.plan import HEADS, TASK_LENGTH, Cell, Plan
from bench.rounds import measure_rounds, readings, rounds_left, task_strings
from bench.store import Store
from bench.subjects import clock
from seqocr.checkpoints import SHIPPED, load_recognizer
from seqocr.data.processor import Processor
from seqocr.models.presets import PRESETS
from seqocr.data.sources import DIGITS
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter

_DOCTR = ("parseq", "vitstr_small", "crnn_vgg16_bn", "crnn_mobilenet_v3_small")
# Heads of the evaluated recognizer, by the runtime that reads with them.
_OWN = {"eager": ("ar-generate", *HEADS), "onnxruntime": ("ar", "parallel")}

Read = Callable[[Sequence[torch.Tensor]], list[str]]  # B lines (h, w) uint8 to B texts


@dataclass(frozen=True)
class Peer:
    """A system to compare with.

    Attributes:
        read: lines to texts, all of its own preparation of the image included.
        trained: its weights were trained to read; otherwise they are random, and only its time means anything.
        about: version and settings, for the report.
    """

    read: Read
    trained: bool
    about: str


def names() -> list[str]:
    """Every peer, our own heads first."""
    own = [_own_name(runtime, head) for runtime, heads in _OWN.items() for head in heads]
    return [*own, "RapidOCR", "Tesseract", *(f"docTR {arch}" for arch in _DOCTR), "TrOCR-small"]


def _own_name(runtime: str, head: str) -> str:
    return head if runtime == "eager" else f"{head}, {runtime}"


def missing(name: str) -> str:
    """Why a peer cannot be had here; empty if it can."""
    if name == "Tesseract":
        return "" if shutil.which("tesseract") else "the program tesseract is not installed (Debian: tesseract-ocr)"
    if name == "RapidOCR" and find_spec("rapidocr_onnxruntime") is None:
        return "rapidocr-onnxruntime is not installed"
    if name.startswith("docTR") and find_spec("doctr") is None:
        return "python-doctr is not installed"
    _, _, runtime = name.partition(", ")
    return runtimes.missing(runtime) if runtime else ""


def load(name: str, recognizer: Recognizer, folder: Path, inverted: bool = True) -> Peer:
    """A peer, ready to read.

    Args:
        recognizer: whose heads are among the peers.
        folder: where its graphs are written, see `runtimes.prepare`.
        inverted: lines are light on dark, as MNIST has them; False: they are as they were scanned.
    """
    if name == "RapidOCR":
        return _rapidocr(inverted)
    if name == "Tesseract":
        return _tesseract(inverted)
    if name.startswith("docTR"):
        return _doctr(name.split()[1], inverted)
    if name == "TrOCR-small":
        return _trocr(inverted)
    head, _, runtime = name.partition(", ")
    return _own(recognizer, runtime or "eager", head, folder)


def _own(recognizer: Recognizer, runtime: str, head: str, folder: Path) -> Peer:
    decode, processor = runtimes.prepare(runtime, recognizer, folder).heads[head], recognizer.processor
    return Peer(lambda lines: decode(processor(lines)).texts, trained=True, about=f"seqocr, {runtime}")


def _dark_on_light(lines: Sequence[torch.Tensor], inverted: bool) -> list[np.ndarray]:
    return [255 - line.numpy() if inverted else line.numpy() for line in lines]


def _coloured(lines: Sequence[torch.Tensor], inverted: bool) -> list[np.ndarray]:
    """Dark on light, B images (h, w, 3)."""
    return [np.repeat(line[..., None], 3, axis=2) for line in _dark_on_light(lines, inverted)]


def _digits_only(text: str) -> str:
    return "".join(symbol for symbol in text if symbol in DIGITS)


def _rapidocr(inverted: bool) -> Peer:
    """PP-OCRv4's recogniser (SVTR-LCNet, CTC). It scales lines to 48 pixels by itself."""
    from rapidocr_onnxruntime import RapidOCR

    recognise = RapidOCR().text_rec

    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        return [_digits_only(text) for text, *_ in recognise(_coloured(lines, inverted))[0]]

    about = f"rapidocr-onnxruntime {version('rapidocr-onnxruntime')}, recognition only, PP-OCRv4 weights"
    return Peer(read, trained=True, about=about)


_TESSERACT_SCALE = 1.5  # MNIST's digits are 20 pixels high, it wants some 30; best of 1 to 3 on validation strings
_TALL_ENOUGH = 40  # pixels: a line as high as this is not made larger
_TESSERACT_BORDER = 10  # pixels; it wants a margin


def _tesseract(inverted: bool) -> Peer:
    """A process a call, as its wrappers run it; several lines go through one process."""
    settings = ["--psm", "7", "--dpi", "300", "-c", f"tessedit_char_whitelist={DIGITS}"]
    # A line is too little work for several threads; its FAQ advises this limit.
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(["tesseract", *arguments], capture_output=True, text=True, timeout=600, env=environment)
        if done.returncode > 0:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        return done.stdout  # of a line that crashes it (a signal: below 0), nothing

    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        with TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}.png" for i in range(len(lines))]
            for path, line in zip(paths, _dark_on_light(lines, inverted), strict=True):
                image = Image.fromarray(line)
                if image.height < _TALL_ENOUGH:
                    image = ImageOps.scale(image, _TESSERACT_SCALE, Image.Resampling.BICUBIC)
                ImageOps.expand(image, _TESSERACT_BORDER, fill=255).save(path, compress_level=1)
            listed = Path(folder) / "lines.txt"
            listed.write_text("".join(f"{path}\n" for path in paths))
            pages = run(str(listed), "stdout", *settings).split("\f")
        return [_digits_only(page) for page in (pages + [""] * len(lines))[: len(lines)]]

    first = run("--version").splitlines()[0]
    about = f"{first}, --psm 7, digits only, lines scaled by {_TESSERACT_SCALE} with a margin, a process a call"
    return Peer(read, trained=True, about=about)


def _doctr(arch: str, inverted: bool) -> Peer:
    """docTR's own predictor. Heads that write symbol by symbol are built for the task's length, so they stop there."""
    from doctr.models import recognition
    from doctr.models.preprocessor import PreProcessor
    from doctr.models.recognition.predictor import RecognitionPredictor

    limit = {} if arch.startswith("crnn") else {"max_length": TASK_LENGTH}
    torch.manual_seed(0)
    model = getattr(recognition, arch)(pretrained=False, pretrained_backbone=False, vocab=DIGITS, **limit).eval()
    if arch == "parseq":
        model.head.bias.data[len(DIGITS)] = -1e4  # never the end, so that it writes all it may
    look = {name: model.cfg[name] for name in ("mean", "std")}
    shape = model.cfg["input_shape"][-2:]
    predict = RecognitionPredictor(PreProcessor(shape, batch_size=128, preserve_aspect_ratio=True, **look), model)

    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        with torch.inference_mode():
            return [text for text, _ in predict(_coloured(lines, inverted))]

    return Peer(read, trained=False, about=f"python-doctr {version('python-doctr')}, random weights")


_TROCR_VOCABULARY = 64_044  # wordpieces of microsoft/trocr-small-*


def _trocr(inverted: bool) -> Peer:
    """TrOCR-small as people fine-tune it: 384×384 pixels, its whole vocabulary, `generate`, a token a digit."""
    from transformers import DeiTConfig, TrOCRConfig, TrOCRForCausalLM, VisionEncoderDecoderModel
    from transformers.models.deit import DeiTModel

    preset = PRESETS["small"]
    torch.manual_seed(0)
    encoder = DeiTModel(DeiTConfig(**preset.encoder), add_pooling_layer=False)
    decoder = TrOCRForCausalLM(
        TrOCRConfig(
            vocab_size=_TROCR_VOCABULARY, cross_attention_hidden_size=encoder.config.hidden_size, **preset.decoder
        )
    )
    model: Any = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    start = decoder.config.decoder_start_token_id
    model.generation_config.update(
        decoder_start_token_id=start, pad_token_id=1, eos_token_id=2, do_sample=False, num_beams=1
    )
    height, width = preset.encoder["image_size"]
    processor = Processor(height, width, keep_aspect=preset.keep_aspect)
    written = TASK_LENGTH + 1  # and the end

    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        dark_on_light = [255 - line for line in lines] if inverted else lines
        with torch.inference_mode():
            ids = model.generate(processor(dark_on_light), min_new_tokens=written, max_new_tokens=written)
        return [" ".join(map(str, row)) for row in ids.tolist()]

    return Peer(read, trained=False, about="transformers' generate, greedy, random weights")


def measure_readings(plan: Plan, store: Store, weights: Path | None) -> None:
    """Read the strings of `measure_accuracy` with every peer that is there and has trained weights."""
    strings = task_strings(plan.strings)
    lines, texts = strings.batch(range(len(strings)))
    recognizer = load_recognizer(weights or SHIPPED)
    not_run = {name: why for name in names() if (why := missing(name))}
    about: dict[str, Any] = {}
    rows: list[pd.DataFrame] = []
    with TemporaryDirectory() as folder:
        for name in [name for name in names() if name not in not_run]:
            peer = load(name, recognizer, Path(folder))
            about[name] = {"about": peer.about, "trained": peer.trained}
            if peer.trained:
                rows.append(readings(peer.read, torch.stack(list(lines)), texts, peer=name))
    store.write_facts({**store.facts(), "peers": about, "peers_not_run": not_run})
    store.write("peer-predictions", pd.concat(rows, ignore_index=True))


def measure_peers(cell: Cell, store: Store, weights: Path | None, reporter: Reporter) -> None:
    """Time every peer, from lines in memory to texts, in random order in each round, at batch 1 and the cell's."""
    if not rounds_left(store, cell):
        return
    lines: Any = task_strings(cell.batch).batch(range(cell.batch))[0]
    recognizer = load_recognizer(weights or SHIPPED)
    with TemporaryDirectory() as folder:
        read = {name: load(name, recognizer, Path(folder)).read for name in names() if not missing(name)}
        calls = [(name, batch) for name in read for batch in (1, cell.batch)]

        def one_round(shuffle: random.Random) -> Iterator[dict[str, Any]]:
            for name, batch in shuffle.sample(calls, len(calls)):
                time.sleep(runtimes.REST)  # as runtimes do
                read[name](lines[:batch])
                for repeat in range(cell.repeats if batch == 1 else 1):
                    _, seconds = clock(partial(read[name], lines[:batch]), torch.device("cpu"))
                    yield {"peer": name, "batch": batch, "repeat": repeat, "seconds": seconds}

        measure_rounds(cell, store, reporter, one_round)
