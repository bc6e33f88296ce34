"""The HTTP interface as one application: its routes, its errors, and its end."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from seqocr.errors import InputError
from seqocr.serving.bodies import Limits
from seqocr.serving.guard import Guard, check_token
from seqocr.serving.monitoring import Metrics, monitoring_router
from seqocr.serving.routes import read_router
from seqocr.serving.schema import shortened
from seqocr.serving.service import Service
from seqocr.version import __version__


def create_app(
    service: Service,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = None,
) -> FastAPI:
    """The interface to a service. When it is stopped it closes the service, after answering what was accepted.

    Args:
        token: that requests must carry ("Authorization: Bearer ..."); None: anyone may ask.
        hosts: as of `Guard`.

    Raises:
        InputError: no request can carry the token.
    """
    token = check_token(token)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.ready = True
        yield
        app.state.ready = False
        await asyncio.to_thread(service.close)

    # FastAPI's own /docs would load scripts from elsewhere.
    app = FastAPIOffline(title="seqocr", version=__version__, lifespan=lifespan, redoc_url=None)
    app.state.ready = False
    app.add_middleware(Guard, hosts=hosts)
    metrics = Metrics(service)
    app.include_router(monitoring_router(service, metrics))
    app.include_router(read_router(service, limits or Limits(), token, metrics))

    @app.exception_handler(HTTPException)
    async def answer_http_error(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": shortened(str(error.detail))}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(InputError)
    async def answer_input_error(request: Request, error: InputError) -> Response:
        return JSONResponse({"error": shortened(str(error))}, 422)

    return app
