"""The HTTP server: uvicorn's, with limits for what has not become a request yet, and a deadline for its end."""

import asyncio
import logging
import math
import os
import socket
import threading
from collections import OrderedDict
from functools import partial
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seqocr.serving.service import Service

_HEADER_SECONDS = 10.0  # until a connection's next request has its whole header; then it is closed
_HEADER_BYTES = 32_000  # of a header that is not whole, at most
_MOST_CONNECTIONS = 1000
_BACKLOG = 2048
_UNRESPONSIVE = 2.0  # seconds after the deadline when the process ends whatever it does

_log = logging.getLogger(__name__)


class Connections:
    """The connections of a server that wait for a request, oldest first.

    Args:
        most: of all connections. Beyond that the one that has been waiting longest is closed: a whole request takes
            no time to arrive, and so is served whoever else is silent.
    """

    def __init__(self, most: int) -> None:
        self.most, self._waiting = most, OrderedDict["LimitedProtocol", None]()
        self._warned = dict[str, float]()

    def wait(self, connection: "LimitedProtocol") -> None:
        self._waiting.setdefault(connection)

    def end_wait(self, connection: "LimitedProtocol") -> None:
        self._waiting.pop(connection, None)

    def make_room(self, count: int) -> None:
        """Called with the number of connections, one of which is new."""
        if count > self.most and self._waiting:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.drop(f"there are more than {self.most} connections")

    def warn(self, reason: str, now: float) -> None:
        """Log why a connection was closed, each reason at most once a minute: a log has an end, too."""
        if now - self._warned.get(reason, -60.0) >= 60:
            self._warned[reason] = now
            _log.warning("a connection without a whole request was closed: %s", reason)


class LimitedProtocol(H11Protocol):
    """A connection whose headers are limited in size (by h11) and time.

    Args:
        limits: shared by all connections of a server; other arguments are uvicorn's.
    """

    def __init__(self, *arguments: Any, limits: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_header()
        self._limits.make_room(len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_is_whole()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._await_header()
        else:
            self._header_is_whole()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._await_header()

    def send_400_response(self, msg: str) -> None:
        self._limits.warn(f"it is no HTTP, or its header has more than {_HEADER_BYTES:,} bytes", self.loop.time())
        super().send_400_response(msg)

    def drop(self, reason: str) -> None:
        """Close it at once."""
        self._header_is_whole()
        self._limits.warn(reason, self.loop.time())
        self.transport.abort()

    def _await_header(self) -> None:
        if self._timer is None:
            reason = f"it sent no whole header in {_HEADER_SECONDS:g} s"
            self._timer = self.loop.call_later(_HEADER_SECONDS, self.drop, reason)
            self._limits.wait(self)

    def _header_is_whole(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._limits.end_wait(self)


class Server(uvicorn.Server):
    """Serves an application until it is told to stop.

    Args:
        grace: seconds to answer what was accepted after the first signal; what is left gets 503. A second signal ends
            the process at once.
    """

    def __init__(self, app: Any, service: Service, grace: float) -> None:
        protocol: Any = partial(LimitedProtocol, limits=Connections(most_connections()))
        config = uvicorn.Config(
            app, http=protocol, ws="none", log_config=None, log_level="error", server_header=False, backlog=_BACKLOG,
            h11_max_incomplete_event_size=_HEADER_BYTES, timeout_graceful_shutdown=math.ceil(grace + 1),
        )  # fmt: skip
        super().__init__(config)
        self._service, self._grace = service, grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(self._grace, self._service.stop)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        # A thread of its own: it fires also where the event loop, or a thread that is waited for, does not end.
        last = threading.Timer(self._grace + _UNRESPONSIVE, os._exit, [128 + sig])
        last.daemon = True
        last.start()
        super().handle_exit(sig, frame)


def most_connections() -> int:
    """As many as leave half of the file descriptors to all else."""
    try:
        import resource
    except ImportError:  # not everywhere
        return _MOST_CONNECTIONS
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(_MOST_CONNECTIONS, allowed // 2)) if allowed > 0 else _MOST_CONNECTIONS
