"""POST /v1/read: images and how to read them, as JSON or as a form, to predictions."""

import asyncio
import base64
import binascii
import hmac
import math
import re
import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from seqocr.data.images import line_or_problem
from seqocr.errors import InputError
from seqocr.inference.predict import ReadOptions
from seqocr.serving.constraint_trials import try_constraint
from seqocr.serving.monitoring import Metrics
from seqocr.serving.queue import QueueFull
from seqocr.serving.schema import ErrorModel, JsonReadRequest, LineModel, ReadRequest, ReadResponse, request_body
from seqocr.serving.service import Service

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorModel, "description": "The token is missing or wrong."},
    413: {"model": ErrorModel, "description": "More bytes or images than are allowed."},
    422: {"model": ErrorModel, "description": "The request or its images cannot be used."},
    429: {"model": ErrorModel, "description": "The queue is full: try again after Retry-After seconds."},
    504: {"model": ErrorModel, "description": "It took longer than is allowed."},
}


@dataclass(frozen=True)
class Limits:
    """Of a request."""

    megabytes: float = 16.0  # of its body
    images: int = 64
    pixels: int = 4_000_000  # per image
    seconds: float = 30.0  # until it has arrived, and from then until it is answered


_NamedImage = tuple[str, bytes]  # what error messages call an image, and its file's bytes


def read_router(service: Service, limits: Limits, token: str | None, metrics: Metrics) -> APIRouter:
    """The route that reads; arguments as of `seqocr.serving.app.create_app`."""
    router = APIRouter()

    @router.post(
        "/v1/read",
        summary="Read line images.",
        response_model=ReadResponse,
        responses=_REFUSALS,
        openapi_extra={"requestBody": request_body()},
    )
    async def read(request: Request) -> Response:
        start = time.perf_counter()
        status = 500
        try:
            _check_token(request, token)
            asked, images = await _parse(request, limits)
            head = asked.head or service.default_head
            lines = await _predict(service, head, asked, images, limits)
            metrics.lines.labels(head).inc(sum(line.error is None for line in lines))
            status = 200
            took = round(1e3 * (time.perf_counter() - start), 3)
            response = ReadResponse(head=head, lines=lines, milliseconds=took)
            return Response(response.model_dump_json(), media_type="application/json")
        except (HTTPException, InputError) as error:
            status = getattr(error, "status_code", 422)
            raise
        except ClientDisconnect:
            status = 499  # as nginx has it; nobody will see it but the metrics
            return Response(status_code=status)
        finally:
            metrics.requests.labels(str(status)).inc()
            metrics.seconds.observe(time.perf_counter() - start)

    return router


def _check_token(request: Request, token: str | None) -> None:
    if token is None:
        return
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, "give the token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})


async def _parse(request: Request, limits: Limits) -> tuple[ReadRequest, list[_NamedImage]]:
    try:
        body = await asyncio.wait_for(_body(request, int(limits.megabytes * 1e6)), limits.seconds)
    except TimeoutError:
        raise HTTPException(408, f"the request did not arrive within {limits.seconds:g} s: send it faster") from None
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if kind == "application/json":
            asked, images = _parse_json(body)
        elif kind == "multipart/form-data":
            asked, images = await _parse_form(request, body)
        else:
            message = f"content type {kind or 'unknown'!r}: send application/json or multipart/form-data"
            raise HTTPException(415, message)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise HTTPException(422, f"{where}: {problem['msg']}" if where else str(problem["msg"])) from None
    if not images:
        raise HTTPException(422, "no images: give at least one")
    if len(images) > limits.images:
        raise HTTPException(413, f"{len(images)} images: give at most {limits.images} per request")
    return asked, images


async def _body(request: Request, most: int) -> bytes:
    """The whole body; no more than `most` bytes are ever held."""
    declared = request.headers.get("content-length", "")
    too_many = HTTPException(413, f"the request has more than {most / 1e6:g} MB: send fewer or smaller images")
    if declared.isdigit() and int(declared) > most:
        raise too_many
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_many
    return bytes(body)


def _parse_json(body: bytes) -> tuple[ReadRequest, list[_NamedImage]]:
    asked, images = JsonReadRequest.model_validate_json(body), []
    for i, text in enumerate(asked.images):
        try:
            data = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
        except (binascii.Error, ValueError):
            raise HTTPException(422, f"image {i} is not base64: encode the bytes of a PNG or JPEG") from None
        images.append((f"image {i}", data))
    return asked, images


async def _parse_form(request: Request, body: bytes) -> tuple[ReadRequest, list[_NamedImage]]:
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent, more = True, not sent
        return {"type": "http.request", "body": body if more else b"", "more_body": False}

    async with Request(request.scope, receive).form(max_files=1000, max_fields=20) as form:
        fields = {name: value for name, value in form.items() if name != "images"}
        if wrong := [name for name, value in fields.items() if isinstance(value, UploadFile)]:
            raise HTTPException(422, f"{wrong[0]} is a file: name image files 'images'")
        asked, images = ReadRequest.model_validate(fields), []
        for i, file in enumerate(form.getlist("images")):
            if not isinstance(file, UploadFile):
                raise HTTPException(422, "images: send files, as curl -F images=@line.png does")
            name = f"image {i} ({file.filename})" if file.filename else f"image {i}"
            images.append((name, await file.read()))
        return asked, images


async def _predict(
    service: Service, head: str, asked: ReadRequest, images: list[_NamedImage], limits: Limits
) -> list[LineModel]:
    def submit() -> Any:  # in a thread, since opening images and patterns takes a while
        options = _options(service, head, asked)
        opened = [line_or_problem(data, name, limits.pixels) for name, data in images]
        return opened, service.submit([line for line in opened if not isinstance(line, str)], options)

    try:
        opened, future = await asyncio.to_thread(submit)
    except QueueFull as full:
        raise HTTPException(429, str(full), {"Retry-After": str(math.ceil(full.seconds))}) from None
    try:
        done = iter(await asyncio.wait_for(asyncio.wrap_future(future), limits.seconds))
    except TimeoutError:
        raise HTTPException(504, f"not read within {limits.seconds:g} s: send fewer lines, or later") from None
    lines = []
    for line in opened:
        if isinstance(line, str):
            lines.append(LineModel(error=line))
        else:
            prediction, seconds = next(done)
            lines.append(LineModel.of(prediction, seconds, asked.min_confidence))
    return lines


def _options(service: Service, head: str, asked: ReadRequest) -> ReadOptions:
    if asked.charset is not None and (asked.pattern or asked.check):
        raise InputError("charset beside pattern or check: put the symbols into the pattern")
    pattern = asked.pattern
    if asked.charset is not None:
        if not asked.charset or set(asked.charset) - set(service.charset):
            raise InputError(f"charset {asked.charset!r}: give symbols of {service.charset!r}")
        pattern = f"[{re.escape(asked.charset)}]*"
    service.reader(head)  # refused before a pattern takes time
    constraint = try_constraint(service.charset, pattern, asked.check)
    return ReadOptions(head, constraint, asked.top, symbols=True, positions=asked.places, min_fit=asked.min_fit)
