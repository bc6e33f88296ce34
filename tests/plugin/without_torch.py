"""Reads with exported graphs, line by line and in a batch, without torch and without the package of their heads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import seqocr
from seqocr.batch.engines import local
from seqocr.batch.runner import predict_batch
from seqocr.data.images import open_line
from seqocr.decoding.constraints import build_constraint

if __name__ == "__main__":
    graphs, some, out = sys.argv[1:]
    reader, images = seqocr.load(graphs), [open_line(path) for path in sorted(Path(some).iterdir())]
    constraint, found = build_constraint(reader.charset, pattern="[0-4]{4,5}"), {"plain": {}, "constraint": {}}
    for head in reader.heads:
        for name, limit in (("plain", None), ("constraint", constraint)):
            options = seqocr.ReadOptions(head, limit, top=2 if limit else 1)
            found[name][head] = [each.text for each in seqocr.predict(reader, images, options)]
        predict_batch(some, f"{out}/{head}", lambda job, shards: local(job, shards, workers=1), graphs, head, 100)
    assert not {"torch", "transformers", "toy_heads"} & set(sys.modules)
    print(json.dumps(found))
