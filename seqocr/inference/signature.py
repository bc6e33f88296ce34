"""Whether a loaded graph has the inputs and outputs that decoding gives it and expects of it."""

from dataclasses import dataclass

Shape = tuple[int | None, ...]  # None: any size


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    dtype: str  # as NumPy has it
    shape: Shape

    def fits(self, name: str, dtype: str, shape: Shape) -> bool:
        """Whether it can be this; an empty name is any."""
        sizes = zip(self.shape, shape, strict=False)
        return (
            name in ("", self.name)
            and (dtype, len(shape)) == (self.dtype, len(self.shape))
            and all(None in pair or pair[0] == pair[1] for pair in sizes)
        )

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}({', '.join('?' if n is None else str(n) for n in self.shape)})"


@dataclass(frozen=True)
class Signature:
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def check_pixels(
        self, height: int, width: int | None, first: int | None, caches: bool, marks: int | None = None
    ) -> None:
        """Raise a ValueError unless it is a graph of pixel_values (B, 3, H, W).

        Args:
            first: classes of the first output (B, T, classes); None: there is none.
            caches: whether keys and values (B, heads, T, d_head) of cross-attention follow.
            marks: classes of the last output, of a reader of marks; None: there is none.
        """
        rest = list(self.outputs)
        if marks is not None:
            _need(rest[-1:], "", "float32", (None, None, marks))
            rest = rest[:-1]
        _need(self.inputs, "pixel_values", "float32", (None, 3, height, width))
        if len(self.inputs) != 1:
            raise ValueError(f"it also wants {self.inputs[1]}")
        if first is not None:
            _need(rest, "", "float32", (None, None, first))
            rest = rest[1:]
        _check_caches(rest, caches)

    def check_step(self, tokens: dict[str, tuple[str, Shape]], classes: int) -> None:
        """Raise a ValueError unless it is a decoder's graph: tokens, and caches, to logits (..., classes) and caches.

        Args:
            tokens: dtypes and shapes, by name.
        """
        caches = [port for port in self.inputs if port.name not in tokens]
        for name, (dtype, shape) in tokens.items():
            _need([port for port in self.inputs if port.name == name], name, dtype, shape)
        past = [port for port in caches if port.name.startswith("past")]
        _check_caches(caches, True)
        if len(caches) != 2 * len(past) or len(self.outputs) != 1 + len(past):
            raise ValueError(f"it has {len(caches)} caches and {len(self.outputs)} outputs")
        logits = self.outputs[0]
        if logits.dtype != "float32" or not logits.shape or logits.shape[-1] not in (None, classes):
            raise ValueError(f"it gives {logits}, not {classes} logits")
        _check_caches(self.outputs[1:], True)


def _need(ports: list[Port] | tuple[Port, ...], name: str, dtype: str, shape: Shape) -> None:
    wanted = Port(name or "an output", dtype, shape)
    if not ports or not ports[0].fits(name, dtype, shape):
        raise ValueError(f"it has {ports[0] if ports else 'nothing'}, not {wanted}")


def _check_caches(ports: list[Port] | tuple[Port, ...], wanted: bool) -> None:
    if not wanted and ports:
        raise ValueError(f"it also has {ports[0]}")
    if wanted and (not ports or len(ports) % 2):
        raise ValueError(f"it has {len(ports)} caches")
    for port in ports:
        _need([port], "", "float32", (None,) * 4)
