"""Drives installed heads through all that is done with heads, beside the built-in head of each kind.

    python stations.py FOLDER

writes FOLDER/stations.json: by station, what the package's heads give and what the built-in ones do with the same
weights, under the names of the latter; or the error that ended it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pandas as pd
import torch
from safetensors.torch import load_file

from seqocr.models.checkpoint import load_recognizer
from tests.plugin.refusals import refused
from tests.plugin.workplace import ALL, KINDS, TOYS, Workplace, name_in, of_built_in, seqocr, texts

TRAINING = ["--level", "data", "--steps", "30", "--batch-size", "16", "--warmup", "4", "--learning-rate", "2e-3"]
TRAINING += ["--ema", "0.5", "--augment", "0", "--validate-every", "30", "--precision", "float32", "--device", "cpu"]

Found = dict[str, Any]


def train(at: Workplace) -> Found:
    """Weights after the same steps are the same, bit for bit."""
    found = {}
    for kind, out in at.trained.items():
        seqocr("train", "--init", at.start[kind], "--data", at.lines, "--out", out, *TRAINING)
        weights = load_file(out / "model.safetensors")
        sums = {of_built_in(name): float(x.double().abs().sum()) for name, x in weights.items()}
        found[kind] = {"texts": texts(out, kind, at.images()), "weights": sums}
    return found


def distributed(at: Workplace) -> Found:
    """Two processes with the package's heads against one that learns as many shards of the built-in ones."""
    short = [*TRAINING, "--steps", "3", "--validate-every", "3", "--shards", "2"]
    out = {kind: at.folder / f"shards-{kind}" for kind in KINDS}
    more = {kind: ["--init", at.trained[kind], "--data", at.lines, "--out", out[kind], *short] for kind in KINDS}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "seqocr", "train"]
    done = subprocess.run([*launcher, *map(str, more["toy"])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((out["toy"] / "config.json").read_text())["provenance"]["processes"] == 2
    seqocr("train", *more["built-in"])
    return {kind: texts(out[kind], kind, at.images()) for kind in KINDS}


def evaluate(at: Workplace) -> Found:
    found = {}
    for kind, weights in at.trained.items():
        out = at.folder / f"eval-{kind}"
        seqocr("eval", "--weights", weights, "--data", at.lines, "--out", out, "--device", "cpu")
        found[kind] = [of_built_in(line) for line in (out / "predictions.csv").read_text().splitlines()]
    return found


def _read(at: Workplace, *options: str, heads: tuple[str, ...] = tuple(TOYS)) -> Found:
    return {
        kind: {
            name: json.loads(
                seqocr(
                    "read", at.some, "--weights", weights, "--head", name_in(kind, name), "--format", "json", *options
                )
            )
            for name in heads
        }
        for kind, weights in at.trained.items()
    }


def constraint(at: Workplace) -> Found:
    found = _read(at, "--pattern", "[0-4]{4,5}", "--check", "luhn", "--device", "cpu")
    assert any(line["text"] for lines in found["toy"].values() for line in lines)
    return found


def n_best(at: Workplace) -> Found:
    found = _read(at, "--top", "3", "--device", "cpu")
    assert all(len(line["others"]) == 2 for lines in found["toy"].values() for line in lines)
    return found


def positions(at: Workplace) -> Found:
    found = _read(at, "--symbols", "--device", "cpu")
    read = [symbol for lines in found["toy"].values() for line in lines for symbol in line["symbols"]]
    assert any(symbol["left"] is not None for symbol in read)
    return found


def default_head_and_pair(at: Workplace) -> Found:
    """Where no head is named, slots read; the package's decoder verifies what its slots draft."""
    found = _read(at, "--device", "cpu", heads=("parallel", "ar-speculative"))
    unnamed = json.loads(seqocr("read", at.some, "--weights", at.trained["toy"], "--format", "json", "--device", "cpu"))
    assert unnamed == found["toy"]["parallel"]
    return found


def calibrate(at: Workplace) -> Found:
    found = {}
    for kind, weights in at.trained.items():
        copy = shutil.copytree(weights, at.folder / f"calibrated-{kind}")
        said = of_built_in(seqocr("calibrate", "--weights", copy, "--data", at.lines, "--device", "cpu"))
        kept = json.loads((copy / "config.json").read_text())["provenance"]["calibration"]
        found[kind] = [said.splitlines()[:-1], {of_built_in(name): each for name, each in kept.items()}]
    return found


def export(at: Workplace) -> Found:
    """Graphs of the package's heads against the weights of the built-in ones."""
    seqocr("export", "--weights", at.trained["toy"], "--out", at.graphs)
    config = json.loads((at.graphs / "config.json").read_text())
    assert config["outputs"] == {"mytokens": "tokens", "myslots": "slots", "myctc": "ctc"}
    return {
        "toy": {**texts(at.graphs, "toy", at.images()), "pairs": of_built_in(json.dumps(config["pairs"]))},
        "built-in": {**_expected(at), "pairs": '{"ar-speculative": ["ar", "parallel"]}'},
    }


def _expected(at: Workplace) -> dict[str, list[str]]:
    return texts(at.trained["built-in"], "built-in", at.images())


def quick_graphs(at: Workplace) -> Found:
    """Graphs in a process that has neither the package nor torch; there, batch inference as well."""
    script = Path(__file__).with_name("without_torch.py")
    command = [sys.executable, str(script), str(at.graphs), str(at.some), str(at.folder / "batch")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_without_package())
    assert done.returncode == 0, done.stderr
    constrained = _read(at, "--pattern", "[0-4]{4,5}", "--device", "cpu")["built-in"]
    expected = _expected(at)
    return {
        "toy": json.loads(of_built_in(done.stdout)),
        "built-in": {
            "plain": {name: expected[name] for name in TOYS},
            "constraint": {name: [line["text"] for line in lines] for name, lines in constrained.items()},
        },
    }


def _without_package() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path.cwd())}


