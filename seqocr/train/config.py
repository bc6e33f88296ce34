"""Settings of training, each with its default, its bounds and its help text.

The command line makes its options from these. This file imports nothing heavy, because `--help` needs it.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from seqocr.errors import InputError, check_bounds

PROTOCOLS = ("joint", "frozen", "separate", "features")
DECAYS = ("cosine", "none")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "float32", "bfloat16")
VALIDATION_SHARE = 0.1  # of a data folder, to choose the best checkpoint by
MOST = 2**31 - 1  # steps and strings: so large a count fits everywhere
LARGEST_SEED = 2**32 - 1

_COMMON = "Options"  # the group that comes first
_DATA = "Training data"
_START = "Initial weights"
_OPTIMISATION = "Optimisation"
_VALIDATION = "Validation and checkpoints"
_PROCESSES = "Several processes"


def setting(
    default: Any,
    group: str,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    fine_tuning: Any = None,
    shown: str | None = None,
) -> Any:
    """A dataclass field that carries its help text and its bounds.

    Args:
        group: of options, under which the command line shows it.
        least, most: bounds of its number, or of each where it has several.
        fine_tuning: its default where trained weights are adapted to a data folder, if different.
        shown: what `--help` says where the default is None.
    """
    limits = {"least": least, "most": most, "choices": choices}
    more = {"group": group, "help": help, "tuned": fine_tuning, "shown": shown}
    return field(default=default, metadata={**more, **limits})


@dataclass(frozen=True)
class Settings:
    """Settings, each checked against its own bounds.

    Raises:
        InputError: one is not among its choices, not a number, or out of bounds.
    """

    def __post_init__(self) -> None:
        for f in fields(self):
            value, about = getattr(self, f.name), f.metadata
            if about["choices"] and value not in about["choices"]:
                raise InputError(f"unknown {f.name} {value!r}: choose one of {', '.join(about['choices'])}")
            if about["least"] is not None and value is not None:
                for number in value if isinstance(value, tuple) else (value,):
                    check_bounds(f.name, number, about["least"], about["most"])


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Settings of a training run.

    The learning rate rises for `warmup` steps, then falls by half a cosine to zero, unless `decay` is "none". An
    exponential moving average of the weights is validated and saved.
    """

    level: str = setting(
        "grid",
        _COMMON,
        "Levels of synthetic lines, in equal shares: grid, jitter, wild; data: the lines of --data.",
        fine_tuning="data,data,wild",
    )
    length: int | tuple[int, int] = setting(
        5, _COMMON, "Digits per string: N, or SHORTEST-LONGEST.", least=1, most=1000
    )
    repeats: float = setting(0.0, _DATA, "Probability that a digit repeats the one before it.", least=0, most=1)
    augment: float = setting(1.0, _DATA, "Strength of augmentation: 0 for none, 1 as usual.", least=0, most=10)
    epochs_of_lines: int = setting(
        1, _DATA, "Epochs for which synthetic lines of --glyphs stay the same: more save time.", least=1, most=1000
    )
    photographs: float = setting(
        0.0,
        _DATA,
        "Share of the synthetic lines of --glyphs that are photographed: blurred, tilted, lit unevenly.",
        least=0,
        most=1,
    )
    protocol: str = setting(
        "joint",
        _OPTIMISATION,
        "joint, frozen (encoder), separate (one run per head), or features (the encoder learns those of --layers-of).",
        choices=PROTOCOLS,
    )
    steps: int = setting(20_000, _COMMON, "Optimiser steps.", least=1, most=MOST, fine_tuning=400)
    batch_size: int = setting(
        64,
        _OPTIMISATION,
        "Lines per step; rounded down to a multiple of levels and processes, unless --shards is given.",
        least=1,
        most=MOST,
        fine_tuning=48,
    )
    learning_rate: float = setting(1e-3, _COMMON, "Peak learning rate.", least=0, most=10, fine_tuning=6e-4)
    warmup: int = setting(500, _OPTIMISATION, "Steps of warm-up.", least=0, most=MOST, fine_tuning=50)
    decay: str = setting(
        "cosine", _OPTIMISATION, "Of the learning rate after its warm-up: half a cosine, or none.", choices=DECAYS
    )
    optimizer: str = setting(
        "adamw", _OPTIMISATION, "adamw, or muon for the layers' matrices.", choices=OPTIMIZERS, fine_tuning="muon"
    )
    weight_decay: float = setting(
        0.05, _OPTIMISATION, "Of matrices; biases, norms and positions do not decay.", least=0, most=10
    )
    clip: float = setting(1.0, _OPTIMISATION, "Norm to which gradients are clipped.", least=0.001, most=1_000_000)
    precision: str = setting(
        "auto", _OPTIMISATION, "float32, bfloat16, or auto: bfloat16 where it is faster.", choices=PRECISIONS
    )
    seed: int = setting(0, _COMMON, "Seeds everything random.", least=0, most=LARGEST_SEED)
    ema: float = setting(0.999, _VALIDATION, "Decay of the moving average of the weights.", least=0, most=1)
    validate_every: int = setting(1000, _VALIDATION, "Steps between validations.", least=1, most=MOST, fine_tuning=200)
    validation_strings: int = setting(1000, _VALIDATION, "Strings per validation.", least=1, most=MOST)
    patience: int = setting(
        0, _VALIDATION, "Stop after so many validations without a better one; 0: never.", least=0, most=MOST
    )
    save_every: int = setting(
        250, _VALIDATION, "Steps between saves of the training state, to resume from.", least=1, most=MOST
    )

    @property
    def longest(self) -> int:
        return self.length if isinstance(self.length, int) else self.length[1]


