"""What is timed: recognizers of the plan's sizes, their inputs, and everything about them that needs no clock."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.plan import VARIANTS, Subject
from seqocr.models.base import Variant
from seqocr.models.encoder import Encoder
from seqocr.models.recognizer import HEADS, Recognizer

_SEED = 0


@dataclass(frozen=True)
class Bound:
    """A recognizer bound to a length: every head is one that could read that many symbols.

    Weights are random: the clock does not see them, since autoregressive decoding is made to write exactly `length`
    symbols. The parallel head has `length` slots, the CTC head frames enough for the worst case.
    """

    recognizer: Recognizer
    length: int
    device: torch.device

    def pixel_values(self, batch: int) -> torch.Tensor:
        """(batch, 3, H, W) float32 noise: what is in the image does not change the work."""
        generator = torch.Generator().manual_seed(_SEED)
        height, width = self.recognizer.encoder.image_size
        return torch.rand(batch, 3, height, width, generator=generator).mul_(2).sub_(1).to(self.device)

    def variants(self) -> dict[str, Variant]:
        found = self.recognizer.variants()
        return {name: found[name] for name in VARIANTS}


def bind(subject: Subject, lengths: tuple[int, ...], device: torch.device) -> dict[int, Bound]:
    """The subject for each length. The autoregressive decoder is one for all, the encoder one an image size."""
    bound: dict[int, Bound] = {}
    encoders: dict[tuple[int, int], Encoder] = {}
    decoder: Any = None
    for length in sorted(lengths, reverse=True):  # the longest first: its decoder has positions enough for the others
        torch.manual_seed(_SEED)
        size = subject.size_for(length)
        recognizer = Recognizer.build(subject.preset, tuple(HEADS), image_size=size, max_length=length)
        recognizer.encoder = encoders.setdefault(size, recognizer.encoder)
        decoder = decoder or recognizer.heads["ar"]
        recognizer.heads["ar"] = decoder
        recognizer.head_settings["ar"]["max_position_embeddings"] = decoder.decoder.config.max_position_embeddings
        bound[length] = Bound(recognizer.to(device).eval(), length, device)
    return bound


def costs(bound: Bound, memory: bool = True) -> list[dict[str, Any]]:
    """What the encoder and each variant cost at batch 1, without a clock.

    Parameters, FLOPs, bytes, passes and, if `memory`, peak memory.
    """
    encoder, length = bound.recognizer.encoder, bound.length

    def peak(work: Callable[[], object]) -> int | None:
        return peak_bytes(work, bound.device) if memory else None

    pixel_values = bound.pixel_values(1)
    with torch.inference_mode():
        features = encoder(pixel_values)
        rows = [
            {
                "variant": "encoder",
                "length": length,
                "parameters": parameters(encoder),
                "flops": flops(lambda: encoder(pixel_values)),
                "bytes": traffic(lambda: encoder(pixel_values)),
                "passes": 0,
                "peak_bytes": peak(lambda: encoder(pixel_values)),
            }
        ]
        for name, decode in bound.variants().items():
            head = bound.recognizer.heads[name.split("-")[0]]
            rows.append(
                {
                    "variant": name,
                    "length": length,
                    "parameters": parameters(head),
                    "flops": flops(lambda decode=decode: decode(features, length=length)),  # type: ignore[misc]
                    "bytes": traffic(lambda decode=decode: decode(features, length=length)),  # type: ignore[misc]
                    "passes": decode(features, length=length).passes,
                    "peak_bytes": peak(lambda decode=decode: decode(features, length=length)),  # type: ignore[misc]
                }
            )
    return rows


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products, convolutions and attention, counted by torch.

    Attention runs as plain matrix products while it is counted: the fused kernels are not counted on every device.
    """
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return int(counter.get_total_flops())


def traffic(work: Callable[[], object]) -> int:
    """Bytes that the operations counted by `flops` read and write, each operand once: weights, activations, caches."""
    aten = torch.ops.aten
    products = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution)
    with (
        FlopCounterMode(display=False, custom_mapping=dict.fromkeys(products, _values)) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        work()
    return 4 * int(counter.get_total_flops())  # float32


def _values(*operands: object, out_shape: object = None, **_: object) -> int:
    """How many numbers the operands and the result of one operation hold."""
    return sum(math.prod(shape) for shape in (*operands, out_shape) if isinstance(shape, torch.Size))


def machine_rates(device: torch.device) -> dict[str, float]:
    """What the machine reaches at its best, once: FLOP/s of a large float32 product, and bytes/s of reading memory."""
    side, numbers = 1536, 2**26
    a, b, memory = (torch.ones(shape, device=device) for shape in ((side, side), (side, side), (numbers,)))
    return {
        "flops_per_second": 2 * side**3 / clock(lambda: a @ b, device)[1],
        "bytes_per_second": 4 * numbers / clock(memory.sum, device)[1],
    }


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Most memory that `work` holds at once in tensors of its own, beyond weights and inputs, bytes."""
    work()  # what is allocated once and kept is not counted
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    results = profiler.profiler.kineto_results
    events = sorted((e for e in results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns())
    held = peak = 0
    for event in events:
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def clock(work: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """The result of `work` and the seconds it took, with the garbage collector held off and the device drained."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return result, time.perf_counter() - start
    finally:
        if collecting:
            gc.enable()
