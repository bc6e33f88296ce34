"""Tesseract: a process a call, as its wrappers run it; several lines go through one process."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image, ImageOps

from bench.peers.base import Peer, PeerSpec, dark_on_light, keep_digits
from seqocr.data.sources.datasets import DIGITS
from seqocr.models.recognizer import Recognizer

_SCALE = 1.5  # MNIST's digits are 20 pixels high, it wants some 30; best of 1 to 3 on validation strings
_TALL_ENOUGH = 40  # pixels: a line as high as this is not made larger
_BORDER = 10  # pixels; it wants a margin
_SETTINGS = ("--psm", "7", "--dpi", "300", "-c", f"tessedit_char_whitelist={DIGITS}")


def _missing() -> str:
    return "" if shutil.which("tesseract") else "the program tesseract is not installed (Debian: tesseract-ocr)"


def _run(*arguments: str) -> str:
    # A line is too little work for several threads; its FAQ advises this limit.
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(["tesseract", *arguments], capture_output=True, text=True, timeout=600, env=environment)
    if done.returncode > 0:
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
    return done.stdout  # of a line that crashes it (a signal: below 0), nothing


def _load(recognizer: Recognizer, folder: Path, inverted: bool) -> Peer:
    def read(lines: Sequence[torch.Tensor]) -> list[str]:
        with TemporaryDirectory() as scratch:
            paths = [Path(scratch) / f"{i}.png" for i in range(len(lines))]
            for path, line in zip(paths, dark_on_light(lines, inverted), strict=True):
                image = Image.fromarray(line)
                if image.height < _TALL_ENOUGH:
                    image = ImageOps.scale(image, _SCALE, Image.Resampling.BICUBIC)
                ImageOps.expand(image, _BORDER, fill=255).save(path, compress_level=1)
            listed = Path(scratch) / "lines.txt"
            listed.write_text("".join(f"{path}\n" for path in paths))
            pages = _run(str(listed), "stdout", *_SETTINGS).split("\f")
        return [keep_digits(page) for page in (pages + [""] * len(lines))[: len(lines)]]

    first = _run("--version").splitlines()[0]
    return Peer(read, f"{first}, --psm 7, digits only, lines scaled by {_SCALE} with a margin, a process a call")


PEERS = [PeerSpec("Tesseract", _load, _missing, order=20)]
