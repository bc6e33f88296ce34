"""Weights of a package's heads and of the built-in ones, lines to read, and the command line in this process."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

from PIL import Image
from safetensors.torch import load_file, save_file

from seqocr import cli
from seqocr.data.images import open_line
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.load import load
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.config_sum import with_sum
from seqocr.models.encoder import Encoder
from seqocr.models.recognizer import Recognizer

TOYS = {"ar": "mytokens", "parallel": "myslots", "ctc": "myctc"}
ALL = {**TOYS, "ar-speculative": "mytokens-speculative"}
KINDS = ("toy", "built-in")
LINES, READ = 60, 8  # lines of the folder that is learned from, and how many of them are read


class Workplace:
    """Folders of one run: `toy` and `built-in` hold the weights that were trained."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines, self.some = folder, folder / "lines", folder / "some"
        self.trained = {kind: folder / kind for kind in KINDS}
        self.start = {kind: folder / f"start-{kind}" for kind in KINDS}
        self.graphs = folder / "graphs"
        save(shallow(), self.start["built-in"])
        rename(self.start["built-in"], self.start["toy"])
        images, texts = SequenceMNIST(embedded_digits(), 5, count=LINES).batch(range(LINES))
        for part, count in ((self.lines, LINES), (self.some, READ)):
            part.mkdir()
            for i in range(count):
                Image.fromarray(images[i].numpy()).save(part / f"{i:02}.png")
        rows = [f"{i:02}.png,{text}" for i, text in enumerate(texts)]
        (self.lines / "metadata.csv").write_text("\n".join(["file_name,text", *rows]))

    def images(self) -> list[Image.Image]:
        return [open_line(path) for path in sorted(self.some.iterdir())]


def shallow() -> Recognizer:
    """The shipped weights, of encoder and decoder the first layer alone: quick to train and to export."""
    full = load_recognizer("seqocr/weights/tiny")
    config = {**full.encoder.config.to_dict(), "num_hidden_layers": 1}
    settings = {**full.head_settings, "ar": {**full.head_settings["ar"], "decoder_layers": 1}}
    made = Recognizer(Encoder.from_config(config), full.processor, settings, full.charset, full.max_length)
    made.load_state_dict(full.state_dict(), strict=False)
    return made.eval()


def rename(source: Path, out: Path) -> None:
    """Copy weights, each head under the name of the package's head of its kind."""
    out.mkdir()
    config = json.loads((source / "config.json").read_text())
    config["heads"] = {TOYS[name]: settings for name, settings in config["heads"].items()}
    del config["files"]  # the weights are renamed, too
    (out / "config.json").write_text(json.dumps(with_sum(config)))
    weights = load_file(source / "model.safetensors")
    for name, toy in TOYS.items():
        weights = {key.replace(f"heads.{name}.", f"heads.{toy}."): value for key, value in weights.items()}
    save_file(weights, out / "model.safetensors")


def name_in(kind: str, name: str) -> str:
    return ALL[name] if kind == "toy" else name


def of_built_in(text: str) -> str:
    """Names of the package's heads replaced by those of the built-in ones."""
    for name, toy in TOYS.items():
        text = text.replace(toy, name)
    return text


def seqocr(*arguments: object) -> str:
    """What the command line prints, in this process."""
    code, out, error = run(*arguments)
    assert not code, error
    return out


def run(*arguments: object) -> tuple[int, str, str]:
    """The command line's exit code, stdout and stderr."""
    before, sys.argv, code = sys.argv, ["seqocr", *map(str, arguments)], 0
    out, error = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            sys.argv = before
    out.seek(0)
    return code, out.read(), error.getvalue()


def texts(weights: Path, kind: str, images: list[Image.Image]) -> dict[str, list[str]]:
    reader = load(weights)
    return {name: reader.decode(images, name_in(kind, name)).texts for name in ALL}
