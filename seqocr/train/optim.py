"""Optimisers (AdamW; Muon for the layers' matrices) and the schedule of the learning rate."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from seqocr.train import distributed
from seqocr.train.config import TrainConfig

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def build_optimizers(weights: dict[str, nn.Parameter], config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Optimisers of weights, by name. Matrices decay; biases, norms and positions do not."""
    decayed = {name: p for name, p in weights.items() if p.dim() >= 2 and "position" not in name}
    others = [p for name, p in weights.items() if name not in decayed]
    for_muon = {}
    if config.optimizer == "muon":
        for_muon = {name: p for name, p in decayed.items() if p.dim() == 2 and ".layers." in name}
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in decayed.items() if name not in for_muon], "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
    ]
    if for_muon:
        optimizers.append(Muon(for_muon.values(), config.learning_rate, config.weight_decay))
    return optimizers


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], config: TrainConfig, step: int) -> None:
    """Give the optimisers the learning rate of a step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule(step, config.warmup, config.steps, config.decay)


def schedule(step: int, warmup: int, steps: int, decay: str = "cosine") -> float:
    """Share of the peak learning rate at `step`: linear warm-up, then half a cosine down to zero, or all of it."""
    if step < warmup:
        return (step + 1) / warmup
    if decay == "none":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", for the matrices of layers.

    Updates are as large as AdamW's (Liu et al. 2025, "Muon is scalable for LLM training"), so both take the same
    learning rate and decoupled weight decay. `torch.optim.Muon` is the same in bfloat16, which takes thirty times as
    long on processors that emulate it. Of several processes each orthogonalises a share of the matrices.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            learned = [p for p in group["params"] if p.grad is not None]
            updates = [self._towards(p, p.grad, group["momentum"]) for p in learned]
            distributed.share_out(updates, orthogonalise)
            for p, update in zip(learned, updates, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-0.2 * group["lr"] * max(p.shape) ** 0.5)

    def _towards(self, p: torch.Tensor, grad: torch.Tensor, momentum: float) -> torch.Tensor:
        """The gradient with Nesterov momentum."""
        state = self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(p)
        average = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        return grad.lerp(average, momentum)


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of a matrix near 1 (0.7 to 1.2), by Newton-Schulz iteration; singular vectors stay.

    Values below about a 700th of the matrix's Frobenius norm stay smaller.
    """
    a, b, c = _QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
