"""Line images in Parquet with a column of bytes."""

from collections.abc import Iterator
from typing import Any

from seqocr.batch.formats import NamedLine, decode
from seqocr.batch.storage import one_line
from seqocr.errors import InputError
from seqocr.files import shown

_ROWS = 64  # in memory at once
_NAMES = ("file_name", "__key__", "key", "id")  # of columns that name images
_ODD = (ValueError, TypeError, OverflowError, LookupError)  # of values that Python has no like for


def read_parquet(fs: Any, path: str, name: str) -> Iterator[NamedLine]:
    """Images of Parquet. Where it has no single column of bytes, or is broken, that is said in place of the rest."""
    import pyarrow as pa
    from pyarrow import parquet

    row = 0
    try:
        with fs.open(path, "rb") as file:
            table = parquet.ParquetFile(file)
            column, names = _columns(table.schema_arrow, name)
            for batch in table.iter_batches(_ROWS, columns=[column, *([names] if names else [])]):
                images, paths = _fields(batch.column(column))
                named = batch.column(names) if names else paths
                for i, image in enumerate(images):
                    yield _decode(image, _text(named[i]) if named is not None else None, f"{name}:{row}")
                    row += 1
    except InputError as error:
        yield name, str(error)
    except (pa.ArrowException, *_ODD, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise  # the file system's: Arrow's own are plain ones
        yield name, f"{name} cannot be read beyond row {row} ({one_line(error)}): write it again"


def _columns(schema: Any, name: str) -> tuple[str, str | None]:
    """The column of images, bytes or Hugging Face's struct of bytes and path, and the one that names them, if any.
    InputError unless there is one of images."""

    def holds_bytes(kind: Any) -> bool:
        return _is_bytes(kind) or (
            _is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
        )

    found = [field.name for field in schema if holds_bytes(field.type)]
    if len(found) > 1:  # names may be bytes, too
        found = [each for each in found if each not in _NAMES] or found
    if len(found) != 1 or schema.names.count(found[0]) > 1:
        listed = ", ".join(map(shown, found)) or "none"
        raise InputError(f"{name} has {len(found)} columns of bytes ({listed}): give Parquet with one, of images")
    names = (each for each in _NAMES if schema.names.count(each) == 1 and _is_name(schema.field(each).type))
    return found[0], next(names, None)


def _is_struct(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_struct(kind))


def _is_bytes(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))


def _is_name(kind: Any) -> bool:
    import pyarrow.types as kinds

    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_integer(kind))


def _fields(images: Any) -> tuple[Any, Any]:
    """The bytes of a column of images, and their paths, if it has any."""
    from pyarrow import compute

    if not _is_struct(images.type):
        return images, None
    at = images.type.get_field_index("path")
    has_paths = at >= 0 and _is_name(images.type.field(at).type)
    return compute.struct_field(images, "bytes"), compute.struct_field(images, "path") if has_paths else None


def _text(value: Any) -> str | None:
    try:
        found = value.as_py()
    except _ODD:  # text that is not UTF-8
        return None
    return None if found is None else str(found)


def _decode(image: Any, given: str | None, place: str) -> NamedLine:
    name, data = shown(given or place), image.as_py()
    return name, decode(data, name) if data else f"{name} has no bytes: give a PNG or JPEG"
