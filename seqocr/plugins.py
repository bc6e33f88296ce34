"""Parts of other packages that are installed, by their entry points: heads, and the bench's runtimes and readers."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from seqocr.errors import InputError

REMEDY = "repair or uninstall its package"


@cache  # the list of installed packages is read from files
def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {plugin.name: plugin for plugin in entry_points(group=group)}


def load_plugin(plugin: EntryPoint, what: str) -> tuple[Any, str]:
    """The object of an entry point, and how an error message begins that is about it.

    Raises:
        InputError: it cannot be imported.
    """
    where = f"{what} {plugin.name!r} ({plugin.value})"
    try:
        return plugin.load(), where
    except Exception as error:  # whatever the package raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{where} cannot be imported ({reason}): {REMEDY}") from error


def check_name(where: str, name: object, plugin: EntryPoint) -> None:
    """Raise an InputError if what was loaded calls itself otherwise than its entry point does."""
    if name != plugin.name:
        raise InputError(f"{where} calls itself {name!r}: register it by its own name")
