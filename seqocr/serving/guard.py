"""What every request meets first, and every response carries: checks against misuse by web pages, headers, errors."""

import asyncio
import ipaddress
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from seqocr.errors import InputError
from seqocr.serving.logs import log_request
from seqocr.serving.schema import shortened

_log = logging.getLogger(__name__)
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    # No more than this: the page's own scripts are inline.
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
    "Referrer-Policy": "same-origin",
}
_STATIC = ("/assets/", "/static/", "/svelte/")  # of the page: browsers may keep these

_App = Callable[[Any, Any, Callable[[Any], Awaitable[None]]], Awaitable[None]]


def check_token(token: str | None) -> str | None:
    """The token that requests must carry, without the line break at the end that files have; None if there is none.

    Raises:
        InputError: it is empty, or cannot be sent in a header.
    """
    if token is None:
        return None
    token = token.removesuffix("\n").removesuffix("\r")
    if not token:
        raise InputError("the token is empty: give one (--token, SEQOCR_TOKEN), or unset it for an open server")
    if token != token.strip() or not token.isprintable():
        raise InputError(
            "the token begins or ends with a space, or has control characters: no request can carry it; give another"
        )
    return token


class Guard:
    """Wraps an application.

    A server without a token trusts whoever reaches it, such as all programs of this machine. So that web pages of
    strangers, which the same machine's browser shows, do not: requests must name a host that is expected (against DNS
    rebinding), and what web pages send must come from the server's own.

    Args:
        hosts: names that requests may have as their host, besides IP addresses, localhost, and names without a dot;
            None: all, and of any origin.
    """

    def __init__(self, app: _App, hosts: Collection[str] | None = None) -> None:
        self._app = app
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, start = False, 499, time.perf_counter()  # 499: as nginx has it where a client went away

        async def send_guarded(message: Any) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith(_STATIC):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if refusal := self._refusal(scope["method"], Headers(scope=scope)):
                await JSONResponse({"error": refusal}, 403)(scope, receive, send_guarded)
            else:
                await self._app(scope, receive, send_guarded)
        except asyncio.CancelledError:  # by the server, which stops
            if not started:
                await JSONResponse({"error": "the server is stopping"}, 503)(scope, receive, send_guarded)
        except Exception as error:
            _log.error("%s %s failed: %s", scope["method"], shortened(scope["path"]), _summary(error))
            _log.debug("", exc_info=error)
            if not started:
                message = "the server failed at this request: its log says more"
                await JSONResponse({"error": message}, 500)(scope, receive, send_guarded)
        finally:
            log_request(scope, status, time.perf_counter() - start)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        """Why a request is refused; None: it is not."""
        if self._hosts is None:
            return None
        host = headers.get("host", "")
        if not self._expects(host):
            name = shortened(host, 100)
            return f"host {name!r} is not expected: start the server with --allow-host, or with a token"
        origin = headers.get("origin")
        if method not in _SAFE and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "this comes from a web page of another site: start the server with a token to allow that"
        return None

    def _expects(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if not host or "." not in name or name in (self._hosts or ()) or name.endswith(".localhost"):
            return True  # no domain of a stranger has a name without a dot
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _summary(error: Exception) -> str:
    """An error and its place, on one line, without folders."""
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    place = "" if last is None else f" ({Path(last.filename).name}, line {last.lineno})"
    return shortened(f"{type(error).__name__}: {error}") + place
