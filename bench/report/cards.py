"""README.md of shipped weights: a model card in the Hugging Face hub's format, from config.json and results."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from huggingface_hub import EvalResult, ModelCardData

from bench.core.experiment import Evaluation
from bench.core.formatting import listed, share
from bench.core.store import Store
from bench.core.templating import render
from bench.experiments import experiments
from bench.workloads.held_out import MNIST
from seqocr.data.sources.font_packages import FAMILIES
from seqocr.errors import InputError
from seqocr.files import read_json
from seqocr.inference.shipped import SHIPPED

WEIGHTS = SHIPPED.parent
CARD = "README.md"
_CITATION = Path(__file__).parents[2] / "CITATION.cff"
_FILE = "model.safetensors"
_PLACES = 4  # decimals of the metadata
_UNIPEN = (
    "handwritten digits as pen strokes, train_r01_v07, category 1a, © International Unipen Foundation ([Guyon et al. "
    "1994](https://doi.org/10.5281/zenodo.1195803)); scaled, thinned out, rendered with many pens"
)
_WRITERS = "who wrote each of MNIST's digits ([Yadav and Bottou 2019](https://github.com/facebookresearch/qmnist))"
# By name: what it is, its license ("": of each family), and which counts of the provenance tell how much was used.
_SOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "MNIST": ("handwritten digits (LeCun, Cortes and Burges)", "CC BY-SA 3.0, as commonly stated", ("digits",)),
    "QMNIST": (_WRITERS, "BSD, © Facebook", ("writers",)),
    "UNIPEN": (_UNIPEN, "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)", ("digits", "writers")),
    "fonts": ("outlines of digits and marks, of free font families", "", ("fonts", "families")),
}


def cards(store: Store, found: Mapping[str, Any], folder: Path = WEIGHTS) -> dict[Path, str]:
    """The card of each weights folder, by its path.

    Raises:
        InputError: weights learned from a source whose license is not listed here, or from lines that may be real.
    """
    configs = sorted(folder.glob("*/config.json"))
    return {path.with_name(CARD): card(path.parent, read_json(path), store, found) for path in configs}


def card(folder: Path, config: Mapping[str, Any], store: Store, found: Mapping[str, Any]) -> str:
    """
    Args:
        folder: of the weights; found: the results of all experiments by name.
    """
    name, provenance, heads = folder.name, config["provenance"], list(config["heads"])
    evaluations = list(_evaluations(store, found, config["files"][_FILE][:16]))
    runs, used = _runs(provenance), _data(provenance)
    citation = yaml.safe_load(_CITATION.read_text(encoding="utf-8"))
    cited = [store.facts(each.part) for each in evaluations]
    return render(
        "model_card",
        metadata=_metadata(name, citation["license"], heads, evaluations, "MNIST" in used).to_yaml(),
        name=name,
        config=config,
        heads=heads,
        calibrated=max((each["lines"] for each in provenance.get("calibration", {}).values()), default=0),
        runs=runs,
        steps=sum(run["step"] for run in runs),
        strings=sum(run["strings_seen"] for run in runs),
        hours=sum(run["seconds"] for run in runs) / 3600,
        devices=list(dict.fromkeys(run["device"] for run in runs)),
        data=_data_table(used),
        fonts="fonts" in used,
        taught=any(record.get("taught") for run in runs for record in _records(run)),
        notice=(folder / "NOTICE.md").exists(),
        graphs=(folder / "onnx").is_dir(),
        results=_results_table(evaluations, heads) if evaluations else None,
        commits=sorted({str(each.get("verified", each).get("commit")) for each in cited}),
        raw=store.folder.name,
        citation=citation,
    )


def _runs(provenance: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Provenance of each training, the first one first."""
    chain: list[dict[str, Any]] = []
    while provenance and "step" in provenance:
        chain.insert(0, {**provenance, "mean": []})
        provenance = provenance.get("init")
    numbers = {run["command"]: str(number) for number, run in enumerate(chain, 1)}
    for run in chain:
        run["mean"] = [numbers.get(command, f"`{command}`") for command in run.get("mean_of", [])]
    return chain


def _records(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a run learned from; earlier versions knew one source alone."""
    return run.get("data") or [dict(run)]


def _sources(record: Mapping[str, Any]) -> list[str]:
    """Names in `_SOURCES`."""
    source = str(record.get("source"))
    if "fonts" in record:
        return ["fonts"]
    if source.startswith("pen strokes"):
        return ["UNIPEN"]
    if source.startswith("MNIST"):
        return ["MNIST", "QMNIST"] if "writers" in record else ["MNIST"]
    raise InputError(
        f"shipped weights learned from {source!r}, whose license is unknown: add it to {Path(__file__).name}"
    )


def _data(provenance: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """By source, how much of it was used at most in a run; soft labels are of copies, which do not count."""
    used: dict[str, dict[str, int]] = {}
    for record in (record for run in _runs(provenance) for record in _records(run)):
        for name in _sources(record):
            counts = used.setdefault(name, {})
            for what in _SOURCES[name][2]:
                if what in record and not record.get("taught"):
                    counts[what] = max(counts.get(what, 0), record[what])
    return {name: used[name] for name in _SOURCES if name in used}


def _data_table(used: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    licenses = pd.read_csv(FAMILIES)["license"].value_counts()
    of_fonts = "per family: " + ", ".join(f"{name} ({count})" for name, count in licenses.items())
    return pd.DataFrame(
        {
            "source": f"{name}: {_SOURCES[name][0]}",
            "used": listed(f"{count:,} {what}" for what, count in counts.items()),
            "license": _SOURCES[name][1] or of_fonts,
        }
        for name, counts in used.items()
    )


def _evaluations(store: Store, found: Mapping[str, Any], digest: str) -> Iterator[Evaluation]:
    """Of these very weights."""
    for experiment in (each for each in experiments() if each.name in found):
        for each in experiment.evaluations(found[experiment.name]):
            if digest in store.facts(each.part).get("depends", {}).get("weights", {}).values():
                yield each


def _results_table(evaluations: list[Evaluation], heads: list[str]) -> pd.DataFrame:
    rows = []
    for each in evaluations:
        cells = {f"`{head}`": share(each.exact[head]) if head in each.exact else "" for head in heads}
        rows.append({"lines": each.lines, "n": f"{next(iter(each.exact.values())).n:,}", **cells})
    return pd.DataFrame(rows)


def _metadata(name: str, license: str, heads: list[str], evaluations: list[Evaluation], mnist: bool) -> ModelCardData:
    results = [
        EvalResult(
            task_type="image-to-text",
            dataset_type=each.dataset,
            dataset_name=each.lines.replace("`", ""),
            dataset_config=each.part,
            metric_type="exact_match",
            metric_value=round(value.estimate, _PLACES),
            metric_name=f"exact match, {head}",
            metric_args={
                "head": head,
                "n": value.n,
                "low": round(value.low, _PLACES),
                "high": round(value.high, _PLACES),
            },
        )
        for each in evaluations
        for head in heads
        if (value := each.exact.get(head)) is not None
    ]
    return ModelCardData(
        license=license.lower(),
        library_name="seqocr",
        pipeline_tag="image-to-text",
        language="zxx",  # ISO 639: no linguistic content
        tags=["ocr", "digits", "handwriting-recognition", "trocr", "onnx"],
        datasets=[MNIST] if mnist else None,
        metrics=["exact_match"],
        model_name=f"seqocr-{name}",
        eval_results=results or None,
    )
