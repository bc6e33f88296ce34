"""The commands there are. To add one: a file beside this one, and its function in this list."""

from __future__ import annotations

from collections.abc import Callable

import typer

import seqocr
from seqocr.cli.advise import advise
from seqocr.cli.average import average
from seqocr.cli.calibrate import calibrate
from seqocr.cli.data import data
from seqocr.cli.evaluate import evaluate
from seqocr.cli.export import export
from seqocr.cli.predict_batch import read_many
from seqocr.cli.read import read
from seqocr.cli.serve import serve
from seqocr.cli.train import train

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=seqocr.__doc__)
_COMMANDS: dict[str, Callable[..., None]] = {
    "data": data,
    "train": train,
    "average": average,
    "eval": evaluate,
    "read": read,
    "read-many": read_many,
    "serve": serve,
    "export": export,
    "calibrate": calibrate,
    "advise": advise,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