def batch_inference(at: Workplace) -> Found:
    """What `quick_graphs` wrote."""
    parts = {name: next((at.folder / "batch" / toy).glob("part-*")) for name, toy in TOYS.items()}
    expected = _expected(at)
    return {
        "toy": {name: pd.read_parquet(part)["text"].tolist() for name, part in parts.items()},
        "built-in": {name: expected[name] for name in TOYS},
    }


def serve(at: Workplace) -> Found:
    """The server as it is started from a shell, with exported graphs; it needs no package."""
    from bench.core.server import serving
    from bench.experiments.serving.samples import Sample, form

    command = [
        sys.executable,
        "-m",
        "seqocr",
        "serve",
        "--no-page",
        "--weights",
        str(at.graphs),
        "--port",
        "{port}",
    ]
    images = [Sample(path.read_bytes(), "") for path in sorted(at.some.iterdir())]
    with serving(command, "/readyz") as (port, _):
        found = {name: _ask(port, *form(images), head=toy) for name, toy in TOYS.items()}
        assert _ask(port, *form(images)) == found["parallel"]
    expected = _read(at, "--symbols", "--device", "cpu")["built-in"]  # by search, as the server reads
    return {
        "toy": found,
        "built-in": {name: [line["text"] for line in lines] for name, lines in expected.items()},
    }


def _ask(port: int, body: bytes, kind: str, **fields: str) -> list[str]:
    boundary = kind.partition("boundary=")[2]
    for name, value in fields.items():
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        body = part.encode() + body
    request = Request(f"http://127.0.0.1:{port}/v1/read", body, {"Content-Type": kind})
    return [line["text"] for line in json.load(urlopen(request, timeout=60))["lines"]]


def demo_page(at: Workplace) -> Found:
    """The page above a server with weights: heads race, n symbols cost, many lines are read."""
    from fastapi.testclient import TestClient

    from seqocr.demo.lanes import race_html
    from seqocr.demo.length_cost import costs
    from seqocr.demo.page import mount
    from seqocr.demo.race import race
    from seqocr.demo.review import read_all
    from seqocr.serving.app import create_app
    from seqocr.serving.service import Service

    found: Found = {}
    paths = {path.name: path for path in sorted(at.some.iterdir())}
    for kind, weights in at.trained.items():
        recognizer, service = load_recognizer(weights), Service(str(weights), device="cpu")
        image = at.images()[0]
        raced = race(recognizer, image, rounds=1)
        html = race_html(raced, image, 100)
        assert all(f'data-lane="{lane.name}"' in html for lane in raced.lanes)
        cost = [(of_built_in(each.lane), each.passes) for each in next(costs(recognizer, image, (3,), rounds=1))]
        table = read_all(service, paths).sort_values("file_name")[["file_name", "text", "confidence"]]
        if kind == "toy":
            with TestClient(mount(create_app(service), service, recognizer)) as client:  # which closes the service
                assert "which head" in client.get("/").text.lower()
        else:
            service.close()
        found[kind] = {
            "lanes": [
                [
                    of_built_in(lane.name),
                    lane.description,
                    lane.text,
                    lane.confidence,
                    lane.passes,
                    lane.symbol_confidences,
                ]
                for lane in raced.lanes
            ],
            "passes": dict(cost)["ar"],
            "many": table.to_numpy().tolist(),
        }
    return json.loads(json.dumps(found))


def bench(at: Workplace) -> Found:
    """The smallest parts of the experiments, with weights of the package's heads alone; then those of built-in ones."""
    from tests.plugin.parts import measure

    found = {kind: measure(at.trained[kind], at.folder / f"bench-{kind}", timed=kind == "toy") for kind in KINDS}
    rows = {kind: of_built_in(csv).splitlines() for kind, csv in found.items()}
    return {kind: sorted(row for row in of if row.split(",")[1] in ALL) for kind, of in rows.items()}


def report(at: Workplace) -> Found:
    """Every page, table and plot names the package's heads."""
    from tests.plugin.parts import write

    return write(at.folder / "bench-toy")


STATIONS: dict[str, Callable[[Workplace], Found]] = {
    each.__name__: each
    for each in (
        train,
        distributed,
        evaluate,
        constraint,
        n_best,
        positions,
        default_head_and_pair,
        calibrate,
        export,
        quick_graphs,
        batch_inference,
        serve,
        demo_page,
        bench,
        report,
        refused,
    )
}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    at, found = Workplace(folder), dict[str, Any]()
    for name, station in STATIONS.items():
        try:
            found[name] = station(at)
        except Exception:  # the test of this station fails, and the others go on
            found[name] = {"error": traceback.format_exc()}
    (folder / "stations.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
