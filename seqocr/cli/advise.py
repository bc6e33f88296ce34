"""seqocr advise"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqocr.cli.options import Device, Engine, Skip, Weights

if TYPE_CHECKING:
    from seqocr.advice.recommend import Advice, Study

_PREFERRED = ("ctc", "slots", "tokens")  # outputs of the head that reads a sample
_MOST = 1000  # lines of the sample, about: more would not change the advice


def advise(
    data: Annotated[Path, typer.Option(help="Labelled lines: a folder with metadata.csv, labels.json or gt.txt.")],
    weights: Weights = None,
    device: Device = "auto",
    engine: Engine = "onnxruntime",
    skip: Skip = False,
) -> None:
    """Recommend a head for your data: how much symbols depend on each other, how hard the images are to read, and what
    the study of decoding strategies found for such strings."""
    from seqocr import metrics
    from seqocr.advice import recommend as advice
    from seqocr.data.folder import LineFolder
    from seqocr.files import shown
    from seqocr.inference.load import load
    from seqocr.inference.predictions import describe_unknown_lines, predict_lines

    study, reader = advice.Study.load(), load(weights, None, device=device, engine=engine)
    lines = LineFolder(data, charset=reader.charset, skip=skip)
    sample = lines if len(lines) <= _MOST else lines.split(_MOST / len(lines), "advise")[1]
    head = min(reader.heads, key=lambda name: _PREFERRED.index(reader.heads[name].output))
    read = predict_lines(reader, sample, [head])
    symbols = 1 - min(1.0, metrics.character_error_rate(read))
    found = advice.advise([line.text for line in lines.lines], reader.charset, symbols, study)
    console = Console()
    if unknown := describe_unknown_lines(read):
        console.print(Text(unknown, style="bold"))
    console.print(_labels(found, shown(data)))
    right = (read["text"] == read["prediction"]).mean()
    console.print(
        f"Images: of {len(read):,} lines {right:.1%} are read correctly, {symbols:.1%} of the symbols; "
        f"mean confidence {read['confidence'].mean():.2f}."
    )
    if unknown:
        return
    if found.cell is not None:
        console.print(_heads(found, study))
    console.print(Text(f"{found.head or 'No advice'}: {found.because}", style="bold"))


def _labels(found: Advice, folder: str) -> Table:
    """One row per length."""
    table = Table(title=Text(f"Labels of {folder}"))
    for column in ("symbols", "labels", "different", "entropy, nats", "dependence, nats", "p", "form", "alphabets"):
        table.add_column(column, justify="left" if column in ("form", "alphabets") else "right")
    for each in found.structures:
        table.add_row(
            str(each.length),
            f"{each.strings:,}",
            f"{each.distinct:,}",
            f"≤ {each.places:.2f}" if each.entropy is None else f"{each.entropy:.2f}",
            f"{each.total_correlation:.2f}",
            f"{each.p_value:.3f}",
            ", ".join(each.forms) or ("a list" if each.is_list else ""),
            ", ".join(f"{place}: {symbols}" for place, symbols in each.alphabets.items()),
        )
    return table


def _heads(found: Advice, study: Study) -> Table:
    """What the study found for strings like these."""
    from seqocr.advice.recommend import compared_strategies

    assert found.cell is not None
    table = Table(title=Text(f"In the study: {found.cell.labels}, {found.cell.damage}, 5 digits"))
    for column in ("decoding strategy", "exact match", "passes", "time over parallel"):
        table.add_column(column, justify="left" if column == "decoding strategy" else "right")
    for strategy in compared_strategies(found):
        share, cost = found.cell.exact[strategy], study.cost.get(strategy)
        table.add_row(
            strategy,
            f"{share.estimate:.1%} ({max(0.0, share.low):.1%} to {min(1.0, share.high):.1%})",
            f"{found.cell.passes[strategy]:.2f}",
            f"{cost.estimate:.2f} ({cost.low:.2f} to {cost.high:.2f})" if cost else "",
        )
    return table
