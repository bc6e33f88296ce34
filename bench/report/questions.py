"""What people ask in public threads, answered with the report's numbers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.core import strategies
from bench.core.templating import prose
from bench.experiments.latency.sections import gains_at_384
from bench.report.answer_picture import HARDEST
from bench.report.first_screen import comparisons, from_scratch, summarize_study
from bench.report.screen_times import screen_times
from bench.study.decisions import CONSTRAINED
from bench.study.estimates import AR, ONE_PASS
from bench.workloads.timed_models import TASK_LENGTH
from seqocr.models.heads.registry import available_heads
from seqocr.statistics import paired_difference, verdicts


def questions(everything: Mapping[str, Any]) -> str:
    """Markdown, from the results of all experiments by name."""
    times, study = screen_times(everything), summarize_study(everything)
    generate, own = strategies.autoregressive()[:2]
    judged = [each.verdict for each in comparisons(everything)]
    return prose(
        "questions",
        repeats=_repeats(everything["levels"].repeats) if "levels" in everything else None,
        different=sum(verdict.differs for verdict in judged),
        same=sum(verdict.is_within for verdict in judged),
        compared=len(judged),
        learned=study["learned"] if study else None,
        scratch=from_scratch(everything),
        level=HARDEST,
        own=AR,
        one_pass=ONE_PASS,
        form=CONSTRAINED,
        generate=generate,
        gains=gains_at_384(everything["latency"]),
        loop=times.over(generate, own).estimate,
        whole=times.over(generate, times.fastest).estimate,
        model=times.label,
        length=TASK_LENGTH,
    )


def _repeats(lost: pd.DataFrame) -> dict[str, Any] | None:
    """How often heads lose repeats, and how those that read by CTC do beside `ar`; None without one of either."""
    outputs = {name: head.output for name, head in available_heads().items() if name in lost}
    by_ctc = [name for name, output in outputs.items() if output == "ctc"]
    if AR not in outputs or not by_ctc or lost.empty:
        return None
    judged = verdicts([paired_difference(lost[name], lost[AR]) for name in by_ctc])
    return {
        "strings": len(lost),
        "lost": {name: int(lost[name].sum()) for name in outputs},
        "verdicts": dict(zip(by_ctc, judged, strict=True)),
    }
