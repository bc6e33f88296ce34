"""What is measured: presets of cells. A cell is what is stored, resumed and never measured twice."""

from __future__ import annotations

from dataclasses import dataclass

from seqocr.errors import InputError

LENGTHS = (1, 2, 5, 10, 20, 50)
TASK_LENGTH = 5  # digits in a string of the accuracy task, and of everything not measured against length
HEADS = ("ar", "parallel", "ctc")  # the heads as deployed, without their other variants
ONE_PASS = ("parallel", "ctc")
VARIANTS = ("ar-generate", "ar", "ar-nocache", "parallel", "ctc")
RUNTIMES = ("eager", "eager-bfloat16", "compile", "onnxruntime", "onnxruntime-int8", "openvino")
ACCURACY_VARIANTS = ("ar", "ar-generate", "parallel", "ctc", "ctc-beam")


@dataclass(frozen=True)
class Subject:
    """One encoder at one input size, with all heads.

    Attributes:
        name: short, for files and axes.
        preset: architecture.
        image_size: (height, width) in pixels; for a growing image, the size that holds `TASK_LENGTH` digits.
        grows: the image is as many cells wide as the string has digits; otherwise it is the same for every length.
    """

    name: str
    preset: str
    image_size: tuple[int, int]
    grows: bool = False

    def size_for(self, length: int) -> tuple[int, int]:
        height, width = self.image_size
        return (height, width // TASK_LENGTH * length) if self.grows else (height, width)

    @property
    def label(self) -> str:
        height, width = self.image_size
        return f"{self.preset}, {height}×{width // TASK_LENGTH}·n" if self.grows else f"{self.preset}, {height}×{width}"


TINY = Subject("tiny-28x140", "tiny", (28, 140))
SMALL_NATIVE = Subject("small-32x160", "small", (32, 160))
SMALL_SQUARE = Subject("small-384x384", "small", (384, 384))
TINY_GROWING = Subject("tiny-growing", "tiny", (28, 140), grows=True)


@dataclass(frozen=True)
class Cell:
    """Interleaved rounds of timing one subject.

    Attributes:
        kind: "latency" (against length, batch 1), "throughput" (against batch size, at `TASK_LENGTH` digits),
            "runtimes" (both, through each of `runtimes`, from pixels to text), "depth" (decoders of several depths
            against length), "peers" (what people would use instead) or "load" (LoadGen's scenarios).
        points: the lengths, the batch sizes, or the numbers of layers.
        rounds: counted rounds, after `warmup` rounds that are kept but marked.
        repeats: calls of each thing in a round.
        batch: of a "runtimes" or "peers" cell, which times batch 1 and this.
        steps: for which decoders of each depth are trained.
        seconds, bound: of a load test: its shortest duration, and what 99 % of Server's lines may take.
    """

    kind: str
    subject: Subject
    points: tuple[int, ...]
    rounds: int
    repeats: int = 1
    warmup: int = 1
    runtimes: tuple[str, ...] = ()
    batch: int = 0
    steps: int = 0
    seconds: float = 0.0
    bound: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.subject.name}"


@dataclass(frozen=True)
class Plan:
    """All that one run of the bench measures.

    Attributes:
        strings: how many strings are read for accuracy (fewer where the source has fewer).
        each: how many of every length at every level of difficulty.
        cells: in the order in which they are measured.
    """

    preset: str
    strings: int
    each: int
    cells: tuple[Cell, ...]

    @property
    def runtimes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(runtime for cell in self.cells for runtime in cell.runtimes))

    def of_kind(self, kind: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == kind]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return tuple(dict.fromkeys(cell.subject for cell in self.cells))


# Compiling a decoder of six layers for every kind of batch and cache takes longer than all else together.
_BUT_COMPILE = tuple(runtime for runtime in RUNTIMES if runtime != "compile")

PLANS = {
    # A minute: that everything works.
    "smoke": Plan(
        "smoke",
        200,
        8,
        (
            Cell("latency", TINY, (1, 5, 10), rounds=3),
            Cell("throughput", TINY, (1, 8), rounds=2),
            Cell("latency", SMALL_NATIVE, (1, 5), rounds=2),
        ),
    ),
    # Under ten minutes on two cores.
    "default": Plan(
        "default",
        2000,
        100,
        (
            Cell("latency", TINY, LENGTHS, rounds=15, repeats=3),
            Cell("latency", TINY_GROWING, LENGTHS, rounds=6),
            Cell("latency", SMALL_NATIVE, LENGTHS, rounds=9),
            Cell("latency", SMALL_SQUARE, LENGTHS, rounds=5),
            Cell("throughput", TINY, (1, 8, 64), rounds=8),
            Cell("throughput", SMALL_NATIVE, (1, 8, 64), rounds=4),
            Cell("throughput", SMALL_SQUARE, (1, 8), rounds=2),
        ),
    ),
    # Everything that can be compared: an hour on two cores.
    "full": Plan(
        "full",
        2000,
        200,
        (
            Cell("latency", TINY, LENGTHS, rounds=20, repeats=3, warmup=2),
            Cell("latency", TINY_GROWING, LENGTHS, rounds=10),
            Cell("latency", SMALL_NATIVE, LENGTHS, rounds=14, warmup=2),
            Cell("latency", SMALL_SQUARE, LENGTHS, rounds=6),
            Cell("throughput", TINY, (1, 8, 64), rounds=10),
            Cell("throughput", SMALL_NATIVE, (1, 8, 64), rounds=4),
            Cell("throughput", SMALL_SQUARE, (1, 8, 64), rounds=2),
            Cell("runtimes", TINY, (1, 5, 20, 50), rounds=20, repeats=2, warmup=2, runtimes=RUNTIMES, batch=64),
            Cell("runtimes", SMALL_NATIVE, (1, 5, 20, 50), rounds=16, warmup=2, runtimes=_BUT_COMPILE, batch=8),
            Cell("depth", TINY, (1, 2, 6), rounds=15, repeats=2, warmup=2, steps=1500),
            Cell("peers", TINY, (), rounds=8, repeats=3, batch=16),
            Cell("load", TINY, (), rounds=0, warmup=0, runtimes=("eager", "onnxruntime"), seconds=4, bound=0.1),
        ),
    ),
}

# By name, in the order in which the report shows them.
SUBJECTS = {subject.name: subject for subject in (TINY, SMALL_NATIVE, SMALL_SQUARE, TINY_GROWING)}


def plan(preset: str) -> Plan:
    """The plan of that name.

    Raises:
        InputError: there is none.
    """
    if preset not in PLANS:
        raise InputError(f"unknown bench preset {preset!r}: choose one of {', '.join(PLANS)}")
    return PLANS[preset]
