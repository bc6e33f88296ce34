"""How well drawn lines can be told from real ones: a small network, and a sheet to look at with one's own eyes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import nn

from seqocr.data.folder import LineFolder
from seqocr.data.processor import Processor
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import load_digits
from seqocr.data.sources.glyphs import load_glyphs
from seqocr.data.synthetic.layouts import level
from seqocr.data.synthetic.lines import SyntheticLines, Texts
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.errors import InputError
from seqocr.files import replacing, write_text
from seqocr.progress import progress
from seqocr.statistics import proportion

_SIZE = (40, 240)  # pixels: what lines are fitted into
_HELD_OUT = 0.2
_BATCH = 64
_SHOWN = 30  # lines of each kind on the sheet
_FEWEST = 100


@dataclass(frozen=True)
class Looks:
    """What the network found on lines that it had not learned from.

    Attributes:
        accuracy, low, high: share that it took for what they are, real and drawn lines counting the same; 0.5 is
            guessing. With a 95 % interval.
        real, drawn: the like for each kind.
        lines: of each kind. steps, seconds: of training.
    """

    accuracy: float
    low: float
    high: float
    real: float
    drawn: float
    lines: int
    steps: int
    seconds: float


def drawn_lines(names: Sequence[str], root: Path | None, length: tuple[int, int], count: int) -> list[Any]:
    """Lines of levels (`wild`), or of sources of glyphs by one writer each (`seqocr.data.sources.glyphs`), in turn."""
    streams: list[Any] = []
    for i, name in enumerate(names):
        try:
            layout = level(name)
        except InputError:
            streams.append(
                SyntheticLines(load_glyphs(name, "train", root), Texts(length), WriterStyle(), seed=i, count=count)
            )
        else:
            digits = load_digits("train", root=root)
            streams.append(SequenceMNIST(digits, length, layout=layout, seed=i, count=count, replacement=True))
    found: list[Any] = []
    each = -(-count // len(streams))
    for stream in streams:
        for at in range(0, each, _BATCH):
            found += list(stream.batch(range(at, min(at + _BATCH, each)))[0])
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0)).tolist()
    return [found[i] for i in order][:count]


def told_apart(real: Sequence[Any], drawn: Sequence[Any], seconds: float = 120, seed: int = 0) -> Looks:
    """Train a network of four layers of convolutions to tell two kinds of lines apart, as many of each.

    Raises:
        InputError: there are too few.
    """
    if min(len(real), len(drawn)) < _FEWEST:
        raise InputError(f"{min(len(real), len(drawn)):,} lines to tell apart: give {_FEWEST} or more")
    torch.manual_seed(seed)
    kinds = [_fitted(lines) for lines in (real, drawn)]
    border = round((1 - _HELD_OUT) * min(map(len, kinds)))
    learned = [lines[:border] for lines in kinds]
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    steps, start = 0, time.monotonic()
    with progress("tell apart", round(seconds)) as reporter:
        while (passed := time.monotonic() - start) < seconds:
            network.train()
            x = torch.cat([lines[torch.randint(border, (_BATCH // 2,))] for lines in learned])
            y = torch.cat([torch.ones(_BATCH // 2), torch.zeros(_BATCH // 2)])
            # A line may stand a little elsewhere.
            x = torch.roll(x, (int(torch.randint(-2, 3, ())), int(torch.randint(-4, 5, ()))), (2, 3))
            loss = F.binary_cross_entropy_with_logits(network(x)[:, 0], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if (more := int(passed) - reporter.done) > 0:
                reporter.advance(f"loss {loss.item():.3f}", more)
    network.eval()
    with torch.inference_mode():
        held_out = [network(lines[border:])[:, 0] for lines in kinds]
    right = [(held_out[0] > 0).float(), (held_out[1] <= 0).float()]
    count = min(map(len, right))
    share = proportion(int(sum(float(r[:count].sum()) for r in right)), 2 * count)
    of_real, of_drawn = (float(r.mean()) for r in right)
    return Looks(share.estimate, share.low, share.high, of_real, of_drawn, count, steps, time.monotonic() - start)


def _fitted(lines: Sequence[Any]) -> torch.Tensor:
    processor = Processor(*_SIZE)
    return torch.cat([processor(lines[at : at + _BATCH])[:, :1] for at in range(0, len(lines), _BATCH)])


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((1, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(96, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(96, 1))


def sheet(real: Sequence[Any], drawn: Sequence[Any], columns: int = 3) -> Image.Image:
    """Real lines on the left, drawn ones on the right, at their own sizes."""
    width, height = 280, 76
    rows = -(-_SHOWN // columns)
    page = Image.new("L", (2 * columns * width + 40, rows * height + 24), 128)
    for side, lines in enumerate((real, drawn)):
        left = side * (columns * width + 40)
        ImageDraw.Draw(page).text((left + 4, 4), ("real", "drawn")[side], fill=255)
        for i, line in enumerate(lines[:_SHOWN]):
            image = line if isinstance(line, Image.Image) else Image.fromarray(np.asarray(line))
            image.thumbnail((width - 6, height - 4))
            page.paste(image, (left + i % columns * width, 24 + i // columns * height))
    return page


def compare(
    real: Path, names: Sequence[str], out: Path, *, root: Path | None = None, seconds: float = 120
) -> tuple[Looks, Path]:
    """Tell a folder of real lines from drawn ones; writes looks.json and a sheet of both to `out`."""
    folder = LineFolder(real)
    order = torch.randperm(len(folder), generator=torch.Generator().manual_seed(0)).tolist()
    lines = [folder[i][0] for i in order]
    lengths = sorted(len(line.text) for line in folder.lines)
    usual = lengths[len(lengths) // 50], lengths[-1 - len(lengths) // 50]
    made = drawn_lines(names, root, usual, len(lines))
    with replacing(out / "looks.png") as temporary:
        sheet(lines, made).save(temporary)
    found = told_apart(lines, made, seconds)
    write_text(out / "looks.json", json.dumps({"sources": list(names), **asdict(found)}, indent=1) + "\n")
    return found, out / "looks.png"
