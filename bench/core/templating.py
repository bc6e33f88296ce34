"""The report's words: Jinja templates, one a page and one a section. Python hands them numbers."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.core import formatting

_FILTERS = ("code", "digits", "listed", "percent", "points", "ratio", "share", "si", "time")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {name: getattr(formatting, name) for name in _FILTERS}
    environment.filters["table"] = formatting.markdown_table
    return environment


def render(template: str, **values: Any) -> str:
    """Markdown of templates/TEMPLATE.md.j2."""
    return _environment().get_template(f"{template}.md.j2").render(values)


def prose(section: str, **values: Any) -> str:
    """Text of a section, from templates/sections/SECTION.md.j2.

    A template has one sentence a line, and blank lines between paragraphs. Sentences of a paragraph are joined;
    paragraphs of which nothing is left are dropped.
    """
    paragraphs = re.split(r"\n\s*\n", render(f"sections/{section}", **values))
    return "\n\n".join(filter(None, (" ".join(each.split()) for each in paragraphs)))
