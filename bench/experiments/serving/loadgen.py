"""LoadGen's Server scenario, at random moments (Poisson), of the server or of the library; a process of its own.

python -m bench.experiments.serving.loadgen '{...}' prints a JSON object as its last line.
"""

from __future__ import annotations

import http.client
import json
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.experiments.load.loadgen import summary
from bench.experiments.serving.requests import Sample, form, load

_NS = 1e9
_CLIENTS = 32  # connections
_WARM_UP = 100  # requests before the test, one after another


def drive(
    issue: Callable[[Any, int], object], groups: int, logs: Path, rate: float, seconds: float, bound: float
) -> Any:
    """One LoadGen test; its summary.

    Args:
        issue: given a query's id, to be said when it is answered, and the number of a group.
        rate: groups a second.
    """
    import mlperf_loadgen as loadgen

    settings = loadgen.TestSettings()
    settings.scenario, settings.mode = loadgen.TestScenario.Server, loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1e3)
    settings.server_target_qps = rate
    settings.server_target_latency_ns = int(bound * _NS)
    settings.server_target_latency_percentile = 0.99
    output = loadgen.LogSettings()
    output.log_output.outdir, output.log_output.copy_summary_to_stdout, output.enable_trace = str(logs), False, False

    def issue_all(samples: list[Any]) -> None:
        for each in samples:
            issue(each.id, each.index)

    system = loadgen.ConstructSUT(issue_all, lambda: None)
    library = loadgen.ConstructQSL(groups, groups, lambda _: None, lambda _: None)
    try:
        loadgen.StartTestWithLogSettings(system, library, settings, output)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
    return summary((logs / "mlperf_log_summary.txt").read_text(encoding="utf-8"))


def done(query: Any) -> None:
    import mlperf_loadgen as loadgen

    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query, 0, 0)])


class OfLibrary:
    """Reads PNGs as the server does, without the server."""

    def __init__(self, groups: list[list[Sample]]) -> None:
        from seqocr.inference.predict import ReadOptions
        from seqocr.serving.service import Service

        self.groups, self.wrong, self.service = groups, 0, Service(max_waiting=1_000_000)
        self.options = ReadOptions(self.service.default_head, symbols=True)
        self.pool = ThreadPoolExecutor(2)

    def issue(self, query: Any, number: int) -> None:
        self.pool.submit(self._read, query, self.groups[number])

    def warm_up(self) -> None:
        for group in self.groups[:_WARM_UP]:
            self._submitted(group).result()

    def _read(self, query: Any, group: list[Sample]) -> None:
        def answered(future: Any) -> None:
            self.wrong += [prediction.text for prediction, _ in future.result()] != [line.text for line in group]
            done(query)

        self._submitted(group).add_done_callback(answered)

    def _submitted(self, group: list[Sample]) -> Any:
        from seqocr.data.images import open_line
        from seqocr.serving.routes import Limits

        return self.service.submit([open_line(line.png, "the line", Limits().pixels) for line in group], self.options)

    def close(self) -> None:
        self.pool.shutdown()
        self.service.close()


class OfServer:
    """Asks over HTTP, on connections that stay open."""

    def __init__(self, groups: list[list[Sample]], host: str, port: int, path: str) -> None:
        self.groups, self.wrong, self.failed = groups, 0, 0
        self.bodies = [form(group) for group in groups]
        self.host, self.port, self.path = host, port, path
        self.waiting: queue.SimpleQueue[tuple[Any, int] | None] = queue.SimpleQueue()
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(_CLIENTS)]
        for thread in self.threads:
            thread.start()

    def issue(self, query: Any, number: int) -> None:
        self.waiting.put((query, number))

    def warm_up(self) -> None:
        connection = self._connection()
        for number in range(_WARM_UP):
            self._answer(connection, number)
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def _answer(self, connection: http.client.HTTPConnection, number: int) -> tuple[int, Any]:
        """Status, and what was said."""
        body, kind = self.bodies[number]
        try:
            connection.request("POST", self.path, body, {"Content-Type": kind})
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # A server may close a connection that was idle for a while: that is no failure.
            connection.close()
            connection.request("POST", self.path, body, {"Content-Type": kind})
            response = connection.getresponse()
        return response.status, json.loads(response.read())

    def _ask(self) -> None:
        connection = self._connection()
        while (asked := self.waiting.get()) is not None:
            query, number = asked
            try:
                status, found = self._answer(connection, number)
                if status != 200:
                    self.failed += 1
                elif "lines" in found:
                    texts = [line["text"] for line in found["lines"]]
                    self.wrong += texts != [line.text for line in self.groups[number]]
            except (OSError, http.client.HTTPException, ValueError):
                self.failed += 1
                connection.close()
            done(query)

    def close(self) -> None:
        for _ in self.threads:
            self.waiting.put(None)
        for thread in self.threads:
            thread.join()


def main(request: dict[str, Any]) -> dict[str, Any]:
    groups = [[line] for line in load(Path(request["lines"]))]
    of: Any = OfServer(groups, **request["server"]) if request["server"] else OfLibrary(groups)
    try:
        of.warm_up()
        found = drive(
            of.issue, len(groups), Path(request["logs"]), **{k: request[k] for k in ("rate", "seconds", "bound")}
        )
    finally:
        of.close()
    return {
        "valid": found["valid"],
        "requests_a_second": found["Completed samples per second"],
        **{f"p{p}_ms": found[f"{p}.00 percentile latency (ns)"] / 1e6 for p in (50, 99)},
        "wrong": of.wrong,
        "failed": getattr(of, "failed", 0),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
