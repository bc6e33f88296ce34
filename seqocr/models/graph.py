"""Graphs that heads are exported as."""

from typing import Any, ClassVar

import torch
from torch import nn


def any_size(name: str, least: int = 1) -> Any:
    """An axis of any size, in the form torch.export takes; a function, since it loads the exporter."""
    return torch.export.Dim(name, min=least, max=65536)


MARKS_OUTPUT = "marks"


class Graph(nn.Module):
    """A function of tensors with named inputs and outputs, exported as one ONNX file."""

    inputs: list[str]
    outputs: list[str]
    is_step: ClassVar[bool] = False  # runs once per token: too little work to be shared by threads
    any_sizes: ClassVar[bool] = False  # shapes change from call to call

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
    """pixel_values (B, 3, H, W), through a `seqocr.models.encoder.Encoder`, to the outputs of `then`, by name."""

    def __init__(self, encoder: nn.Module, outputs: list[str]) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.marks_reader: Any = None
        self.inputs, self.outputs = ["pixel_values"], outputs

    def with_marks(self, reader: Any) -> None:
        """Also give the log probabilities of a `seqocr.models.marks.MarksReader`, as the last output."""
        self.marks_reader, self.outputs = reader, [*self.outputs, MARKS_OUTPUT]

    def then(self, features: torch.Tensor) -> Any:
        return features

    def forward(self, pixel_values: torch.Tensor) -> Any:
        outputs = self.then(features := self.encoder(pixel_values))
        return outputs if self.marks_reader is None else [*outputs, self.marks_reader.log_probs(features)]

    def example(self) -> tuple[Any, ...]:
        return (torch.zeros(2, 3, *self.encoder.image_size),)

    def dynamic(self) -> tuple[Any, ...]:
        axes: dict[int, Any] = {0: any_size("batch")}
        if self.encoder.features.narrows:
            columns = self.encoder.features.columns
            axes[3] = self.encoder.image_size[1] // columns * torch.export.Dim("columns", min=2, max=columns)
        return (axes,)
