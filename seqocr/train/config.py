"""How to train, and what from: settings, each with its default, its bounds and what it is for.

The command line makes its options from these. This file imports nothing heavy, because `--help` needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from seqocr.errors import InputError, check_bounds

PROTOCOLS = ("joint", "frozen", "separate")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "float32", "bfloat16")
VALIDATION_SHARE = 0.1  # of a folder of lines, to choose the best checkpoint by
MANY = 2**31 - 1  # steps and strings at most: so large a count fits everywhere
LARGEST_SEED = 2**32 - 1

_LEARNED = "What is learned from"
_START = "What training starts from"
_HOW = "How it learns"
_KEPT = "What is validated and kept"


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
    """A dataclass field that says what it is for.

    Args:
        group: of options, under which the command line shows it.
        least, most: bounds of its number, or of each where there are several.
        fine_tuning: what it is by default where trained weights are adapted to a folder of lines, if that is other.
        shown: what the default None stands for.
    """
    limits = {"least": least, "most": most, "choices": choices}
    return field(
        default=default, metadata={"group": group, "help": help, "tuned": fine_tuning, "shown": shown, **limits}
    )


def check(settings: Any) -> None:
    """Every field of a dataclass of settings, by what it says of itself.

    Raises:
        InputError: one is not among its choices, not a number, or out of bounds.
    """
    for f in fields(settings):
        value, about = getattr(settings, f.name), f.metadata
        if about["choices"] and value not in about["choices"]:
            raise InputError(f"unknown {f.name} {value!r}: choose one of {', '.join(about['choices'])}")
        if about["least"] is not None and value is not None:
            for number in value if isinstance(value, tuple) else (value,):
                check_bounds(f.name, number, about["least"], about["most"])


@dataclass(frozen=True)
class TrainConfig:
    """How to train. What each field is for stands beside it.

    The learning rate rises for `warmup` steps, then falls by half a cosine to zero. What is validated and kept is an
    exponential moving average of the weights.

    Raises:
        InputError: a field is not among its choices or out of bounds.
    """

    level: str = setting(
        "grid",
        _LEARNED,
        "Levels, in equal shares, such as grid, jitter, wild; data: the lines of --data.",
        fine_tuning="data,data,wild",
    )
    length: int | tuple[int, int] = setting(
        5, _LEARNED, "Digits in a string: N, or SHORTEST-LONGEST.", least=1, most=1000
    )
    repeats: float = setting(
        0.0, _LEARNED, "Chance that a digit of a string is the one before it again.", least=0, most=1
    )
    augment: float = setting(
        1.0, _LEARNED, "How far what is learned from is changed: 0 not, 1 as usual.", least=0, most=10
    )
    protocol: str = setting("joint", _HOW, "joint, frozen (encoder) or separate (a run a head).", choices=PROTOCOLS)
    steps: int = setting(20_000, _HOW, "Optimiser steps.", least=1, most=MANY, fine_tuning=900)
    batch_size: int = setting(64, _HOW, "Lines a step.", least=1, most=MANY)
    learning_rate: float = setting(1e-3, _HOW, "Peak learning rate.", least=0, most=10, fine_tuning=5e-4)
    warmup: int = setting(500, _HOW, "Steps of warm-up.", least=0, most=MANY, fine_tuning=50)
    optimizer: str = setting("adamw", _HOW, "adamw, or muon for the matrices of layers.", choices=OPTIMIZERS)
    weight_decay: float = setting(0.05, _HOW, "On matrices, not on biases, norms and positions.", least=0, most=10)
    clip: float = setting(1.0, _HOW, "Largest norm of the gradient.", least=0.001, most=1_000_000)
    precision: str = setting(
        "auto", _HOW, "float32, bfloat16, or auto: bfloat16 where it is faster.", choices=PRECISIONS
    )
    seed: int = setting(0, _HOW, "Seeds everything random.", least=0, most=LARGEST_SEED)
    ema: float = setting(0.999, _KEPT, "Decay of the average of the weights.", least=0, most=1)
    validate_every: int = setting(1000, _KEPT, "Steps between validations.", least=1, most=MANY, fine_tuning=200)
    validation_strings: int = setting(1000, _KEPT, "Strings that each validation reads.", least=1, most=MANY)
    patience: int = setting(0, _KEPT, "Validations without a better one before stopping, 0: never.", least=0, most=MANY)
    save_every: int = setting(250, _KEPT, "Steps between saves of the state to resume from.", least=1, most=MANY)

    def __post_init__(self) -> None:
        check(self)

    @property
    def longest(self) -> int:
        """Digits of the longest strings drawn."""
        return self.length if isinstance(self.length, int) else self.length[1]


@dataclass(frozen=True)
class Start:
    """What training starts from: a new recognizer, or trained weights fitted to the task.

    Raises:
        InputError: a field is out of bounds, or changes what trained weights have where there are none.
    """

    encoder: str = setting("tiny", _START, "Preset (tiny, small), hub id, or Hugging Face directory.")
    init: str | None = setting(None, _START, "Trained weights instead: tiny, strings (shipped), or a directory.")
    heads: tuple[str, ...] | None = setting(None, _START, "Heads, separated by commas.", shown="all")
    image_size: tuple[int, int] | None = setting(
        None, _START, "HEIGHTxWIDTH other than the encoder's own.", least=1, most=4096
    )
    patch: tuple[int, int] | None = setting(
        None, _START, "HEIGHTxWIDTH of patches other than --init's own.", least=1, most=4096
    )
    layers: int | None = setting(None, _START, "Layers of the encoder, more than --init's own.", least=1, most=128)
    ctc_frames: int | None = setting(
        None, _START, "CTC frames a column of patches, other than --init's own.", least=1, most=64
    )

    def __post_init__(self) -> None:
        check(self)
        for name in ("patch", "layers", "ctc_frames"):
            if getattr(self, name) is not None and self.init is None:
                raise InputError(f"--{name.replace('_', '-')} changes what --init has: give both")


@dataclass(frozen=True)
class Source:
    """Where what is learned from lies. Digits are not looked for where no level is drawn from them.

    Raises:
        InputError: the share is out of bounds, or the charset empty.
    """

    dataset: str = setting("mnist", _LEARNED, "mnist, emnist-digits, emnist-letters, qmnist, kmnist or usps.")
    root: Path | None = setting(None, _LEARNED, "Folder of the data sets.", shown="$SEQOCR_DATA, or data")
    data: Path | None = setting(None, _LEARNED, "Lines of your own: a folder with metadata.csv, labels.json or gt.txt.")
    skip: bool = setting(False, _LEARNED, "Leave out lines of --data that cannot be used.")
    validation_share: float = setting(
        VALIDATION_SHARE, _LEARNED, "Share of --data that checkpoints are chosen by.", least=0, most=1
    )
    digits: tuple[str, ...] | None = setting(
        None,
        _LEARNED,
        "Also lines by one writer each, with glyphs of these sources, separated by commas; one that is named twice "
        "counts twice: mnist, qmnist, or folders of pen strokes or images.",
    )
    teachers: Path | None = setting(
        None,
        _LEARNED,
        "Folder of convolutional teachers of --dataset, made where there are none: heads learn what those believe of "
        "distorted copies (--augment is not used then).",
    )
    charset: str | None = setting(
        None, _LEARNED, "Symbols to read, of a data set in order.", shown="those of --init, --dataset or --data"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.charset == "":
            raise InputError("charset '': give at least one symbol")
        if self.digits is not None and (self.dataset != "mnist" or self.charset is not None):
            raise InputError("--digits are 0 to 9: leave out --dataset and --charset")


_TUNED = [f for f in fields(TrainConfig) if f.metadata["tuned"] is not None]
# What training from scratch on digits takes, and what adapting trained weights to a folder of lines does.
FROM_SCRATCH: dict[str, Any] = {f.name: f.default for f in _TUNED}
FINE_TUNING: dict[str, Any] = {f.name: f.metadata["tuned"] for f in _TUNED}