@dataclass(frozen=True)
class Start(Settings):
    """What training starts from: a new recognizer, or trained weights fitted to the task.

    Raises:
        InputError: a field is out of bounds, or changes trained weights where there are none.
    """

    encoder: str = setting("tiny", _COMMON, "Preset (tiny, small), hub id, or Hugging Face directory.")
    init: str | None = setting(
        None, _COMMON, "Trained weights instead of --encoder: tiny, strings, numbers (shipped), or a directory."
    )
    layers_of: str | None = setting(
        None, _START, "Trained weights whose layers and heads --encoder starts with, such as strings."
    )
    heads: tuple[str, ...] | None = setting(
        None, _COMMON, "Heads, separated by commas.", shown="those of --init, or all"
    )
    image_size: tuple[int, int] | None = setting(
        None, _START, "HEIGHTxWIDTH, if other than the encoder's own.", least=1, most=4096
    )
    patch: tuple[int, int] | None = setting(
        None, _START, "HEIGHTxWIDTH of patches, if other than --init's.", least=1, most=4096
    )
    layers: int | None = setting(None, _START, "Layers of the encoder, if more than --init's.", least=1, most=128)
    ctc_frames: int | None = setting(
        None, _START, "CTC frames per column of patches, if other than --init's.", least=1, most=64
    )

    max_length: int | None = setting(
        None, _START, "Symbols of the longest text that can be read, if more than of those learned.", least=1, most=1000
    )

    marks: bool = setting(
        False,
        _START,
        "Also train a reader of marks (points, signs, spaces) and other symbols, by lines of --glyphs fonts:FOLDER.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("patch", "layers", "ctc_frames"):
            if getattr(self, name) is not None and self.init is None:
                raise InputError(f"--{name.replace('_', '-')} changes what --init has: give both")
        if self.layers_of is not None and self.init is not None:
            raise InputError("--layers-of is for a new --encoder, and --init has layers: give one of both")


@dataclass(frozen=True)
class Source(Settings):
    """Where training data comes from. Digits are loaded only if a level needs them.

    Raises:
        InputError: the share is out of bounds, the charset empty, or digits are not 0 to 9.
    """

    dataset: str = setting("mnist", _DATA, "mnist, emnist-digits, emnist-letters, qmnist, kmnist or usps.")
    root: Path | None = setting(None, _DATA, "Folder of the data sets.", shown="$SEQOCR_DATA, or ~/.cache/seqocr")
    data: Path | None = setting(
        None, _COMMON, "Your data: a folder of line images with metadata.csv, labels.json or gt.txt."
    )
    skip: bool = setting(False, _DATA, "Leave out lines of --data that cannot be used.")
    validation_share: float = setting(
        VALIDATION_SHARE, _DATA, "Share of --data that checkpoints are chosen by.", least=0, most=1
    )
    glyphs: tuple[str, ...] | None = setting(
        None,
        _DATA,
        "Adds synthetic lines with glyphs of these sources, separated by commas. In one writer's style each: mnist, "
        "qmnist, or folders of pen strokes or images. On displays, wheels, cards, print and old paper: fonts:FOLDER, a "
        "folder of fonts. One that is named twice counts twice.",
    )
    teachers: Path | None = setting(
        None,
        _DATA,
        "Folder of convolutional teachers of --dataset, trained where there are none: heads learn their soft labels of "
        "distorted copies (distillation; --augment is not used then).",
    )
    charset: str | None = setting(
        None, _DATA, "Symbols to read; of a data set, in its order.", shown="those of --init, --dataset or --data"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.charset == "":
            raise InputError("charset '': give at least one symbol")
        if self.glyphs is not None and (self.dataset != "mnist" or self.charset is not None):
            raise InputError("--glyphs are 0 to 9: leave out --dataset and --charset")


@dataclass(frozen=True)
class DistributedConfig(Settings):
    """How the work of each step is divided. `torchrun` starts the processes that train."""

    shards: int | None = setting(
        None,
        _PROCESSES,
        "Parts of each batch, divided evenly among processes; each learns its own one after another.",
        least=1,
        most=1024,
        shown="one per process",
    )
    workers: int = setting(0, _PROCESSES, "Processes that load batches ahead, for each that trains.", least=0, most=256)


# Settings of adapting trained weights to a data folder, and of each round of self-training.
FINE_TUNING: dict[str, Any] = {
    f.name: f.metadata["tuned"] for f in fields(TrainConfig) if f.metadata["tuned"] is not None
}
SELF_TRAINING: dict[str, Any] = {**FINE_TUNING, "level": "data", "steps": 250}
