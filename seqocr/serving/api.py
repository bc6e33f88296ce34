"""The interface over HTTP: POST /v1/read, /healthz, /readyz, /metrics, and /docs that describes them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import io
import math
import re
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from PIL import Image, ImageDraw
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from seqocr.data.images import line_or_problem
from seqocr.errors import InputError
from seqocr.inference.predict import Answer, ReadOptions
from seqocr.serving.constraint_trials import tried_form
from seqocr.serving.queue import DEFAULT_HEAD, QueueFull, Served, Service
from seqocr.version import __version__


@dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes:
        megabytes: of a request.
        images: of a request.
        pixels: of an image.
        seconds: until an answer.
    """

    megabytes: float = 16.0
    images: int = 64
    pixels: int = 4_000_000
    seconds: float = 30.0


class Question(BaseModel):
    """What is asked of each image."""

    model_config = ConfigDict(extra="forbid")

    head: str = Field(DEFAULT_HEAD, description="Which head reads: ar, parallel or ctc.")
    charset: str | None = Field(None, description="Only these symbols.", max_length=100)
    pattern: str | None = Field(
        None, description="Only texts that match this regular expression, as a whole.", max_length=200
    )
    check: str | None = Field(None, description="Only texts whose check digit is right: luhn, mod97 ...", max_length=50)
    min_confidence: float = Field(0.0, ge=0, le=1, description="Leave the text empty where confidence is below.")
    top: int = Field(1, ge=1, le=20, description="How many texts of each line.")
    places: bool = Field(False, description="Also where each symbol stands, which takes about twice as long.")


class JsonQuestion(Question):
    """A question with its images."""

    images: list[str] = Field(description="Images (PNG, JPEG ...) in base64.", min_length=1)


class SymbolRead(BaseModel):
    """A symbol: how sure it is, and, where that is asked for, between which pixels of the image it stands."""

    text: str
    confidence: float
    left: float | None
    right: float | None


class TextRead(BaseModel):
    """A text, and how probable it is."""

    text: str
    confidence: float


class LineRead(BaseModel):
    """What was read of an image. Where it could not be used, `error` says why, and the text is empty."""

    text: str = ""
    confidence: float = 0.0
    fits: bool = False
    symbols: list[SymbolRead] = []
    others: list[TextRead] = []
    passes: int = 0
    milliseconds: float = Field(default=0.0, description="In the queue and being read.")
    error: str | None = None


class Lines(BaseModel):
    """One line an image, in order."""

    head: str
    lines: list[LineRead]
    milliseconds: float = Field(description="From the whole request to its answer.")


class Problem(BaseModel):
    """What was wrong with a request, and what to do."""

    error: str


