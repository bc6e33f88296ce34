"""Fits a recognizer with several processes, batches in shards, or batches drawn ahead; else as `loop` does.

What is learned is what one process would learn: a step's loss is the mean over its whole batch, whoever draws and
learns which part of it. Sums come in another order, so that float32 rounds otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGTERM
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from seqocr import metrics
from seqocr.data.mixture import DataMixture, Lines
from seqocr.errors import InputError
from seqocr.inference.load import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter, progress
from seqocr.train import distributed, interrupts, loop, recipe
from seqocr.train.config import TrainConfig
from seqocr.train.optim import set_rate
from seqocr.train.shards import Shard, Shards, drawn
from seqocr.train.sharing import Spread
from seqocr.train.state import STATE

_READ_AT_ONCE = metrics._BATCH  # so that what a process reads together is what one process would
_SHARD_SEED = 2**52  # between the seeds of shards: more than any step's


def fit(
    recognizer: Recognizer,
    material: DataMixture,
    config: TrainConfig,
    out: Path,
    device: torch.device | str = "cpu",
    command: str | None = None,
    start_counts: bool = False,
    spread: Spread | None = None,
) -> Recognizer:
    """As `loop.fit`, by all processes of torch.distributed where there are some (`ranks.joined`).

    The first process alone writes to `out`. A run goes on with another number of processes or shards as well.

    Args:
        spread: over shards and workers; default: a shard a process, no workers.

    Raises:
        InputError: as `loop.fit`; the shards fit neither processes, batch nor heads; or the processes do not see the
            same `out`.
        RuntimeError: of torch.distributed, where another process has ended.
    """
    spread = spread or Spread()
    shards = spread.shards or distributed.count()
    if shards == distributed.count() == 1 and spread.workers == 0:
        return loop.fit(recognizer, material, config, out, device, command, start_counts)
    if shards % distributed.count():
        raise InputError(f"--shards {shards}: give a multiple of {distributed.count()}, the number of processes")
    if shards > 1:
        for head in recognizer.heads.values():
            head.loss_terms([])  # of one that trains on whole batches only, says so
    run = SpreadRun(recognizer, material, config, out, torch.device(device), command, start_counts)
    return run.over(shards, spread.workers).run()


@contextmanager
def shared_out(spread: Spread) -> Iterator[None]:
    """While it lasts, `recipe.train` fits by `fit`, batches fit the shards, and of several processes the first writes.

    It stands in for what `recipe` calls, as committed measurements depend on that module as it is. When all of them are
    made again, `recipe` can take `spread` itself.
    """
    if distributed.count() == 1 and spread == Spread():
        yield
        return
    before = {name: getattr(recipe, name) for name in ("fit", "save", "beliefs", "digits_of", "written_parts")}
    fitting, shards = recipe._fitting, spread.shards or distributed.count()

    def after_the_first(name: str, first: Callable[[], bool]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            with distributed.goes_first(first()):
                return before[name](*arguments, **more)

        return called

    def fitting_shards(config: TrainConfig, own: int, sources: int = 0) -> TrainConfig:
        found = fitting(config, own, sources)
        multiple = (len(config.level.split(",")) + sources) * shards
        return replace(found, batch_size=max(1, found.batch_size // multiple) * multiple)

    here = distributed.is_first_here  # which may have to fetch digits
    with ExitStack() as stack:
        for name, instead in {
            "fit": partial(fit, spread=spread),
            "save": save if distributed.is_first() else lambda *_: None,
            "beliefs": after_the_first("beliefs", distributed.is_first),  # which may have to train teachers
            "digits_of": after_the_first("digits_of", here),
            "written_parts": after_the_first("written_parts", here),
            "_fitting": fitting_shards,
        }.items():
            stack.callback(setattr, recipe, name, getattr(recipe, name))
            setattr(recipe, name, instead)
        yield


# The loop's own class is private there because nobody else is to make one: measurements depend on that module as it is.
class SpreadRun(loop._Run):
    """One process's part of a training run. Whatever decides how it goes on is the same in all processes."""

    def over(self, shards: int, workers: int) -> SpreadRun:
        """Itself, ready to learn, with so many shards and workers."""
        a_process = shards // distributed.count()
        own = range(distributed.number() * a_process, (distributed.number() + 1) * a_process)
        self.shards, self.own, self.workers = shards, own, workers
        self.loss: nn.Module = _Loss(self.recognizer)
        self.drawn_from(0)  # what is wrong with the batch is said before anything is done
        return self

    def run(self) -> Recognizer:
        self._resume()
        config, so_far = self.config, self.progress
        if distributed.count() > 1:
            self.loss = DistributedDataParallel(self.loss)
        with (
            drawn(self.drawn_from(so_far.step), self.workers) as batches,
            progress("train", config.steps, so_far.step) as reporter,
            interrupts.noted() as told_to_stop,
        ):
            if so_far.step == 0 and self.start_counts:
                self._validate(reporter)
            while so_far.step < config.steps and not self._out_of_patience(reporter):
                loss, signal = self.learn(next(batches), told_to_stop)
                last = so_far.step == config.steps
                reporter.advance(f"loss {loss:.3f}" if so_far.step % 10 == 0 or last else "")
                if so_far.step % config.validate_every == 0 or last:
                    self._validate(reporter)
                if (so_far.step % config.save_every == 0 or signal) and not last:
                    self._save_state()
                if signal and not last:
                    if so_far.best < 0:
                        self._validate(reporter)
                    reporter.say(
                        f"interrupted at step {so_far.step}; the same command goes on from there. "
                        f"Best so far: {self.out}"
                    )
                    interrupts.obey(signal)
            if distributed.is_first():
                (self.out / STATE).unlink(missing_ok=True)
            distributed.wait()  # now all is written
            if signal := told_to_stop():
                interrupts.obey(signal)
        return load_recognizer(self.out)

    def drawn_from(self, step: int) -> Shards:
        """This process's shards of each batch from a step on."""
        return Shards(self.material, self.config.batch_size, self.own, self.shards, step, self.recognizer.processor)

    def learn(
        self, shards: list[Shard], told_to_stop: Callable[[], int | None] = lambda: None
    ) -> tuple[float, int | None]:
        """One step.

        Returns:
            the loss of the whole batch, mean of the heads, and the signal to stop, if any process got one.
        """
        start = time.monotonic()
        config, recognizer, step = self.config, self.recognizer, self.progress.step
        recognizer.train()
        if config.protocol == "frozen":
            recognizer.encoder.eval()
        set_rate(self.optimizers, config, step)
        terms = [[head.loss_terms(texts) for head in recognizer.heads.values()] for _, texts in shards]
        totals = distributed.summed([float(sum(of_head)) for of_head in zip(*terms, strict=True)])
        own_loss = 0.0
        for shard, (pixels, texts), own in zip(self.own, shards, terms, strict=True):
            torch.manual_seed(config.seed * 1_000_003 + step + shard * _SHARD_SEED)  # dropout is all that draws from it
            shares = [n / total for n, total in zip(own, totals, strict=True)]
            with self._exchanging(shard == self.own[-1]):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                    loss = self.loss(pixels.to(self.device), texts, shares)
                (loss * distributed.count()).backward()  # because gradients are averaged over processes
            own_loss += loss.item()
        norm = nn.utils.clip_grad_norm_(list(self.weights.values()), config.clip).item()
        signal = told_to_stop()
        batch_loss, told = distributed.summed([own_loss, float(signal is not None)])
        if not math.isfinite(batch_loss) or not math.isfinite(norm):
            raise InputError(
                f"the loss is no longer a number at step {step}: learning_rate {config.learning_rate} is too high. "
                f"Give a lower one and another --out, or delete {self.out} first"
            )
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.average.update_parameters(recognizer)
        self.progress.step += 1
        self.progress.seconds += time.monotonic() - start
        return batch_loss / len(totals), (signal or SIGTERM) if told else None

    def _exchanging(self, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients once a step, with those of their last shards."""
        if last or not isinstance(self.loss, DistributedDataParallel):
            return nullcontext()
        return self.loss.no_sync()

    def _validate(self, reporter: Reporter) -> None:
        """As the loop's, each process reading its part of the held-out strings."""
        share = _Share(self.held_out, distributed.number(), distributed.count())
        right = dict.fromkeys(self.recognizer.heads, 0)
        if len(share):
            read = metrics.predict(self.averaged, share, quiet=True)
            right |= (read["prediction"] == read["text"]).groupby(read["head"]).sum().to_dict()
        counts = distributed.summed([float(n) for n in right.values()])
        exact = {head: n / len(self.held_out) for head, n in zip(right, counts, strict=True)}
        so_far = self.progress
        so_far.history.append({"step": so_far.step, "seconds": round(so_far.seconds, 1), "exact": exact})
        if (mean := loop._mean_exact(so_far.history[-1])) >= so_far.best:
            so_far.best = mean
            if distributed.is_first():
                self.averaged.provenance = self._provenance()
                save(self.averaged, self.out)
        shown = ", ".join(f"{name} {value:.2%}" for name, value in exact.items())
        reporter.say(f"step {so_far.step}: exact match on {len(self.held_out):,} validation strings: {shown}")

    def _provenance(self) -> dict[str, Any]:
        return {**super()._provenance(), "processes": distributed.count(), "shards": self.shards}

    def _save_state(self) -> None:
        if distributed.is_first():
            super()._save_state()

    def _resume(self) -> None:
        """The first process finds or writes the state, and the others find what it has."""
        if distributed.is_first():
            super()._resume()
        distributed.wait()
        there = (self.out / STATE).exists()
        if there and not distributed.is_first():
            super()._resume()
        steps = distributed.all_of(float(self.progress.step if there else -1))
        if len(set(steps)) > 1:
            found = ", ".join("none" if step < 0 else f"step {step:.0f}" for step in steps)
            raise InputError(f"--out {self.out}: processes see different states there ({found}): give a shared folder")


class _Loss(nn.Module):
    """What a shard adds to the loss of its batch."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, pixels: torch.Tensor, texts: list[str], shares: list[float]) -> torch.Tensor:
        """The sum of the heads' losses, a scalar, of pixel_values (B, 3, H, W) against B texts.

        Args:
            shares: a head, the shard's part in what its loss is the mean of.
        """
        features = self.recognizer.encoder(pixels)
        heads = self.recognizer.heads.values()
        return torch.stack([head.loss(features, texts) * n for head, n in zip(heads, shares, strict=True)]).sum()


class _Share:
    """What one of several processes reads: every so many of the batches that one process would read.

    It is read from the start, `_READ_AT_ONCE` lines at a time, as `evaluation.predict` does.
    """

    def __init__(self, lines: Lines, number: int, count: int) -> None:
        starts = range(0, len(lines), _READ_AT_ONCE)[number::count]
        self.lines, self.batches = lines, [range(i, min(i + _READ_AT_ONCE, len(lines))) for i in starts]

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    def batch(self, indices: range) -> tuple[Any, list[str]]:
        return self.lines.batch(self.batches[indices.start // _READ_AT_ONCE])
