"""Oracle (Bayes-optimal) readers: the best exact match that what each symbol's image says allows.

They differ in what they know of the label distribution. `local` knows each symbol's marginal distribution. `marginal`
takes the likeliest symbol at each place given the whole line, as a perfect one-pass head does. `joint` takes the
likeliest string, as a perfect autoregressive head does.

Two numbers say what lies between the last two. C is the conditional total correlation: nats by which the symbols'
entropies, given the image, exceed the string's. G is the probability that the likeliest string is right minus that of
the string of likeliest symbols. It is 0 wherever one string has more than half of the probability: each of its symbols
then has, too.

Of equally likely symbols the smallest id is taken, as argmax does. Probabilities that differ by less than 1e-12 are
equal.
"""

from dataclasses import dataclass

import numpy as np

from bench.study.label_distributions import LabelDistribution
from bench.study.posterior import compute_posterior, find_best, from_distribution, score


@dataclass(frozen=True)
class Oracles:
    """The oracle readers on B lines.

    Attributes:
        ids: by reader ("local", "marginal", "joint"), (B, n) int64.
        probability: by reader, (B,) float64: posterior probability of the whole string.
        total_correlation: (B,) float64, C, nats.
    """

    ids: dict[str, np.ndarray]
    probability: dict[str, np.ndarray]
    total_correlation: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """(B,) float64: G, from 0."""
        return np.maximum(self.probability["joint"] - self.probability["marginal"], 0)


def read(distribution: LabelDistribution, evidence: np.ndarray) -> Oracles:
    """Read lines with the oracle readers.

    Args:
        distribution: of the strings.
        evidence: (B, n, k) float, log likelihoods of each symbol given its own image; a constant per place does not
            matter.

    Raises:
        InputError: evidence rules out every string, or is of another shape.
    """
    automaton = from_distribution(distribution)
    posterior = compute_posterior(automaton, evidence)
    with np.errstate(divide="ignore"):
        alone = np.round(evidence + np.log(distribution.marginals), 12)
    ids = {
        "local": alone.argmax(axis=2),
        "marginal": np.round(posterior.marginals, 12).argmax(axis=2),
        "joint": find_best(automaton, evidence)[0],
    }
    nats = {name: score(automaton, each, evidence) - posterior.log_normaliser for name, each in ids.items()}
    probability = {name: np.exp(np.minimum(each, 0)) for name, each in nats.items()}
    return Oracles(ids, probability, posterior.total_correlation)
