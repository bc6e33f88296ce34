"""seqocr serve"""

import logging
import os
import socket
import sys
from typing import Annotated

import typer

from seqocr.cli.config_file import Config
from seqocr.cli.options import Device, Engine, Weights
from seqocr.errors import InputError, check_bounds
from seqocr.hub import is_hub_name

_TOKEN = "SEQOCR_TOKEN"
_SWITCH = 0.0005  # seconds that a thread computes before another gets its turn


def serve(
    config: Config = None,
    weights: Weights = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 7860,
    with_page: Annotated[
        bool, typer.Option("--page/--no-page", help="Also serve the demo page (needs PyTorch).")
    ] = True,
    token: Annotated[
        str | None, typer.Option(help="Token that requests must carry.", envvar=_TOKEN, show_envvar=True)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name by which the server may be asked, where it has no token; several times for several.",
            show_default="IP addresses, localhost, this machine's name, names without a dot",
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option(help="Seconds to answer what was accepted, after being told to stop; the rest gets 503.")
    ] = 5.0,
    max_waiting: Annotated[
        int, typer.Option(help="Lines of a kind that may wait; requests for more are answered 429.")
    ] = 512,
    max_batch: Annotated[int, typer.Option(help="Lines per batch.")] = 64,
    log: Annotated[str, typer.Option(help="text, or json: an object a line, requests too.")] = "text",
    device: Device = "auto",
    engine: Engine = "onnxruntime",
) -> None:
    """Serve POST /v1/read and a demo page where heads race.

    Ctrl-C stops it after answering what was accepted; a second time, at once.
    """
    check_bounds("--port", port, 1, 65535)
    check_bounds("--max-waiting", max_waiting, 1, 1_000_000)
    check_bounds("--max-batch", max_batch, 1, 4096)
    check_bounds("--grace", grace, 0, 3600)
    if log not in ("text", "json"):
        raise InputError(f"--log {log}: choose text or json")
    if not host.strip():
        raise InputError("--host '': give an address to listen at, such as 127.0.0.1, or 0.0.0.0 for all")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # nothing is reported to anyone
    if weights is None or not is_hub_name(weights):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")

    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # whoever sends a broken form is told

    if log == "json":
        from seqocr.serving.logs import log_json

        log_json()
    from seqocr.serving.app import create_app
    from seqocr.serving.guard import check_token
    from seqocr.serving.server import Server
    from seqocr.serving.service import Service

    # typer takes a variable that is empty for one that is not set.
    token = check_token(os.environ.get(_TOKEN) if token is None else token)
    # Searches run beside the event loop: it gets its turn sooner than after Python's usual 5 ms, several per request.
    sys.setswitchinterval(_SWITCH)

    listening = _listening(host, port)  # first: a taken port is reported at once
    service = Service(weights, max_batch=max_batch, max_waiting=max_waiting, device=device, engine=engine)
    hosts = None if token else {host, socket.gethostname(), socket.getfqdn(), *(allow_host or ())}
    app = create_app(service, token=token, hosts=hosts)
    if with_page:
        from seqocr.demo.page import mount
        from seqocr.inference.load import load
        from seqocr.models.recognizer import Recognizer

        recognizer = load(weights, None, device=device, engine=engine)
        if not isinstance(recognizer, Recognizer):
            raise InputError("the page needs weights, and these are exported graphs: serve them with --no-page")
        app = mount(app, service, recognizer.eval(), token)
    at = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"{at}: the page, {at}/docs: the interface" if with_page else f"{at}/docs: the interface", flush=True)
    Server(app, service, grace).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}, port {port} ({error.strerror or error}): choose another --port or --host"
        ) from error
