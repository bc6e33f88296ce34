"""Chromium, and a server in this process, so that faults can be planted in it.

Without Chromium these tests are skipped, unless SEQOCR_BROWSER is set, as `make test-browser` does.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MUST = bool(os.environ.get("SEQOCR_BROWSER"))
if MUST:
    pass
else:
    pytest.importorskip("playwright.sync_api", reason="the extra 'browser' is not installed: make test-browser")

from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or playwright.chromium.executable_path
        if not MUST and not Path(path).exists():
            pytest.skip("there is no Chromium: make test-browser")
        # Chromium's own sandbox needs rights that containers and root have not.
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Of a server with the shipped weights, and with the page."""
    import uvicorn

    from seqocr.demo.page import mount
    from seqocr.inference.shipped import weights_path
    from seqocr.models.checkpoint import load_recognizer
    from seqocr.serving.app import create_app
    from seqocr.serving.service import Service

    service = Service()
    app = mount(create_app(service), service, load_recognizer(weights_path("strings")).eval())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 120
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < end
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the page, or another of the server's. At the end: nothing came from elsewhere, no script failed."""
    contexts, asked, failed = list[Any](), list[str](), list[str]()

    def open_page(path: str = "/", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address + path)
        if path == "/":
            page.wait_for_selector("#pad canvas")
            page.wait_for_selector(".lane")  # of the first example, which races by itself
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert failed == []
