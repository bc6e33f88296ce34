"""Two-sample classifier test: can a small network tell synthetic lines from real ones? Also makes a sheet of both."""

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
from seqocr.data.sources.fonts import load_fonts
from seqocr.data.sources.glyphs import load_glyphs
from seqocr.data.synthetic.layouts import level
from seqocr.data.synthetic.lines import SyntheticLines, TextSampler
from seqocr.data.synthetic.rendered import WORLDS, RenderedLines
from seqocr.data.synthetic.writer_style import WriterStyle
from seqocr.errors import InputError
from seqocr.files import replacing, write_json
from seqocr.progress import progress
from seqocr.statistics import proportion
from seqocr.train.recipe import FONTS

_SIZE = (40, 240)  # (height, width) in pixels that lines are resized to
_HELD_OUT = 0.2
_BATCH = 64
_SHOWN = 30  # lines of each kind on the sheet
_FEWEST = 100


@dataclass(frozen=True)
class TwoSampleResult:
    """How well the classifier does on held-out lines.

    Attributes:
        accuracy, low, high: accuracy on as many real as synthetic lines, with a 95 % interval; 0.5 is guessing.
        real, synthetic: accuracy on each kind.
        lines: held-out lines of each kind. steps, seconds: of training.
    """

    accuracy: float
    low: float
    high: float
    real: float
    synthetic: float
    lines: int
    steps: int
    seconds: float


def synthetic_lines(names: Sequence[str], length: tuple[int, int], count: int, kinds: Sequence[str] = ()) -> list[Any]:
    """As many lines of each source, in random order.

    Args:
        names: levels such as wild, glyph sources, of which a line is in one writer's hand
            (`seqocr.data.sources.glyphs`), or "fonts:" and a folder of fonts.
        kinds: of `WORLDS`, that are rendered with fonts; default: all, in their usual shares.

    Raises:
        InputError: there is no such source or kind.
    """
    if unknown := sorted(set(kinds) - set(WORLDS)):
        raise InputError(f"unknown kind {unknown[0]!r}: choose among {', '.join(WORLDS)}")
    shares = {kind: WORLDS[kind][0] for kind in kinds} or None
    sources: list[Any] = []
    for i, name in enumerate(names):
        if name.startswith(FONTS):
            fonts = load_fonts(Path(name.removeprefix(FONTS)))
            sources.append(RenderedLines(fonts, worlds=shares, seed=i, count=count))
            continue
        try:
            layout = level(name)
        except InputError:
            glyphs = load_glyphs(name, "train")
            sources.append(SyntheticLines(glyphs, TextSampler(length), WriterStyle(), seed=i, count=count))
        else:
            digits = load_digits("train")
            sources.append(SequenceMNIST(digits, length, layout=layout, seed=i, count=count, replacement=True))
    lines: list[Any] = []
    each = -(-count // len(sources))
    for source in sources:
        for start in range(0, each, _BATCH):
            lines += list(source.batch(range(start, min(start + _BATCH, each)))[0])
    return [lines[i] for i in _permutation(len(lines))][:count]


def classify(real: Sequence[Any], synthetic: Sequence[Any], seconds: float) -> TwoSampleResult:
    """Train a network of four convolutional layers to classify lines, and test it on a held-out fifth.

    Raises:
        InputError: there are too few lines.
    """
    if min(len(real), len(synthetic)) < _FEWEST:
        raise InputError(f"{min(len(real), len(synthetic)):,} lines to classify: give {_FEWEST} or more of each kind")
    torch.manual_seed(0)
    kinds = [_pixels(lines) for lines in (real, synthetic)]
    border = round((1 - _HELD_OUT) * min(map(len, kinds)))
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    steps, start = 0, time.monotonic()
    with progress("two-sample test", round(seconds)) as reporter:
        while (passed := time.monotonic() - start) < seconds:
            network.train()
            x = torch.cat([lines[torch.randint(border, (_BATCH // 2,))] for lines in kinds])
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
        scores = [network(lines[border:])[:, 0] for lines in kinds]
    right = [scores[0] > 0, scores[1] <= 0]
    count = min(map(len, right))
    share = proportion(sum(int(r[:count].sum()) for r in right), 2 * count)
    of_real, of_synthetic = (float(r.float().mean()) for r in right)
    took = time.monotonic() - start
    return TwoSampleResult(share.estimate, share.low, share.high, of_real, of_synthetic, count, steps, took)


def _permutation(count: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()


def _pixels(lines: Sequence[Any]) -> torch.Tensor:
    """(N, 1, h, w) float32."""
    processor = Processor(*_SIZE)
    return torch.cat([processor(lines[start : start + _BATCH])[:, :1] for start in range(0, len(lines), _BATCH)])


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((1, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(96, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(96, 1))


def sheet(real: Sequence[Any], synthetic: Sequence[Any], columns: int = 3) -> Image.Image:
    """Real lines on the left, synthetic ones on the right, in their own sizes."""
    width, height = 280, 76
    rows = -(-_SHOWN // columns)
    page = Image.new("L", (2 * columns * width + 40, rows * height + 24), 128)
    for side, (kind, lines) in enumerate({"real": real, "synthetic": synthetic}.items()):
        left = side * (columns * width + 40)
        ImageDraw.Draw(page).text((left + 4, 4), kind, fill=255)
        for i, line in enumerate(lines[:_SHOWN]):
            image = line if isinstance(line, Image.Image) else Image.fromarray(np.asarray(line))
            image.thumbnail((width - 6, height - 4))
            page.paste(image, (left + i % columns * width, 24 + i // columns * height))
    return page


def run(
    real: Path, names: Sequence[str], out: Path, seconds: float, kinds: Sequence[str] = ()
) -> tuple[TwoSampleResult, Path]:
    """Test synthetic lines against a folder of real ones; write two_sample.json and a sheet of both to `out`."""
    folder = LineFolder(real)
    lines = [folder[i][0] for i in _permutation(len(folder))]
    lengths = sorted(len(line.text) for line in folder.lines)
    usual = lengths[len(lengths) // 50], lengths[-1 - len(lengths) // 50]
    synthetic = synthetic_lines(names, usual, len(lines), kinds)
    with replacing(out / "two_sample.png") as temporary:
        sheet(lines, synthetic).save(temporary)
    result = classify(lines, synthetic, seconds)
    write_json(out / "two_sample.json", {"sources": list(names), "kinds": list(kinds), **asdict(result)})
    return result, out / "two_sample.png"
