"""A Hugging Face hub on this machine: as much of its interface as the client needs to download and to upload."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT, TOKEN = "0" * 40, "hf_test"
_LARGE = (".safetensors", ".onnx")


class _Hub(BaseHTTPRequestHandler):
    """
    Args:
        root: of repositories, USER/NAME, one revision each.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, root: Path, **more: Any) -> None:
        self.root = root
        super().__init__(*args, **more)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/([\w-]+/[\w-]+)/resolve/(\w+)/(.+)", path):
            name, revision, file = found.groups()
            self._file(name, revision, self.root / name / file)
        elif found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)/(revision|tree)/(\w+)", path):
            name, what, revision = found.groups()
            if not self._knows(name, revision):
                return
            files = sorted(each for each in (self.root / name).rglob("*") if each.is_file())
            names = [each.relative_to(self.root / name).as_posix() for each in files]
            if what == "tree":
                sizes = zip(names, files, strict=True)
                self._json([{"type": "file", "path": n, "size": f.stat().st_size, "oid": "0"} for n, f in sizes])
            else:
                self._json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": each} for each in names]})
        else:
            self._json({}, 200 if path == "/" else 404)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "who are you?"}, 401)
        elif self.path == "/api/repos/create":
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}"
            (self.root / name).mkdir(parents=True, exist_ok=True)
            self._json({"url": f"{self._at}/{name}", "id": name, "name": name})
        elif self.path.endswith("/preupload/main"):
            named = [each["path"] for each in json.loads(content)["files"]]
            modes = {each: "lfs" if each.endswith(_LARGE) else "regular" for each in named}
            answer = [{"path": each, "uploadMode": mode, "shouldIgnore": False} for each, mode in modes.items()]
            self._json({"files": answer})
        elif self.path.endswith("/info/lfs/objects/batch"):
            found = [
                {**each, "actions": {"upload": {"href": f"{self._at}/lfs/{each['oid']}"}}}
                for each in json.loads(content)["objects"]
            ]
            self._json({"transfer": "basic", "objects": found})
        elif found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)/commit/main", self.path):
            for line in map(json.loads, content.splitlines()):
                if line["key"] in ("file", "lfsFile"):
                    self._commit(self.root / found[1], line["value"])
            self._json({"commitUrl": f"{self._at}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._json({}, 404)

    def do_PUT(self) -> None:
        (self.root / "lfs").mkdir(exist_ok=True)
        (self.root / self.path[1:]).write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self._json({})

    @property
    def _at(self) -> str:
        return f"http://{self.headers['Host']}"

    def _commit(self, repository: Path, value: dict[str, Any]) -> None:
        path = repository / value["path"]
        path.parent.mkdir(exist_ok=True)
        if "oid" in value:
            path.write_bytes((self.root / "lfs" / value["oid"]).read_bytes())
        else:
            path.write_bytes(base64.b64decode(value["content"]))

    def _knows(self, name: str, revision: str) -> bool:
        if not (self.root / name).is_dir():
            self._json({}, 404, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self._json({}, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False

    def _file(self, name: str, revision: str, path: Path) -> None:
        if not self._knows(name, revision):
            return
        if not path.is_file():
            self._json({}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        data = path.read_bytes()
        self._send(data, 200, {"ETag": f'"{sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub(root: Path) -> Iterator[str]:
    """Serve the repositories below a folder; yields the hub's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, root=root))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def with_hub(arguments: list[str], endpoint: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a hub's address, which is read at import, and a cache of its own."""
    without = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    environment |= variables
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=200)
