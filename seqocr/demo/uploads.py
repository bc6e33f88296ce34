"""Where the page keeps what visitors upload: a folder of this process, of limited size."""

import asyncio
import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

MOST_MEGABYTES = 500.0  # of all visitors together


def make_folder() -> Path:
    """A folder with a name that says nothing, for Gradio's uploads; removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="page-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    return folder


class UploadLimit:
    """Wraps an application: refuses uploads to Gradio while its folder is full."""

    def __init__(self, app: Any, folder: Path) -> None:
        self._app, self._folder = app, folder

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_upload = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith("/upload")
        if is_upload and await asyncio.to_thread(_megabytes, self._folder) > MOST_MEGABYTES:
            await JSONResponse({"error": "too much was uploaded lately: try again in an hour"}, 503)(
                scope, receive, send
            )
            return
        await self._app(scope, receive, send)


def _megabytes(folder: Path) -> float:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except OSError:  # deleted meanwhile
            continue
    return size / 1e6
