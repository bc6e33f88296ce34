"""An object store in memory that takes its time, and notes how many requests are under way at once."""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from fsspec.implementations.memory import MemoryFileSystem


class SlowStore(MemoryFileSystem):
    """`slow://`. As most file systems, one instance is for one thread.

    Attributes:
        seconds: that a request takes.
        failures: of files by their paths, how many requests fail yet.
    """

    protocol = "slow"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    seconds: ClassVar[float] = 0.007
    failures: ClassVar[dict[str, int]] = {}
    requested: ClassVar[list[str]] = []
    most_at_once: ClassVar[int] = 0
    _at_once: ClassVar[int] = 0
    _lock: ClassVar[Any] = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix("slow://"))
        return stripped

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        kind, name = type(self), self._strip_protocol(path)
        assert self.__dict__.setdefault("thread", threading.get_ident()) == threading.get_ident()
        with kind._lock:
            kind._at_once += 1
            kind.most_at_once = max(kind.most_at_once, kind._at_once)
            kind.requested.append(name)
            kind.failures[name] = left = kind.failures.get(name, 0) - 1
        try:
            time.sleep(self.seconds)
            if left >= 0:
                raise OSError("slow down")
            content: bytes = super().cat_file(path, start, end)
            return content
        finally:
            with kind._lock:
                kind._at_once -= 1

    @classmethod
    def reset(cls) -> None:
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.failures.clear()
        cls.requested.clear()
        cls.most_at_once = 0
