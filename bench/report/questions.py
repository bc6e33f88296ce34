"""What people ask in public threads, answered with the report's numbers."""

from collections.abc import Mapping
from typing import Any

from scipy.stats import binomtest

from bench.core import strategies
from bench.core.templating import prose
from bench.experiments.latency.estimates import fastest
from bench.experiments.latency.sections import gains_at_384
from bench.report.first_screen import comparisons, studied
from bench.study.decisions import CONSTRAINED
from bench.study.estimates import AR, ONE_PASS
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.statistics import BETTER, SAME, WORSE


def questions(everything: Mapping[str, Any]) -> str:
    """Markdown, from the results of all experiments by name."""
    timed, study = everything["latency"].main, studied(everything)
    generate, own = strategies.autoregressive()[:2]
    words = [each.verdict.word for each in comparisons(everything)]
    runs: dict[str, Any] = everything["levels"].repeats if "levels" in everything else {}
    learned = (study or {}).get("learned")
    return prose(
        "questions",
        runs=runs,
        more=_more_by_ctc(runs["collapsed"]) if runs else False,
        different=sum(word in (BETTER, WORSE) for word in words),
        same=words.count(SAME),
        compared=len(words),
        study=learned.exact if learned else None,
        own=AR,
        one_pass=ONE_PASS,
        form=CONSTRAINED,
        generate=generate,
        gains=gains_at_384(everything["latency"]),
        loop=timed.speedup(own, generate, TASK_LENGTH).estimate,
        whole=timed.speedup(fastest(timed), generate, TASK_LENGTH).estimate,
        model=timed.subject.label,
        length=TASK_LENGTH,
    )


def _more_by_ctc(collapsed: dict[str, int]) -> bool:
    """Whether CTC loses more repeats than chance explains, beside the other head that loses most (sign test)."""
    own, other = collapsed.get("ctc", 0), max((n for head, n in collapsed.items() if head != "ctc"), default=0)
    return bool(own > other and binomtest(own, own + other).pvalue < 0.05)