class _Metrics:
    """What /metrics tells, by the names that Prometheus has."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("seqocr_requests", "Requests, by status.", ["status"], registry=self.registry)
        self.lines = Counter("seqocr_lines", "Lines read, by head.", ["head"], registry=self.registry)
        self.seconds = Histogram(
            "seqocr_request_seconds",
            "From the whole request to its answer.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self.batches = Histogram(
            "seqocr_batch_lines", "Lines that were read at once.", buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )  # fmt: skip
        waiting = Gauge("seqocr_queue_lines", "Lines that wait or are being read.", registry=self.registry)
        waiting.set_function(lambda: service.waiting)


def api(service: Service, limits: Limits | None = None, token: str | None = None) -> FastAPI:
    """The interface to a service, which it closes when it is stopped, after what was accepted has been answered.

    Args:
        token: that requests must carry ("Authorization: Bearer ..."); None: anyone may ask.
    """
    limits = limits or Limits()
    metrics = _Metrics(service)
    service.on_batch = lambda lines, seconds: metrics.batches.observe(lines)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.ready = True
        yield
        app.state.ready = False
        await asyncio.to_thread(service.close)

    # FastAPI's own page of the interface would load its scripts from elsewhere.
    app = FastAPIOffline(title="seqocr", version=__version__, lifespan=lifespan, redoc_url=None)
    app.state.ready = False

    @app.exception_handler(HTTPException)
    async def said(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(InputError)
    async def refused(request: Request, error: InputError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.get("/healthz", summary="Whether the process is alive.")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="Whether lines can be read now.")
    async def readyz() -> Response:
        room = service.waiting < service.max_waiting
        ready = app.state.ready and room
        return JSONResponse({"status": "ready" if ready else "full" if not room else "stopping"}, 200 if ready else 503)

    @app.get("/metrics", summary="For Prometheus.", response_class=Response)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post(
        "/v1/read",
        summary="Read line images.",
        response_model=Lines,
        responses={
            401: {"model": Problem, "description": "The token is missing or wrong."},
            413: {"model": Problem, "description": "More bytes or images than are allowed."},
            422: {"model": Problem, "description": "Something about the question or its images cannot be used."},
            429: {"model": Problem, "description": "The queue is full: come back after Retry-After seconds."},
            504: {"model": Problem, "description": "It took longer than is allowed."},
        },
        openapi_extra={"requestBody": _request_body()},
    )
    async def read(request: Request) -> Response:
        start = time.perf_counter()
        status = 500
        try:
            _check_token(request, token)
            question, images = await _asked(request, limits)
            found = await _read(service, question, images, limits)
            took = time.perf_counter() - start
            metrics.lines.labels(question.head).inc(sum(line.error is None for line in found))
            status = 200
            lines = Lines(head=question.head, lines=found, milliseconds=round(1e3 * took, 3))
            return Response(lines.model_dump_json(), media_type="application/json")
        except HTTPException as error:
            status = error.status_code
            raise
        except ClientDisconnect:
            status = 499  # as nginx has it; nobody will see it but the metrics
            return Response(status_code=status)
        except InputError:
            status = 422
            raise
        finally:
            metrics.requests.labels(str(status)).inc()
            metrics.seconds.observe(time.perf_counter() - start)

    return app


def _check_token(request: Request, token: str | None) -> None:
    if token is None:
        return
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, "give the token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})


async def _asked(request: Request, limits: Limits) -> tuple[Question, list[tuple[str, bytes]]]:
    """The question and the images' names and bytes, of a form or of JSON."""
    try:
        body = await asyncio.wait_for(_body(request, int(limits.megabytes * 1e6)), limits.seconds)
    except TimeoutError:
        raise HTTPException(408, f"the request did not arrive within {limits.seconds:g} s: send it faster") from None
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "application/json":
        question, images = _of_json(body)
    elif kind == "multipart/form-data":
        question, images = await _of_form(request, body)
    else:
        raise HTTPException(415, f"content type {kind or 'unknown'!r}: send application/json or multipart/form-data")
    if not images:
        raise HTTPException(422, "no images: give at least one")
    if len(images) > limits.images:
        raise HTTPException(413, f"{len(images)} images: give at most {limits.images} a request")
    return question, images


async def _body(request: Request, most: int) -> bytes:
    """The whole body; no more than `most` bytes are ever held."""
    said = request.headers.get("content-length", "")
    too_many = HTTPException(413, f"the request has more than {most / 1e6:g} MB: send fewer or smaller images")
    if said.isdigit() and int(said) > most:
        raise too_many
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_many
    return bytes(body)


def _of_json(body: bytes) -> tuple[Question, list[tuple[str, bytes]]]:
    try:
        asked = JsonQuestion.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, _first(error)) from None
    images = []
    for i, text in enumerate(asked.images):
        try:
            images.append((f"image {i}", base64.b64decode(text.partition("base64,")[2] or text, validate=True)))
        except (binascii.Error, ValueError):
            raise HTTPException(422, f"image {i} is not base64: encode the bytes of a PNG or JPEG") from None
    return Question(**asked.model_dump(exclude={"images"})), images


