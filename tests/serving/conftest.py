"""What reads, and a client of the interface above it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def service() -> Any:
    from seqocr.serving.service import Service

    found = Service()
    yield found
    found.close()


@pytest.fixture(scope="module")
def client(service: Any) -> Any:
    from fastapi.testclient import TestClient

    from seqocr.serving.app import create_app
    from seqocr.serving.bodies import Limits

    with TestClient(create_app(service, Limits(megabytes=1, images=8, pixels=1_000_000))) as found:
        yield found
