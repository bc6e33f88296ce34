"""Fingerprints of what the bench times: models with random weights, trained ones, and exported graphs."""

from collections.abc import Callable, Collection
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from bench.core.fingerprint import of_call
from bench.workloads.timed_models import TASK_LENGTH, TimedModel, bind
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.errors import InputError
from seqocr.inference.export import graphs
from seqocr.models.checkpoint import load_recognizer
from seqocr.train.loop import Trainer


def of_timed_model(
    model: TimedModel, lengths: tuple[int, ...], strategies: Collection[str] | None = None, batch: int = 1
) -> dict[str, str]:
    """Of the encoder and of strategies (default: all), by "STRATEGY, n = LENGTH".

    Args:
        lengths: that are timed; the shortest and the task's are enough.
    """
    return _chosen(_of_timed_model(model, min(lengths), batch), strategies)


@cache
def _of_timed_model(model: TimedModel, shortest: int, batch: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for length, bound in bind(model, (shortest, TASK_LENGTH), torch.device("cpu")).items():
        encoder, pixel_values = bound.recognizer.encoder, bound.pixel_values(batch)
        found |= of_decoders(encoder, pixel_values, bound.decode_functions(), length)
    return found


def of_recognizer(folder: Path, length: int, strategies: Collection[str]) -> dict[str, str]:
    """As `of_timed_model`, with the architecture of trained weights, made to write `length` symbols."""
    return _chosen(_of_recognizer(folder, length), strategies)


@cache
def _of_recognizer(folder: Path, length: int) -> dict[str, str]:
    recognizer = load_recognizer(folder).eval()
    for head in recognizer.heads.values():
        head.make_constant()
    pixel_values = torch.zeros(1, 3, *recognizer.encoder.image_size)
    return of_decoders(recognizer.encoder, pixel_values, recognizer.decode_functions(), length)


def _chosen(found: dict[str, str], strategies: Collection[str] | None) -> dict[str, str]:
    wanted = None if strategies is None else {"encoder", *strategies}
    return {key: digest for key, digest in found.items() if wanted is None or key.split(",")[0] in wanted}


def of_decoders(
    encoder: Callable[[torch.Tensor], torch.Tensor],
    pixel_values: torch.Tensor,
    decoders: dict[str, DecodeFunction],
    length: int,
) -> dict[str, str]:
    with torch.inference_mode():
        features = encoder(pixel_values)

    def decode(name: str) -> object:
        output: DecoderOutput = decoders[name](features, length=length)
        return output.confidences

    found = {f"encoder, n = {length}": of_call(partial(encoder, pixel_values))}
    return found | {f"{name}, n = {length}": of_call(partial(decode, name)) for name in decoders}


def of_training(make: Callable[[], Trainer], steps: int = 2) -> dict[str, Any]:
    """The losses of a training's first steps. Nothing is written, and nothing said where there are no digits to train
    on."""
    try:
        trainer = make()
    except InputError:
        return {}
    batches = iter(trainer.batches())
    return {"first losses": [trainer.train_step(next(batches)) for _ in range(steps)]}


@cache
def of_graphs(model: TimedModel, heads: tuple[str, ...]) -> dict[str, str]:
    """Of the graphs that heads are exported as, by "graph NAME": what `torch.export` traces, run on its example."""
    recognizer = bind(model, (TASK_LENGTH,), torch.device("cpu"))[TASK_LENGTH].recognizer
    made = graphs(recognizer.with_heads([name for name in heads if name in recognizer.heads]))
    return {f"graph {name}": of_call(partial(graph, *graph.example())) for name, graph in made.items()}