async def _of_form(request: Request, body: bytes) -> tuple[Question, list[tuple[str, bytes]]]:
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent, more = True, not sent
        return {"type": "http.request", "body": body if more else b"", "more_body": False}

    async with Request(request.scope, receive).form(max_files=1000, max_fields=20) as form:
        fields = {name: value for name, value in form.items() if name != "images"}
        if wrong := [name for name, value in fields.items() if isinstance(value, UploadFile)]:
            raise HTTPException(422, f"{wrong[0]} is a file: name files of images 'images'")
        try:
            question = Question.model_validate(fields)
        except ValidationError as error:
            raise HTTPException(422, _first(error)) from None
        images = []
        for i, each in enumerate(form.getlist("images")):
            if not isinstance(each, UploadFile):
                raise HTTPException(422, "images: send files, as curl -F images=@line.png does")
            images.append((f"image {i} ({each.filename})" if each.filename else f"image {i}", await each.read()))
        return question, images


def _first(error: ValidationError) -> str:
    """What is wrong, in one line."""
    found = error.errors()[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where}: {found['msg']}" if where else str(found["msg"])


async def _read(
    service: Service, question: Question, images: list[tuple[str, bytes]], limits: Limits
) -> list[LineRead]:
    try:
        opened, future = await asyncio.to_thread(_accepted, service, question, images, limits.pixels)
    except QueueFull as full:
        raise HTTPException(429, str(full), {"Retry-After": str(math.ceil(full.seconds))}) from None
    try:
        read: list[Served] = await asyncio.wait_for(asyncio.wrap_future(future), limits.seconds)
    except TimeoutError:
        raise HTTPException(504, f"not read within {limits.seconds:g} s: send fewer lines, or later") from None
    served = iter(read)
    return [
        LineRead(error=image) if isinstance(image, str) else _line(next(served), question.min_confidence)
        for image in opened
    ]


def _accepted(
    service: Service, question: Question, images: list[tuple[str, bytes]], pixels: int
) -> tuple[list[Image.Image | str], Future[list[Served]]]:
    """The lines, or what is wrong with them, and what will have been read of those that can be used."""
    asked = _question(service, question)
    opened = [line_or_problem(data, name, pixels) for name, data in images]
    return opened, service.submit([image for image in opened if isinstance(image, Image.Image)], asked)


def _question(service: Service, question: Question) -> ReadOptions:
    if question.charset is not None and (question.pattern or question.check):
        raise InputError("charset beside pattern or check: put the symbols into the pattern")
    pattern = question.pattern
    if question.charset is not None:
        if not question.charset or set(question.charset) - set(service.charset):
            raise InputError(f"charset {question.charset!r}: give symbols of {service.charset!r}")
        pattern = f"[{re.escape(question.charset)}]*"
    service.reader(question.head)
    form = tried_form(service.charset, pattern, question.check)
    return ReadOptions(question.head, form, question.top, places=question.places)


def _line(served: Served, least: float) -> LineRead:
    answer: Answer = served.answer
    return LineRead(
        text=answer.text if answer.confidence >= least else "",
        confidence=round(answer.confidence, 4),
        fits=answer.fits,
        symbols=[
            SymbolRead(
                text=each.text,
                confidence=round(each.confidence, 4),
                left=None if each.left is None else round(each.left, 1),
                right=None if each.right is None else round(each.right, 1),
            )
            for each in answer.symbols
        ],
        others=[TextRead(text=text, confidence=round(p, 4)) for text, p in answer.others],
        passes=answer.passes,
        milliseconds=round(1e3 * (served.waited + served.reading), 3),
    )


def _request_body() -> dict[str, Any]:
    """How a question may be sent: OpenAPI cannot tell from a function that takes either kind."""
    both = Question.model_json_schema()["properties"]
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "Files of images."}
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": JsonQuestion.model_json_schema(),
                "example": {"images": [_example()], "head": "parallel", "top": 2},
            },
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["images"], "properties": {"images": files, **both}}
            },
        },
    }


def _example() -> str:
    """A line that can be read, in base64: of digits that are drawn with few strokes."""
    image = Image.new("L", (90, 32), 255)
    draw = ImageDraw.Draw(image)
    for stroke in (
        [(12, 5), (12, 27)],
        [(30, 6), (42, 6), (34, 27)],
        [(56, 5), (53, 17), (66, 17)],
        [(63, 10), (62, 28)],
    ):
        draw.line(stroke, fill=20, width=3)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
