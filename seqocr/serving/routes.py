"""POST /v1/read: images and how to read them, as JSON or as a form, to predictions."""

import asyncio
import hmac
import math
import re
import time
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from fastapi import APIRouter, Request, Response
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from seqocr.data.images import line_or_problem
from seqocr.decoding.automaton import Automaton
from seqocr.errors import InputError
from seqocr.inference.charset import NAME as MARKS_HEAD
from seqocr.inference.prediction import ReadOptions
from seqocr.serving.bodies import SMALL, Limits, Memory, NamedImage, Share, parse, receive
from seqocr.serving.compiler import ConstraintCompiler
from seqocr.serving.monitoring import Metrics
from seqocr.serving.queue import QueueFull, Stopped
from seqocr.serving.schema import ErrorModel, LineModel, ReadRequest, ReadResponse, request_body
from seqocr.serving.service import Service

_LONGEST_SEARCH = 5.0  # seconds, of one line
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorModel, "description": "The token is missing or wrong."},
    413: {"model": ErrorModel, "description": "More bytes or images than are allowed."},
    422: {"model": ErrorModel, "description": "The request or its images cannot be used."},
    429: {"model": ErrorModel, "description": "The queue is full: try again after Retry-After seconds."},
    503: {"model": ErrorModel, "description": "The server is stopping, or requests hold too much memory."},
    504: {"model": ErrorModel, "description": "It took longer than is allowed."},
}


def read_router(service: Service, limits: Limits, token: str | None, metrics: Metrics) -> APIRouter:
    """The route that reads; arguments as of `seqocr.serving.app.create_app`."""
    router, memory, compiler = APIRouter(), Memory(int(limits.total_megabytes * 1e6)), ConstraintCompiler()
    service.on_close(compiler.close)

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
            if request.query_params:
                raise HTTPException(422, "fields in the address: send them in the body, beside the images")
            with memory.share() as share:
                asked, images = await _parse(request, limits, share)
                head = asked.head or service.default_head
                options = await _options(service, compiler, head, asked, len(images), limits)
                lines = await _predict(service, options, asked.min_confidence, images, limits, share)
            head = MARKS_HEAD if options.charset else head
            request.state.lines = sum(line.error is None for line in lines)
            metrics.lines.labels(head).inc(request.state.lines)
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
    # Headers are bytes, which Starlette gives as Latin-1.
    scheme, _, given = request.headers.get("authorization", "").encode("latin-1").partition(b" ")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token.encode()):
        raise HTTPException(401, "give the token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})


async def _parse(request: Request, limits: Limits, share: Share) -> tuple[ReadRequest, list[NamedImage]]:
    try:
        body = await asyncio.wait_for(receive(request, int(limits.megabytes * 1e6), share), limits.seconds)
    except TimeoutError:
        raise HTTPException(408, f"the request did not arrive within {limits.seconds:g} s: send it faster") from None
    if len(body) <= SMALL:
        return parse(request.headers, body, limits)  # sooner than a thread begins
    return await asyncio.to_thread(parse, request.headers, body, limits)


async def _options(
    service: Service, compiler: ConstraintCompiler, head: str, asked: ReadRequest, images: int, limits: Limits
) -> ReadOptions:
    if asked.charset is not None and (asked.pattern or asked.check):
        raise InputError("charset beside pattern or check: put the symbols into the pattern")
    # Refused before a pattern takes time; where it is not loaded yet, that happens beside the event loop.
    reader = service.reader(head) if service.has_loaded(head) else await asyncio.to_thread(service.reader, head)
    pattern, marked = asked.pattern, ""
    if asked.charset is not None:
        known = reader.shown_symbols or service.charset
        if not asked.charset or len(set(asked.charset)) < len(asked.charset) or set(asked.charset) - set(known):
            raise InputError(f"charset {asked.charset!r}: give symbols of {known!r}, each once")
        if set(asked.charset) <= set(service.charset):
            pattern = f"[{re.escape(asked.charset)}]*"
        elif asked.head:
            raise InputError("charset with marks is read by CTC: leave out head")
        else:
            marked = asked.charset
    constraint = None
    if pattern is not None or asked.check is not None:
        constraint = await _compile(compiler, service.charset, pattern, asked.check, limits.seconds)
    # The lines of a request share half of its time.
    seconds = min(_LONGEST_SEARCH, limits.seconds / 2 / images)
    is_head = head in reader.heads  # or else another decoding strategy, which gives texts alone
    options = ReadOptions(
        *(head, constraint, asked.top),
        symbols=is_head,
        positions=asked.places,
        min_fit=asked.min_fit,
        seconds=seconds,
        charset=marked,
    )
    if not is_head and not options.is_plain:
        heads = ", ".join(reader.heads)
        raise InputError(f"{head!r} gives no constrained texts, alternatives or places: choose one of {heads}")
    return options


async def _compile(
    compiler: ConstraintCompiler, charset: str, pattern: str | None, check: str | None, seconds: float
) -> Automaton:
    try:
        compiled = asyncio.wrap_future(compiler.submit(charset, pattern, check))
        # Others may wait for the same: it is not cancelled with this request.
        return await asyncio.wait_for(asyncio.shield(compiled), seconds)
    except QueueFull as full:
        raise HTTPException(429, "too many constraints wait: try again", _retry_after(full)) from None
    except (TimeoutError, BrokenProcessPool):
        raise HTTPException(503, "the constraint was not compiled: try again", {"Retry-After": "1"}) from None


def _retry_after(full: QueueFull) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(full.seconds))}


async def _predict(
    service: Service,
    options: ReadOptions,
    min_confidence: float,
    images: list[NamedImage],
    limits: Limits,
    share: Share,
) -> list[LineModel]:
    opened: list[Image.Image | str] = []
    for name, data in images:  # one at a time: requests take turns, and those of many images do not fill the threads
        opened.append(line := await asyncio.to_thread(line_or_problem, data, name, limits.pixels))
        share.add(0 if isinstance(line, str) else line.width * line.height)
    try:
        future = service.submit([line for line in opened if not isinstance(line, str)], options)
        predictions = await asyncio.wait_for(asyncio.wrap_future(future), limits.seconds)
    except QueueFull as full:
        raise HTTPException(429, str(full), _retry_after(full)) from None
    except Stopped:
        raise HTTPException(503, "the server is stopping: ask another, or later", {"Retry-After": "5"}) from None
    except TimeoutError:
        raise HTTPException(504, f"not read within {limits.seconds:g} s: send fewer lines, or later") from None
    lines, done = [], iter(predictions)
    for (name, _), line in zip(images, opened, strict=True):
        if isinstance(line, str):
            lines.append(LineModel(error=line))
        else:
            prediction, seconds = next(done)
            lines.append(LineModel.of(prediction, name, seconds, min_confidence))
    return lines
