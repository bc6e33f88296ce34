"""Connections to a Ray cluster: a running one, or a new one of this machine alone that ends with the work."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

from seqocr.errors import InputError
from seqocr.files import shown

OWN = "local"  # Ray's name for a cluster of this machine, made for one process
_TIMEOUT = 10.0  # seconds that a cluster has to answer
_MEMORY = 200 * 2**20  # bytes for what tasks return; Ray would take a third of the machine


@contextlib.contextmanager
def connected(address: str | None, cores: int) -> Iterator[Any]:
    """Within the block, Ray is connected: the module `ray`, without dashboard, usage statistics and logs of workers.

    Args:
        address: of a cluster, such as auto or HOST:6379; None: $RAY_ADDRESS, or else a new cluster on this machine.
        cores: of a new cluster.

    Raises:
        InputError: Ray is not installed, or nothing answers there.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will have it; else it warns
    try:
        import ray
    except ImportError as error:
        raise InputError("ray is not installed, which this needs: pip install 'seqocr[scale]'") from error
    from ray.exceptions import RayError

    address = address or os.environ.get("RAY_ADDRESS") or OWN
    if address not in (OWN, "auto"):
        _answers(address)
    own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _MEMORY} if address == OWN else {}
    told_to_end = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(_unanswered(address, last_line(error))) from error
    finally:
        signal.signal(signal.SIGTERM, told_to_end)  # Ray puts its own there
    try:
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Ask whether something like Ray listens at an address: Ray itself would wait for minutes; InputError if nothing
    does."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"{address!r} is no address of a Ray cluster: give HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise InputError(_unanswered(address, str(error))) from error
    if os.environ.get("RAY_USE_TLS", "0") == "1":
        return  # only Ray has the certificate that it takes
    import grpc

    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(_TIMEOUT)
        except grpc.FutureTimeoutError as error:
            raise InputError(_unanswered(address, "something else listens there")) from error


def _unanswered(address: str, reason: str) -> str:
    return f"no Ray cluster answers at {address} ({reason}): start one (`ray start --head`), or give its address"


def last_line(error: BaseException) -> str:
    """The last line of an exception's message: Ray's begin with a traceback of the worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[-1]) if lines else type(error).__name__
