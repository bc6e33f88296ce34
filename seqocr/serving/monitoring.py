"""/healthz, /readyz and /metrics, for whoever watches over the server."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from seqocr.serving.service import Service


class Metrics:
    """What /metrics shows, in Prometheus's terms."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("seqocr_requests", "Requests, by status.", ["status"], registry=self.registry)
        self.lines = Counter("seqocr_lines", "Lines read, by head.", ["head"], registry=self.registry)
        self.seconds = Histogram(
            "seqocr_request_seconds",
            "From the whole request to its answer.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        batches = Histogram(
            "seqocr_batch_lines", "Lines per batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        for lane in service.lanes.values():
            lane.on_batch = lambda lines, seconds: batches.observe(lines)
        waiting = Gauge("seqocr_queue_lines", "Lines that wait or are being read.", registry=self.registry)
        waiting.set_function(lambda: service.waiting)


def monitoring_router(service: Service, metrics: Metrics) -> APIRouter:
    """The routes, which stay open where reading takes a token."""
    router = APIRouter()

    @router.get("/healthz", summary="Whether the process is alive.")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", summary="Whether lines can be read now.")
    async def readyz(request: Request) -> Response:
        status = "full" if service.full else "ready" if request.app.state.ready else "stopping"
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    @router.get("/metrics", summary="For Prometheus.", response_class=Response)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
