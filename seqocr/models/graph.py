"""What a graph is, before it is written to a file and once it is loaded. Heads say which graphs they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import nn


def any_size(name: str, least: int = 1) -> Any:
    """An axis of any size, in the form torch.export takes; a function, since it loads the exporter."""
    return torch.export.Dim(name, min=least, max=65536)


class Session(Protocol):
    """A loaded graph. Values are the engine's own; what one call gives, another takes without a copy."""

    inputs: list[str]

    def __call__(self, values: dict[str, Any]) -> list[Any]: ...

    def value(self, array: np.ndarray) -> Any: ...

    def array(self, value: Any) -> np.ndarray: ...


Sessions = Callable[[str], Session]  # loads a graph, by the name of its file


class Graph(nn.Module):
    """What becomes one ONNX file: a function of tensors, with the names of what goes in and out."""

    inputs: list[str]
    outputs: list[str]
    is_step: ClassVar[bool] = False  # run once a token: too little work to be shared by threads
    any_sizes: ClassVar[bool] = False  # its sizes change from call to call

    def example(self) -> tuple[Any, ...]:
        """Inputs to trace with."""
        raise NotImplementedError

    def dynamic(self) -> tuple[Any, ...]:
        """Which of their axes may have another size, in the form torch.export takes."""
        raise NotImplementedError

    def arguments(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """Inputs by name, as `forward` takes them."""
        return tuple(values[name] for name in self.inputs)


class OfPixels(Graph):
    """pixel_values (B, 3, H, W) to whatever `then` makes of the encoder's features (B, T, D).

    Args:
        encoder: a `seqocr.models.encoder.Encoder`.
        outputs: names of what `then` gives.
    """

    def __init__(self, encoder: nn.Module, outputs: list[str]) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.inputs, self.outputs = ["pixel_values"], outputs

    def then(self, features: torch.Tensor) -> Any:
        return features

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return self.then(self.encoder(pixel_values))

    def example(self) -> tuple[Any, ...]:
        return (torch.zeros(2, 3, *self.encoder.image_size),)

    def dynamic(self) -> tuple[Any, ...]:
        return ({0: any_size("batch")},)
