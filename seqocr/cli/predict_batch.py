"""seqocr predict-batch"""

from functools import partial
from typing import Annotated

import typer

from seqocr.cli.options import Head, Weights
from seqocr.errors import InputError, check_bounds
from seqocr.files import shown


def predict_batch(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder or pattern of images, of tar files (WebDataset) or of Parquet with a column of image bytes; "
            "local, or as fsspec takes it, such as s3://bucket/lines."
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder for Parquet files, local or as fsspec takes it.")],
    weights: Weights = None,
    head: Head = "",
    shard: Annotated[int, typer.Option(help="Images per file of results; an archive makes one file.")] = 2000,
    engine: Annotated[str, typer.Option(help="local: processes of this machine; ray: a cluster.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster, such as auto or HOST:6379.", show_default="a new one, here"),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.", show_default="one per core")] = None,
) -> None:
    """Read very many images with many processes, to Parquet: one row per image, in the order of names.

    Rows have file_name, text, confidence and symbol_confidences; an image that cannot be read, or damage of an archive,
    has `problem` instead, and the exit code is then 2.
    After an interruption, the same command goes on where it was. Needs pip install 'seqocr[scale]'.
    """
    check_bounds("--shard", shard, 1, 1_000_000)
    if workers is not None:
        check_bounds("--workers", workers, 1, 100_000)
    if engine not in ("local", "ray"):
        raise InputError(f"--engine {engine}: choose local or ray")
    if address is not None and engine != "ray":
        raise InputError("--address is for a Ray cluster: give --engine ray")

    from seqocr.batch import engines
    from seqocr.batch.runner import predict_batch as predict

    reading = partial(engines.local, workers=workers)
    if engine == "ray":
        reading = partial(engines.on_ray, workers=workers, address=address)
    summary = predict(source, out, reading, weights, head, shard)
    rate = f", {summary.lines / summary.seconds:,.0f} lines/s" if summary.lines else ""
    print(f"read: {summary.lines:,} lines{rate}; {shown(out)} holds {summary.shards:,} files")
    if summary.problems:
        print(f"rows with a problem instead of a text: {summary.problems:,}")
        raise typer.Exit(2)
