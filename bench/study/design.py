"""What the study trains and reads: laws, damages, seeds, sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.study.damage import Damage
from bench.study.structured import DamageMixture

LENGTH = 5  # symbols in a string
HEADS = ("ar", "ar-1layer", "parallel", "ctc", "refine")
# What lines to learn from suffer, in equal shares, each by an amount up to the most: so a cell of the study is read by
# weights that have seen its like, and needs no training of its own.
MIXTURE = DamageMixture(
    (
        ("clean", 0.0),
        ("erased", 0.8),
        ("erased first", 0.6),
        ("erased last", 0.6),
        ("covered", 0.8),
        ("faded", 1.0),
        ("blurred", 1.0),
        ("noisy", 0.4),
    )
)
DAMAGES = {
    damage.label: damage
    for damage in (
        Damage("clean"),
        Damage("erased", 0.2),
        Damage("erased", 0.4),
        Damage("erased", 0.6),
        Damage("erased", 0.8),
        Damage("erased first", 0.4),
        Damage("erased last", 0.4),
        Damage("covered", 0.6),
        Damage("faded", 0.9),
        Damage("blurred", 0.6),
        Damage("noisy", 0.2),
        Damage("noisy", 0.3),
    )
}
BASE_LAW = "uniform"
ABLATED = 3  # seeds of each ablation


@dataclass(frozen=True)
class Training:
    """One training: from the base to a law.

    Attributes:
        law: of the strings that are learned from.
        seed: of strings, damage, augmentation and new weights.
        heads: that are trained together.
        frozen: the encoder stays as it is in the base.
        share: of the training digits that images are drawn from.
    """

    law: str
    seed: int
    heads: tuple[str, ...] = HEADS
    frozen: bool = False
    share: float = 1.0

    @property
    def name(self) -> str:
        parts = [self.law, f"seed{self.seed}"]
        parts += ["frozen"] if self.frozen else []
        parts += [f"only-{'-'.join(self.heads)}"] if self.heads != HEADS else []
        parts += [f"share{self.share:g}"] if self.share != 1.0 else []
        return "-".join(parts)


@dataclass(frozen=True)
class Size:
    """How large a study is.

    Attributes:
        seeds: of each law.
        damages: names, of `DAMAGES`.
        base_steps, base_batch: of the training of the base; steps, batch: of each training from there.
        strings: that each cell reads, a seed.
        ablated: the law whose trainings are repeated with the encoder frozen, each head alone, and fewer digits;
            none: nothing is.
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
        return replace(self, seeds={law: min(count, seeds) for law, count in self.seeds.items()})

    def trainings(self) -> list[Training]:
        """All: seed by seed, so that a study that is cut short has whole replications, and of each seed the base law's
        first, since the others' evidence comes from it."""
        found = []
        for seed in range(max(self.seeds.values())):
            laws = [law for law, seeds in self.seeds.items() if seed < seeds]
            found += [Training(law, seed) for law in sorted(laws, key=lambda law: law != BASE_LAW)]
            if self.ablated and seed < ABLATED:
                law = self.ablated
                found += [
                    Training(law, seed, frozen=True),
                    Training(law, seed, heads=("ar",)),
                    Training(law, seed, heads=("parallel",)),
                    Training(law, seed, share=0.02),
                ]
        return found


_CLAIMED, _OTHERS = 5, 3  # seeds

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
            "uniform": _CLAIMED,
            "lexicon-20": _CLAIMED,
            "lexicon-100": _CLAIMED,
            "markov-0.5": _OTHERS,
            "markov-0.9": _OTHERS,
            "luhn": _OTHERS,
            "dates": _OTHERS,
            "frequencies": _OTHERS,
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
