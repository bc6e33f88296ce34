"""What visitors upload: into a folder of its own, and not without end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi import FastAPI
from fastapi.testclient import TestClient

from seqocr.demo import uploads
from seqocr.demo.uploads import UploadLimit, make_folder


def test_uploads_have_a_folder_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = list[Any]()
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.setattr(uploads.atexit, "register", lambda *arguments, **named: ended.append((arguments, named)))
    folder = make_folder()
    assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
    (((remove, *arguments), named),) = ended
    remove(*arguments, **named)
    assert not folder.exists()


def test_uploads_are_refused_while_the_folder_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_MEGABYTES", 0.001)
    app = FastAPI()
    app.add_middleware(UploadLimit, folder=tmp_path)

    @app.api_route("/gradio_api/upload", methods=["GET", "POST"])
    def upload() -> str:
        return "fine"

    client = TestClient(app)
    assert client.post("/gradio_api/upload").status_code == 200
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "image.png").write_bytes(bytes(2000))
    assert client.post("/gradio_api/upload").status_code == 503
    assert client.get("/gradio_api/upload").status_code == 200
