"""seqocr average"""

from typing import Annotated

import typer

from seqocr.cli.options import Out, output_folder


def average(
    recognizers: Annotated[list[str], typer.Argument(help="Directories of runs, each started from the one before.")],
    out: Out,
    half: Annotated[bool, typer.Option("--half", help="Save 16 bits per weight, half the size.")] = False,
) -> None:
    """Average the weights of several runs, which often reads better than each of them, at no cost."""
    directory = output_folder(out)

    from seqocr.files import shown, writable
    from seqocr.inference.shipped import weights_path
    from seqocr.models.checkpoint import load_recognizer, save
    from seqocr.train.average import average_runs

    writable(directory)
    save(average_runs([load_recognizer(weights_path(name)) for name in recognizers]), directory, half)
    print(f"averaged: {shown(directory)}")
