"""One LoadGen Server test, of a server or of the library: python -m bench.experiments.serving.client JSON."""

import http.client
import json
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.experiments.serving.samples import Sample, form, load_samples
from bench.workloads.loadgen import complete, drive, percentiles

_CONNECTIONS = 32
_WARM_UP = 100  # requests before the test, one after another


class LibraryClient:
    """Reads PNGs through the server's queue, without HTTP.

    Attributes:
        wrong, failed: responses with another text than the sample's, and requests without a response.
    """

    def __init__(self, samples: list[Sample]) -> None:
        from seqocr.inference.prediction import ReadOptions
        from seqocr.serving.service import Service

        self.samples, self.wrong, self.failed = samples, 0, 0
        self._service, self._pool = Service(max_waiting=1_000_000), ThreadPoolExecutor(2)
        self._options = ReadOptions(self._service.default_head, symbols=True)

    def warm_up(self) -> None:
        for sample in self.samples[:_WARM_UP]:
            self._submit(sample).result()

    def issue(self, query: Any, index: int) -> None:
        self._pool.submit(self._read, query, self.samples[index])

    def close(self) -> None:
        self._pool.shutdown()
        self._service.close()

    def _read(self, query: Any, sample: Sample) -> None:
        def check(future: Future[Any]) -> None:
            self.wrong += [prediction.text for prediction, _ in future.result()] != [sample.text]
            complete(query)

        self._submit(sample).add_done_callback(check)

    def _submit(self, sample: Sample) -> Future[Any]:
        from seqocr.data.images import open_line
        from seqocr.serving.bodies import Limits

        return self._service.submit([open_line(sample.png, "line", Limits().pixels)], self._options)


class HTTPClient:
    """Posts PNGs to a server, over connections that stay open. Attributes as of `LibraryClient`.

    Args:
        path: that images are posted to.
    """

    def __init__(self, samples: list[Sample], port: int, path: str) -> None:
        self.samples, self.wrong, self.failed = samples, 0, 0
        self._bodies, self._port, self._path = [form([sample]) for sample in samples], port, path
        self._thread, self._pool = threading.local(), ThreadPoolExecutor(_CONNECTIONS, initializer=self._connect)

    def warm_up(self) -> None:
        for index in range(_WARM_UP):
            self._pool.submit(self._post, index).result()

    def issue(self, query: Any, index: int) -> None:
        self._pool.submit(self._read, query, index)

    def close(self) -> None:
        self._pool.shutdown()

    def _connect(self) -> None:
        self._thread.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _post(self, index: int) -> tuple[int, Any]:
        """Status and JSON of the response. A connection that the server closed while it was idle is opened again."""
        (body, kind), connection = self._bodies[index], self._thread.connection
        for attempt in range(2):
            try:
                connection.request("POST", self._path, body, {"Content-Type": kind})
                response = connection.getresponse()
                break
            except (http.client.RemoteDisconnected, ConnectionError):
                connection.close()
                if attempt:
                    raise
        return response.status, json.loads(response.read())

    def _read(self, query: Any, index: int) -> None:
        try:
            status, found = self._post(index)
            if status != 200:
                self.failed += 1
            elif "lines" in found:
                self.wrong += [line["text"] for line in found["lines"]] != [self.samples[index].text]
        except (OSError, http.client.HTTPException, ValueError):
            self.failed += 1
            self._thread.connection.close()
        complete(query)


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Args:
    request: `samples`, a folder; `server`, its port and path, or None for the library; logs, rate, seconds, bound.
    """
    samples = load_samples(Path(request["samples"]))
    client = HTTPClient(samples, **request["server"]) if request["server"] else LibraryClient(samples)
    timing = {name: request[name] for name in ("rate", "seconds", "bound")}
    try:
        client.warm_up()
        summary = drive(client.issue, len(samples), "Server", Path(request["logs"]), **timing)
    finally:
        client.close()
    return {
        "valid": summary["valid"],
        "requests_a_second": summary["Completed samples per second"],
        **percentiles(summary, 50, 99),
        "wrong": client.wrong,
        "failed": client.failed,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
