"""What runs while something is measured, beside what its experiment says that it depends on."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import experiment as of_experiments
from bench.experiment import Bench, Experiment, Part

ROOT = Path(of_experiments.__file__).parent.parent
# Decides where rows are kept, what is chosen and what is said meanwhile, but no number.
AROUND = {
    *("bench/experiment.py", "bench/store.py", "bench/ways.py", "bench/run.py", "bench/dependencies.py"),
    *("bench/experiments/__init__.py", "bench/peers/__init__.py", "bench/runtimes/__init__.py"),
    *("seqocr/progress.py", "seqocr/files.py", "seqocr/errors.py", "seqocr/environment.py", "seqocr/__init__.py"),
    *("seqocr/checkpoints.py", "seqocr/models/heads.py", "seqocr/models/hugging_face.py"),
    *("seqocr/data/levels/__init__.py", "seqocr/train/state.py", "seqocr/train/config.py"),
    *("seqocr/train/interrupts.py", "seqocr/models/limits.py"),
    *("seqocr/train/spread.py", "seqocr/train/ranks.py"),  # with one process they hand over to the loop
    "seqocr/data/pixels.py",  # of a model with random weights, which reads nothing; whoever reads declares it
}


class Silent:
    """A reporter that says nothing."""

    done = 0

    def advance(self, note: str = "", steps: int = 1) -> None: ...


def measured(experiment: Experiment, part: Part, bench: Bench) -> None:
    """Measure a part as the loop does."""
    bench.store.begin(part.name, experiment.depends(part))
    experiment.measure(part, bench, Silent())
    bench.store.finish(part.name)


def undeclared(experiment: Experiment, part: Part, bench: Bench) -> list[str]:
    """The files of this project whose functions run while a part is measured, but for those it depends on."""
    files: set[str] = set()

    def note(frame, event, _):  # by the million: it does no more than it must, and is not told of returns
        if frame.f_code.co_name != "<module>":
            files.add(frame.f_code.co_filename)

    declared = set(experiment.depends(part)["code"])
    sys.settrace(note)
    try:
        measured(experiment, part, bench)
    finally:
        sys.settrace(None)
    ours = (str(ROOT / "seqocr"), str(ROOT / "bench"))
    ran = {str(Path(path).relative_to(ROOT)) for path in files if path.startswith(ours)}
    assert "seqocr/models/encoder.py" in ran
    return sorted(ran - declared - AROUND)
