"""What needs no clock: parameters, passes, FLOPs, bytes moved and peak memory, exact or nearly so on any machine."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.core import strategies
from bench.core.timer import clock
from bench.workloads.timed_models import BoundModel


def costs(bound: BoundModel, memory: bool = True) -> list[dict[str, Any]]:
    """What the encoder and each strategy cost at batch 1; `peak_bytes` only if `memory`."""
    encoder, length, pixel_values = bound.recognizer.encoder, bound.length, bound.pixel_values(1)
    with torch.inference_mode():
        features = encoder(pixel_values)
        work: dict[str, tuple[nn.Module, Callable[[], Any]]] = {"encoder": (encoder, partial(encoder, pixel_values))}
        for name, decode in bound.decode_functions().items():
            pair = bound.recognizer.pairs().get(name)
            used = [bound.recognizer.heads[head] for head in strategies.heads_of(name)]
            modules = nn.ModuleList([pair.head, pair.drafter] if pair else used)
            work[name] = modules, partial(decode, features, length=length)
        return [
            {
                "strategy": name,
                "length": length,
                "parameters": sum(p.numel() for p in module.parameters()),
                **work_of(call),  # also the warm-up of what follows: what is allocated once and kept is not counted
                "peak_bytes": peak_bytes(call, bound.device) if memory else None,
            }
            for name, (module, call) in work.items()
        ]


def work_of(call: Callable[[], Any]) -> dict[str, int]:
    """What one call does, on any device.

    Attention runs as plain matrix products meanwhile: the fused kernels are not counted everywhere.

    Returns:
        `flops`: floating-point operations of matrix products, convolutions and attention, as torch counts them.
        `bytes`: that these read and write, each operand once, in float32: weights, activations, caches.
        `passes`: of the decoder; 0 of what has none.
    """
    aten = torch.ops.aten
    products = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution)
    operations = FlopCounterMode(display=False)
    numbers = FlopCounterMode(display=False, custom_mapping=dict.fromkeys(products, _values))
    with operations, numbers, sdpa_kernel(SDPBackend.MATH):
        result = call()
    flops, moved = (int(counter.get_total_flops()) for counter in (operations, numbers))
    return {"flops": flops, "bytes": 4 * moved, "passes": getattr(result, "passes", 0)}


def _values(*operands: object, out_shape: object = None, **_: object) -> int:
    """How many numbers the operands and the result of one operation hold."""
    return sum(math.prod(shape) for shape in (*operands, out_shape) if isinstance(shape, torch.Size))


def machine_rates(device: torch.device) -> dict[str, float]:
    """What the machine reaches at its best, once: FLOP/s of a large float32 product, and bytes/s of reading memory."""
    side, numbers = 1536, 2**26
    a, b, memory = (torch.ones(shape, device=device) for shape in ((side, side), (side, side), (numbers,)))
    return {
        "flops_per_second": 2 * side**3 / clock(lambda: a @ b, device)[1]["seconds"],
        "bytes_per_second": 4 * numbers / clock(memory.sum, device)[1]["seconds"],
    }


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Most memory that `work` holds at once in tensors of its own, beyond weights and inputs, bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda e: e.start_ns())]
    return max(itertools.accumulate(changes, initial=0))
