"""Options of a command from a TOML file (`--config`); what is typed comes before what is in it."""

import difflib
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from seqocr.errors import InputError
from seqocr.files import shown

_FROM_FILE = "DEFAULT_MAP"  # what typer calls a file's part


def _read(context: typer.Context, path: Path | None) -> Path | None:
    """Make a file's options the command's defaults.

    Raises:
        InputError: the file cannot be read or is no TOML, or an option is unknown or has another type.
    """
    if path is None:
        return None
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {shown(path)} cannot be read ({error.strerror}): give a TOML file") from error
    except ValueError as error:  # also of bytes that are no UTF-8
        raise InputError(f"--config {shown(path)} is not TOML ({shown(error)}): a line is like steps = 400") from error
    known = {str(p.name): p for p in context.command.params if "--config" not in p.opts and p.name != "help"}
    found: dict[str, Any] = {}
    for key, value in given.items():
        where, name = f"--config {shown(path)}: {shown(key)}", key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]}?" if near else f"see seqocr {context.command.name} --help"
            raise InputError(f"{where} is no option: {remedy}")
        parameter: Any = known[name]
        several = value if isinstance(value, list) else [value]
        if not isinstance(value, bool):  # as they would be typed
            value = [*map(str, several)] if parameter.multiple else ",".join(map(str, several))
        try:
            if isinstance(value, bool) != parameter.is_flag:
                raise typer.BadParameter("true and false are for options that take no value, and for these alone")
            parameter.process_value(context, value)
        except typer.BadParameter as error:
            raise InputError(f"{where} = {shown(given[key])}: {error.message}") from error
        found[name] = value
    context.default_map = found
    return path


Config = Annotated[
    Path | None,
    typer.Option("--config", is_eager=True, callback=_read, help="TOML file of options, by name: steps = 400."),
]


def command_line(context: typer.Context) -> str:
    """As typed, with the options of a file written out, so that it can be repeated without the file."""
    words, typed = ["seqocr"], iter(sys.argv[1:])
    for word in typed:
        if word == "--config":
            next(typed)
        elif not word.startswith("--config="):
            words.append(word)
    names = {p.name: p.opts[0] for p in context.command.params}
    for name, value in (context.default_map or {}).items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == _FROM_FILE:
            for each in value if isinstance(value, list) else [value]:
                off = names[name].replace("--", "--no-", 1)
                words += [names[name] if each else off] if isinstance(each, bool) else [names[name], str(each)]
    return shlex.join(words)
