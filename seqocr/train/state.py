"""The state that an interrupted training resumes from: weights, their average and optimiser moments in one safetensors
file, with progress, what must be the same to go on, and a checksum of it all in the metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import Optimizer

from seqocr.data.digests import digest
from seqocr.data.mixture import DataMixture
from seqocr.errors import InputError
from seqocr.files import UNSEALED, is_sealed, replacing, seal, shown
from seqocr.train.config import TrainConfig

STATE = "training-state.safetensors"
UNREADABLE = (OSError, SafetensorError, ValueError)  # what `read_tensors` raises
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
    inputs: dict[str, Any],
    progress: Progress,
    model: nn.Module,
    average: nn.Module,
    optimizers: Sequence[Optimizer],
) -> None:
    """Write the state atomically; `inputs`, as JSON, must be the same for the run to be resumed."""
    tensors = {
        **{f"weight/{name}": p for name, p in _trained(model).items()},
        **{f"average/{name}": p for name, p in _trained(average).items()},
        **{f"optimizer/{name}": x for name, x in _moments(model, optimizers).items()},
    }
    write_tensors(out / STATE, tensors, {"facts": json.dumps(asdict(progress)), "inputs": json.dumps(inputs)})


def load_state(
    out: Path, inputs: dict[str, Any], model: nn.Module, average: nn.Module, optimizers: Sequence[Optimizer]
) -> Progress:
    """Restore weights, their average and the optimisers in place; returns the progress of the run.

    Raises:
        InputError: the state is damaged, or of a run with other inputs.
    """
    path = out / STATE
    remedy = "give another --out, or delete its folder to start again"
    try:
        metadata, tensors = read_tensors(path)
        if other := differing(json.loads(metadata["inputs"]), inputs):
            raise InputError(f"{shown(path)} is of a run with other {other}: {remedy}")
        with torch.no_grad():
            for kind, module in (("weight", model), ("average", average)):
                for name, p in _trained(module).items():
                    p.copy_(tensors[f"{kind}/{name}"])
        moments = {name.removeprefix("optimizer/"): x for name, x in tensors.items() if name.startswith("optimizer/")}
        if moments:
            # Only the moments: the rest of the optimisers' state follows from the configuration.
            complete: dict[str, Any] = {**get_optimizer_state_dict(model, optimizers, options=_BY_NAME), **moments}
            set_optimizer_state_dict(model, optimizers, complete, options=_BY_NAME)
        return Progress(**json.loads(metadata["facts"]))
    except InputError:
        raise
    except (*UNREADABLE, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{shown(path)} cannot be used ({error}): {remedy}") from error


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically, with a checksum of it all in its metadata."""
    with replacing(path) as temporary:
        # save_file would make the file readable by its owner alone, whatever the umask.
        content = to_bytes(
            {name: x.detach().contiguous() for name, x in tensors.items()}, metadata | {"sha256": UNSEALED}
        )
        temporary.write_bytes(seal(content))


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The metadata and tensors of a file that `write_tensors` wrote; one of `UNREADABLE` if it is not as written."""
    if not is_sealed(path.read_bytes()):
        raise ValueError("damaged, or of another version")
    with safe_open(path, framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def run_inputs(
    config: TrainConfig, weights: Mapping[str, torch.Tensor], mixture: DataMixture, init: nn.Module | None
) -> dict[str, Any]:
    """What a run is made of, its data and the trained weights that it starts from as digests of their content."""
    return {
        "settings": asdict(config),
        "architecture": {name: list(p.shape) for name, p in weights.items()},
        "data": mixture.about,
        **mixture.contents,
        "initial weights": None if init is None else digest(init.state_dict().values()),
    }


def input_digests(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Short enough for the provenance of weights."""
    return {name: digest([json.dumps(value)]) for name, value in inputs.items()}


def differing(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """The names of a run's inputs that are not what they were; empty if all are, or where that is not known."""
    now = json.loads(json.dumps(now))
    return ", ".join(name for name in now if before is not None and before.get(name) != now[name])


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _moments(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, torch.Tensor]:
    """The moments of each weight, by name; none before the first step."""
    if not all(optimizer.state for optimizer in optimizers):  # PyTorch would take a step, which the optimisers count
        return {}
    state: dict[str, Any] = get_optimizer_state_dict(model, optimizers, options=_BY_NAME)
    return {name: x for name, x in state.items() if isinstance(x, torch.Tensor)}
