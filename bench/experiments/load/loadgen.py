"""One LoadGen test in a process of its own, since LoadGen keeps state for the life of a process.

python -m bench.experiments.load.loadgen JSON
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from bench import backends
from bench.workloads.held_out import task_strings
from seqocr.decoding.output import DecoderOutput
from seqocr.models.checkpoint import load_recognizer
from seqocr.serving.queue import BatchingQueue

_LINES = 1024  # different ones that are asked for
_NS = 1e9


def drive(
    read: Callable[[torch.Tensor], DecoderOutput],
    lines: torch.Tensor,
    scenario: str,
    logs: Path,
    *,
    seconds: float,
    rate: float = 100.0,
    bound: float = 0.1,
    max_batch: int = 64,
) -> dict[str, Any]:
    """One LoadGen test.

    Args:
        read: lines (B, h, w) uint8 to texts.
        lines: (N, h, w) uint8, what is asked for, at random.
        scenario: "SingleStream", "Offline" or "Server".
        logs: folder for LoadGen's logs.
        seconds: shortest duration.
        rate: lines a second: asked for (Server), or expected, better too many than too few (the others).
        bound: seconds that 99 % of Server's lines may take.

    Returns:
        LoadGen's own summary: `valid`, and its figures by their names there.
    """
    import mlperf_loadgen as loadgen

    queue: BatchingQueue[torch.Tensor, str] = BatchingQueue(
        lambda images: read(torch.stack(images)).texts, max_batch, max_waiting=sys.maxsize
    )

    def issue(samples: list[Any]) -> None:
        tokens = [sample.id for sample in samples]

        def finish(future: Future[Any]) -> None:
            future.result()
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(token, 0, 0) for token in tokens])

        queue.submit([lines[sample.index] for sample in samples]).add_done_callback(finish)

    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1e3)
    settings.single_stream_expected_latency_ns = int(_NS / rate)
    settings.offline_expected_qps = rate
    settings.server_target_qps = rate
    settings.server_target_latency_ns = int(bound * _NS)
    settings.server_target_latency_percentile = 0.99
    logs.mkdir(parents=True, exist_ok=True)
    output = loadgen.LogSettings()
    output.log_output.outdir, output.log_output.copy_summary_to_stdout = str(logs), False
    output.enable_trace = False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(len(lines), len(lines), lambda _: None, lambda _: None)
    try:
        loadgen.StartTestWithLogSettings(system, library, settings, output)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        queue.close()
    return summary((logs / "mlperf_log_summary.txt").read_text(encoding="utf-8"))


def summary(text: str) -> dict[str, Any]:
    """LoadGen's summary as a dict; numbers as numbers, and `valid`."""
    pairs = re.findall(r"^ *([^:\n]+?) *: *(\S.*?) *$", text, flags=re.MULTILINE)
    found: dict[str, Any] = {}
    for name, value in pairs:
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return {"valid": found.get("Result is") == "VALID", **found}


def served(request: dict[str, Any]) -> dict[str, Any]:
    """What the process does: the task's strings, read through a runtime.

    Args:
        request: weights, heads, strategy, runtime, a folder for graphs, and what `drive` takes.
    """
    recognizer = load_recognizer(request["weights"]).with_heads(request["heads"]).eval()
    strings = task_strings(_LINES)
    lines: Any = strings.batch(range(len(strings)))[0]
    decode = backends.prepare(request["runtime"], recognizer, Path(request["folder"])).strategies[request["strategy"]]
    processor = recognizer.processor

    def read(images: torch.Tensor) -> DecoderOutput:
        return decode(processor(images))

    for batch in (1, 8, 64):
        read(lines[:batch])
    asked = {name: request[name] for name in ("seconds", "rate", "bound")}
    return drive(read, lines, request["scenario"], Path(request["logs"]), **asked)


if __name__ == "__main__":
    print(json.dumps(served(json.loads(sys.argv[1]))))
