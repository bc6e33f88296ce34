"""Bodies of requests: bytes as they arrive, within limits, to images and how to read them."""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from seqocr.serving.schema import JsonReadRequest, ReadRequest, shortened

SMALL = 64_000  # bytes of a request that are always granted, which is what a line or two take
_FIELDS = 20  # of a form, besides images
_T = TypeVar("_T")


@dataclass(frozen=True)
class Limits:
    """Of a request; and of all together."""

    megabytes: float = 16.0  # of its body
    images: int = 64
    pixels: int = 4_000_000  # per image
    seconds: float = 30.0  # until it has arrived, and from then until it is answered
    total_megabytes: float = 128.0  # of bodies and opened images of all requests


NamedImage = tuple[str, bytes]  # what error messages call an image, and its file's bytes


class Memory:
    """Bytes that all requests together may hold. Of one thread, that of the event loop."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """What one request holds, until the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.counted


class Share:
    """What one request holds. Its first bytes do not count: whoever holds much never keeps out those who need little.

    Attributes:
        counted: bytes.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory, self._total, self.counted = memory, 0, 0

    def add(self, size: int) -> None:
        """HTTPException 503 if there is no room."""
        self._total += size
        more = max(0, self._total - SMALL) - self.counted
        if self._memory.held + more > self._memory.most:
            raise HTTPException(503, "the requests in hand hold too much memory: try again", {"Retry-After": "1"})
        self._memory.held += more
        self.counted += more


async def receive(request: Request, most: int, share: Share) -> bytearray:
    """The whole body; no more than `most` bytes are ever held."""
    declared = request.headers.get("content-length", "")
    too_many = HTTPException(413, f"the request has more than {most / 1e6:g} MB: send fewer or smaller images")
    if declared.isdigit() and int(declared) > most:
        raise too_many
    body = bytearray()
    async for chunk in request.stream():
        share.add(len(chunk))
        body += chunk
        if len(body) > most:
            raise too_many
    return body


def parse(headers: Headers, body: bytearray, limits: Limits) -> tuple[ReadRequest, list[NamedImage]]:
    """How to read, and the images; HTTPException if the body cannot be used. Takes a while: not on the event loop."""
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if kind == "application/json":
            asked, images = _parse_json(body, limits.images)
        elif kind == "multipart/form-data":
            asked, images = _parse_form(headers, body, limits.images)
        else:
            message = f"content type {kind or 'unknown'!r}: send application/json or multipart/form-data"
            raise HTTPException(415, message)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise HTTPException(422, f"{where}: {problem['msg']}" if where else str(problem["msg"])) from None
    if not images:
        raise HTTPException(422, "no images: give at least one")
    if len(images) > limits.images:
        raise _too_many(len(images), limits.images)
    return asked, images


def _too_many(count: int, most: int) -> HTTPException:
    return HTTPException(413, f"{count:,} images: give at most {most} per request")


def _parse_json(body: bytearray, most: int) -> tuple[ReadRequest, list[NamedImage]]:
    # Counted before it is parsed, which takes ten times the memory of what is sent: a string has two quotes, and all
    # but the last value of a list a comma. Base64 has neither, but for the comma of a data URL.
    if body.count(b'"') > 2 * most + 1000 or body.count(b",") > 2 * most + 1000:
        raise HTTPException(413, f"more values than a request for {most} images has: give at most {most} images")
    asked = JsonReadRequest.model_validate_json(body)
    if len(asked.images) > most:  # before they are decoded
        raise _too_many(len(asked.images), most)
    return asked, [(f"image {i}", _decode(i, text)) for i, text in enumerate(asked.images)]


def _decode(i: int, text: str) -> bytes:
    text = re.sub(r"\s+", "", text.partition("base64,")[2] or text)  # line breaks, as RFC 2045 has it
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        reason = ""
        if re.search("[-_]", text):
            reason = " of the usual alphabet (it has - or _, as base64 for URLs has: use + and /)"
        elif len(text) % 4:
            reason = f" (its {len(text):,} symbols are no multiple of 4: send all, with = at the end)"
        message = f"image {i} is not base64{reason}: encode the bytes of a PNG or JPEG"
        raise HTTPException(422, message) from None


class _InMemory(MultiPartParser):
    """Writes no temporary files: the body is in memory anyway, and a disk may be full."""

    spool_max_size = 0  # for SpooledTemporaryFile: never


def _parse_form(headers: Headers, body: bytearray, most: int) -> tuple[ReadRequest, list[NamedImage]]:
    async def whole() -> AsyncIterator[bytes]:
        yield bytes(body)

    try:
        parser: Any = _InMemory(headers, whole(), max_files=most, max_fields=_FIELDS)  # type: ignore[arg-type]
        form = _result(parser.parse())
    except MultiPartException as error:
        too_many_files = error.message.startswith("Too many files")
        raise HTTPException(413 if too_many_files else 400, error.message) from None
    fields = {name: value for name, value in form.items() if name != "images"}
    if wrong := [name for name, value in fields.items() if isinstance(value, UploadFile)]:
        raise HTTPException(422, f"{shortened(wrong[0])} is a file: name image files 'images'")
    asked, images = ReadRequest.model_validate(fields), []
    for i, file in enumerate(form.getlist("images")):
        if not isinstance(file, UploadFile):
            raise HTTPException(422, "images: send files, as curl -F images=@line.png does")
        name = f"image {i} ({shortened(file.filename)})" if file.filename else f"image {i}"
        images.append((name, file.file.read()))
    return asked, images


def _result(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits for something")
