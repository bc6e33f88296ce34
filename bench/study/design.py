"""What the study trains and reads: label distributions, damages, seeds, sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.study.damage import Damage

LENGTH = 5  # symbols in a string
HEADS = ("ar", "ar-1layer", "parallel", "ctc", "refine")
# Damage to lines that are learned from, by the most of each kind: a cell of the study is read by weights that have seen
# its like, and needs no training of its own.
MIXTURE = {
    "clean": 0.0,
    "erased": 0.8,
    "erased first": 0.6,
    "erased last": 0.6,
    "covered": 0.8,
    "faded": 1.0,
    "blurred": 1.0,
    "noisy": 0.4,
}
_DAMAGES = (
    Damage("clean"),
    *(Damage("erased", amount) for amount in (0.2, 0.4, 0.6, 0.8)),
    *(Damage("erased first", 0.4), Damage("erased last", 0.4)),
    *(Damage("covered", 0.6), Damage("faded", 0.9), Damage("blurred", 0.6)),
    *(Damage("noisy", 0.2), Damage("noisy", 0.3)),
)
DAMAGES = {damage.label: damage for damage in _DAMAGES}
UNIFORM = "uniform"  # independent digits
ABLATED = 3  # seeds of each ablation


@dataclass(frozen=True)
class Training:
    """One training, from the base.

    Attributes:
        labels: distribution of the strings that are learned from.
        seed: of strings, damage, augmentation and new weights.
        heads: that are trained together.
        frozen: the encoder stays as it is in the base.
        share: of the training digits that images are drawn from.
    """

    labels: str
    seed: int
    heads: tuple[str, ...] = HEADS
    frozen: bool = False
    share: float = 1.0

    @property
    def name(self) -> str:
        parts = [self.labels, f"seed{self.seed}"]
        parts += ["frozen"] if self.frozen else []
        parts += [f"only-{'-'.join(self.heads)}"] if self.heads != HEADS else []
        parts += [f"share{self.share:g}"] if self.share != 1.0 else []
        return "-".join(parts)

    @property
    def ablation(self) -> str:
        """How it differs from the study's main trainings; empty for one of those."""
        if self.frozen:
            return "encoder frozen"
        if self.heads != HEADS:
            return "each head alone"
        return "" if self.share == 1.0 else f"{self.share:.0%} of the digits"


@dataclass(frozen=True)
class Size:
    """How large a study is.

    Attributes:
        seeds: by label distribution.
        damages: names, of `DAMAGES`.
        base_steps, base_batch: of the training of the base; steps, batch: of each training from there.
        strings: per cell and seed.
        ablated: label distribution whose trainings are repeated with the encoder frozen, each head alone, and fewer
            digits; None: no ablations.
        shifted: damages in which every training also reads independent digits.
    """

    seeds: dict[str, int]
    damages: tuple[str, ...]
    base_steps: int
    steps: int
    strings: int
    ablated: str | None
    shifted: tuple[str, ...]
    base_batch: int
    batch: int

    def first(self, seeds: int) -> Size:
        """The study of so many replications."""
        return replace(self, seeds={labels: min(count, seeds) for labels, count in self.seeds.items()})

    def trainings(self) -> list[Training]:
        """Seed by seed, so that a study that is cut short has whole replications; of each seed independent digits
        first, since the others' evidence comes from them."""
        found = []
        for seed in range(max(self.seeds.values())):
            there = [labels for labels, seeds in self.seeds.items() if seed < seeds]
            found += [Training(labels, seed) for labels in sorted(there, key=lambda labels: labels != UNIFORM)]
            if self.ablated and seed < ABLATED:
                found += [
                    Training(self.ablated, seed, frozen=True),
                    Training(self.ablated, seed, heads=("ar",)),
                    Training(self.ablated, seed, heads=("parallel",)),
                    Training(self.ablated, seed, share=0.02),
                ]
        return found


SIZES = {
    "smoke": Size(
        seeds={"uniform": 2, "lexicon-20": 2},
        damages=("clean", "erased 60%"),
        base_steps=2,
        steps=2,
        strings=40,
        ablated=None,
        shifted=("erased 60%",),
        base_batch=16,
        batch=16,
    ),
    "full": Size(
        seeds={
            **dict.fromkeys(("uniform", "lexicon-20", "lexicon-100"), 5),  # of these there are claims
            **dict.fromkeys(("markov-0.5", "markov-0.9", "luhn", "dates", "frequencies"), 3),
        },
        damages=tuple(DAMAGES),
        base_steps=3000,
        steps=1000,
        strings=1000,
        ablated="lexicon-20",
        shifted=("clean", "erased 40%", "erased 60%", "faded 90%", "noisy 30%"),
        base_batch=64,
        batch=32,
    ),
}
