"""The list of commands. To add one: a file beside this one, and its function in this list."""

import inspect
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

import seqocr
from seqocr.cli.advise import advise
from seqocr.cli.average import average
from seqocr.cli.calibrate import calibrate
from seqocr.cli.data import data
from seqocr.cli.evaluate import evaluate
from seqocr.cli.export import export
from seqocr.cli.predict_batch import predict_batch
from seqocr.cli.push import push
from seqocr.cli.read import read
from seqocr.cli.serve import serve
from seqocr.cli.train import train

_COMMANDS: dict[str, Callable[..., None]] = {
    "data": data,
    "train": train,
    "average": average,
    "eval": evaluate,
    "read": read,
    "predict-batch": predict_batch,
    "serve": serve,
    "export": export,
    "push": push,
    "calibrate": calibrate,
    "advise": advise,
}
# Earlier names, by which commands and options are still found, with a line of advice.
_RENAMED_COMMANDS = {"read-many": "predict-batch"}
_RENAMED_OPTIONS = {
    "--accept": "--target-precision",
    "--width": "--beam-width",
    "--unlabelled": "--pseudo-label",
    "--digits": "--glyphs",
}
_RENAMED_STRATEGIES = {"ar-verified": "ar-speculative"}


def _advise(old: str, new: str) -> str:
    print(f"{old} is now called {new}", file=sys.stderr)
    return new


class _Command(TyperCommand):
    """A command that also takes earlier names of its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {name for parameter in self.params for name in parameter.opts}
        for i, argument in enumerate(args):
            name, equals, value = argument.partition("=")
            if name not in known and (new := _RENAMED_OPTIONS.get(name)) in known:
                args[i] = f"{_advise(name, str(new))}{equals}{value}"
            if name in ("--head", "--heads"):
                at = i if equals else i + 1
                for old, new in _RENAMED_STRATEGIES.items():
                    if at < len(args) and old in args[at]:
                        args[at] = args[at].replace(old, _advise(old, new))
        return super().parse_args(ctx, args)


class _Group(TyperGroup):
    """All commands, also by their earlier names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and (new := _RENAMED_COMMANDS.get(args[0])):
            args = [_advise(args[0], new), *args[1:]]
        return super().resolve_command(ctx, args)


def _paragraphs(command: Callable[..., None]) -> str:
    """What a command does, a line a paragraph, which a terminal of any width then wraps."""
    about = re.sub(r"(?<!\n)\n(?![\n ])", " ", inspect.getdoc(command) or "")
    return escape(about)  # rich would take [scale] for a colour


def _print_version(asked: bool) -> None:
    if asked:
        print(f"seqocr {seqocr.__version__}")
        raise typer.Exit


app = typer.Typer(cls=_Group, no_args_is_help=True, pretty_exceptions_enable=False)
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=_Command, help=_paragraphs(_command))(_command)


@app.callback(help=seqocr.__doc__)
def _seqocr(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
