"""The state that an interrupted training resumes from: weights, their average and optimiser moments in one safetensors
file, and progress as JSON in its metadata."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import Optimizer

from seqocr.errors import InputError
from seqocr.files import replacing

STATE = "training-state.safetensors"
_BY_NAME = StateDictOptions(flatten_optimizer_state_dict=True)  # "state.encoder.….weight.exp_avg"


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        seconds: spent on steps.
        best: mean exact match of the best validation; -1 before the first.
        history: of validations, each with `step`, `seconds`, and the exact match of each head, `exact`.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def mean_exact(self) -> list[float]:
        """The exact match of each validation, mean of the heads."""
        return [sum(each["exact"].values()) / len(each["exact"]) for each in self.history]


def is_finished(out: Path) -> bool:
    """Whether a directory holds a recognizer whose training has ended."""
    return (out / "config.json").exists() and not (out / STATE).exists()


def save_state(
    out: Path,
    fingerprint: str,
    progress: Progress,
    model: nn.Module,
    average: nn.Module,
    optimizers: Sequence[Optimizer],
) -> None:
    """Write the state atomically; `fingerprint` is what must be the same for the run to be resumed."""
    tensors = {
        **{f"weight/{name}": p for name, p in _trained(model).items()},
        **{f"average/{name}": p for name, p in _trained(average).items()},
        **{f"optimizer/{name}": x for name, x in _moments(model, optimizers).items()},
    }
    metadata = {"facts": json.dumps(asdict(progress)), "fingerprint": fingerprint}
    with replacing(out / STATE) as temporary:
        temporary.write_bytes(to_bytes({name: x.detach().contiguous() for name, x in tensors.items()}, metadata))


def load_state(
    out: Path, fingerprint: str, model: nn.Module, average: nn.Module, optimizers: Sequence[Optimizer]
) -> Progress:
    """Restore weights, their average and the optimisers in place; returns the progress of the run.

    Raises:
        InputError: the state cannot be read, or is of a run with another fingerprint.
    """
    path = out / STATE
    try:
        with safe_open(path, framework="pt") as state:
            metadata = state.metadata()
            if metadata["fingerprint"] != fingerprint:
                raise InputError(f"{path} is of a run with other settings: give another --out, or delete it")
            tensors = {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118
        with torch.no_grad():
            for kind, module in (("weight", model), ("average", average)):
                for name, p in _trained(module).items():
                    p.copy_(tensors[f"{kind}/{name}"])
        moments = {name.removeprefix("optimizer/"): x for name, x in tensors.items() if name.startswith("optimizer/")}
        if moments:
            # Only the moments: the rest of the optimisers' state follows from the configuration.
            complete = {**get_optimizer_state_dict(model, optimizers, options=_BY_NAME), **moments}
            set_optimizer_state_dict(model, optimizers, complete, options=_BY_NAME)
        return Progress(**json.loads(metadata["facts"]))
    except InputError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:  # not `save_state`'s
        raise InputError(f"{path} cannot be read ({error}): delete it to start again") from error


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _moments(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, torch.Tensor]:
    """The moments of each weight, by name; none before the first step."""
    if not all(optimizer.state for optimizer in optimizers):  # PyTorch would take a step, which the optimisers count
        return {}
    state: dict[str, Any] = get_optimizer_state_dict(model, optimizers, options=_BY_NAME)
    return {name: x for name, x in state.items() if isinstance(x, torch.Tensor)}
