"""Structured logs: a JSON object a line, on standard error."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

REQUESTS = logging.getLogger("seqocr.requests")  # one record per request, in JSON alone
REQUESTS.setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """time (ISO 8601, UTC), level, logger, message; what a record has as `fields`; and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said)


def log_json() -> None:
    """Have all that is logged in this process, requests too, written so."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    REQUESTS.setLevel(logging.INFO)


def log_request(scope: Any, status: int, seconds: float) -> None:
    """One that was answered, or whose client went away.

    Args:
        scope: of ASGI; its state may hold the number of `lines` that were read.
    """
    if not REQUESTS.isEnabledFor(logging.INFO):
        return
    fields = {"method": scope["method"], "path": scope["path"], "status": status, "seconds": round(seconds, 6)}
    if "lines" in (state := scope.get("state", {})):
        fields["lines"] = state["lines"]
    if identifier := dict(scope["headers"]).get(b"x-request-id"):
        fields["request_id"] = identifier.decode("latin-1")[:100]
    REQUESTS.info("%s %s %s", scope["method"], scope["path"], status, extra={"fields": fields})
