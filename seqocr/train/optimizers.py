"""Muon: gradient descent with momentum in which every direction of a matrix moves alike."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def schedule(step: int, warmup: int, steps: int) -> float:
    """Share of the peak learning rate at `step`: linear warm-up, then half a cosine down to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", for the matrices of layers.

    Updates are as large as AdamW's (Liu et al. 2025, "Muon is scalable for LLM training"), so both take the same
    learning rate and weight decay. `torch.optim.Muon` is the same in bfloat16, which processors without instructions
    for it emulate: there a step of it takes thirty times as long.

    Args:
        params: matrices.
        lr: learning rate. weight_decay: decoupled. momentum: Nesterov's.
    """

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # nothing here evaluates the loss again
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                average = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalised(p.grad.lerp(average, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-0.2 * group["lr"] * max(p.shape) ** 0.5)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix with the same singular vectors and all singular values near 1 (0.7 to 1.2), by Newton-Schulz iteration.

    Those below about a 700th of the matrix's Frobenius norm stay smaller.
    """
    a, b, c = _QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
