"""Options that several commands share, and parsers of their values."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from seqocr.errors import InputError
from seqocr.train.config import Source

if TYPE_CHECKING:
    from seqocr.data.folder import LineFolder


def option(f: Field[Any], group: str | None = None) -> Any:
    """The command line option of a setting."""
    default = f.metadata["shown"] or (False if f.default is None or f.default is False else str(f.default))
    if f.metadata["tuned"] is not None:
        default = f"{f.default}; with --data: {f.metadata['tuned']}"
    return typer.Option(help=f.metadata["help"], rich_help_panel=group, show_default=default)


_SOURCE = {f.name: option(f) for f in fields(Source)}
DataRoot = Annotated[Path | None, _SOURCE["root"]]
DataSet = Annotated[str, _SOURCE["dataset"]]
YourData = Annotated[Path | None, _SOURCE["data"]]
Skip = Annotated[bool, _SOURCE["skip"]]
Out = Annotated[str, typer.Option(help="Directory to write to.")]
Level = Annotated[str, typer.Option(help="Layout of the digits: a level such as grid, jitter, wild.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
Weights = Annotated[str | None, typer.Option(help="numbers, strings, tiny, or a folder.", show_default="numbers")]
Head = Annotated[str, typer.Option(help="parallel, ctc, ar, ar-speculative ...", show_default="parallel")]
Engine = Annotated[str, typer.Option(help="Runs graphs: onnxruntime or openvino.")]

Pattern = Annotated[str | None, typer.Option(help="Only texts of this regular expression.")]
Check = Annotated[str | None, typer.Option(help="Only texts with this check digit.")]
Lexicon = Annotated[Path | None, typer.Option(help="Only texts listed in this file.")]
MinFit = Annotated[float, typer.Option(help="No text if `fitting` is below this.")]
BeamWidth = Annotated[int, typer.Option(help="Beam width of ar.")]


def options_from(**kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command: the fields of dataclasses of settings become options, beside its own.

    Each of `kinds` names a parameter of the command, which gets the fields that were given, as keyword arguments for
    the dataclass.
    """

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name not in kinds]
        made = [p for kind in kinds.values() for p in _options(kind)]

        def called(**values: Any) -> None:
            for name, kind in kinds.items():
                given = {f.name: values.pop(f.name) for f in fields(kind)}
                values[name] = {
                    key: _PARSERS[key](value) if key in _PARSERS else value
                    for key, value in given.items()
                    if value is not None
                }
            command(**values)

        update_wrapper(called, command)
        keyword_only = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *made)]
        called.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        return called

    return with_options


def _options(kind: type) -> list[inspect.Parameter]:
    """One option per field, as its metadata has it; None where it is not given."""
    hints, made = get_type_hints(kind), []
    for f in fields(kind):
        typed = str if f.name in _PARSERS else hints[f.name]
        annotation: Any = Annotated[typed | None, option(f, f.metadata["group"])]
        made.append(inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return made


def warn_of_learned_lines(lines: "LineFolder", provenance: Mapping[str, Any]) -> None:
    """Say on standard error how many of the lines the weights learned from, by their pixels."""
    if count := lines.count_learned(provenance):
        print(
            f"warning: these weights learned from {count:,} of these {len(lines):,} lines: others are read less well. "
            "Give lines that they have not seen",
            file=sys.stderr,
        )


def output_folder(text: str) -> Path:
    """A folder to write to; InputError if it has no name."""
    if not text:
        raise InputError("--out '': name a folder")
    return Path(text)


def parse_length(text: str) -> int | tuple[int, int]:
    """A number N, or (SHORTEST, LONGEST)."""
    try:
        shortest, *longest = (int(part) for part in text.split("-"))
        if len(longest) <= 1:
            return (shortest, longest[0]) if longest else shortest
    except ValueError:
        pass
    raise InputError(f"--length {text}: give a number, or SHORTEST-LONGEST such as 1-5")


def parse_size(text: str, option: str) -> tuple[int, int]:
    """(height, width)."""
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"{option} {text}: give HEIGHTxWIDTH such as 32x160") from None
    return height, width


def parse_heads(text: str) -> tuple[str, ...]:
    """Names, separated by commas, each once."""
    names = tuple(text.split(","))
    if len(set(names)) < len(names):
        raise InputError(f"--heads {text}: name each head once")
    return names


def parse_sources(text: str) -> tuple[str, ...]:
    """Names, separated by commas; one may come several times."""
    if not text:
        raise InputError("--glyphs '': name sources, separated by commas, such as qmnist or a folder of pen strokes")
    return tuple(text.split(","))


_PARSERS: dict[str, Callable[[str], Any]] = {
    "length": parse_length,
    "heads": parse_heads,
    "glyphs": parse_sources,
    "image_size": lambda text: parse_size(text, "--image-size"),
    "patch": lambda text: parse_size(text, "--patch"),
}
