"""The training loop: fits any set of heads on one encoder, in one process or several.

Everything random is a function of (seed, step, shard), so an interrupted run that goes on follows the trajectory that
it would have had. A step's loss is the mean over its whole batch, however many processes share it: they change only
how sums of float32 are rounded.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from seqocr import __version__, environment
from seqocr.data.mixture import DataMixture
from seqocr.errors import InputError
from seqocr.files import exclusive
from seqocr.inference import predictions
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter, progress
from seqocr.train import distributed, interrupts
from seqocr.train.average import moving_average
from seqocr.train.config import DistributedConfig, TrainConfig
from seqocr.train.distill import ShardLoss
from seqocr.train.features import FeatureLoss
from seqocr.train.loader import Part, Shard, ShardedBatches, loading
from seqocr.train.optim import build_optimizers, set_learning_rate
from seqocr.train.state import (
    STATE,
    Progress,
    differing,
    input_digests,
    is_finished,
    load_state,
    run_inputs,
    save_state,
)

_STEP_SEED, _SHARD_SEED = 1_000_003, 2**52  # between the seeds of runs, and of shards: more than any step's


class Trainer:
    """Trains a recognizer, and keeps the best checkpoint in `out`.

    Of several processes (`distributed.process_group`) each has a Trainer, and the main one alone writes. If `out` holds
    the state of an interrupted run with the same configuration and data, training goes on from there, with any number
    of processes or shards.

    Args:
        recognizer: its heads are trained, in place.
        mixture: to learn from, and to choose the best checkpoint by.
        out: directory for the recognizer; the state to resume from lies beside it until the end.
        command: as typed, for the provenance.
        init: trained weights that the recognizer was made from; to be resumed, a run must have started from the same.
        teacher: of features, for the protocol "features".
        start_counts: validate the initial weights too, and keep them if nothing is better.
        on_step: called after every step with its number, from 0, and the loss of the batch, the mean of its heads.

    Attributes:
        progress: how far the run has come.

    Raises:
        InputError: the batch or the shards fit neither data, processes nor heads.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        mixture: DataMixture,
        config: TrainConfig,
        out: Path,
        device: torch.device | str = "cpu",
        *,
        command: str | None = None,
        init: nn.Module | None = None,
        teacher: Recognizer | None = None,
        start_counts: bool = False,
        sharding: DistributedConfig = DistributedConfig(),
        on_step: Callable[[int, float], None] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.recognizer, self.mixture, self.config, self.out = recognizer.to(self.device), mixture, config, out
        self.command, self.start_counts, self.on_step, self.teacher = command, start_counts, on_step, teacher
        self.origin, self.progress = recognizer.provenance, Progress()
        self.shards, self.workers = sharding.shards or distributed.world_size(), sharding.workers
        self.own_shards = distributed.own_part(self.shards)
        for head in recognizer.heads.values() if self.shards > 1 else ():
            head.loss_terms([])  # which says so of a head that learns from whole batches only
        self.batches()  # what is wrong with them is said before anything is done
        self.held_out = mixture.held_out(config.validation_strings)
        if config.protocol == "frozen":
            recognizer.encoder.requires_grad_(False)
        if teacher is not None:
            recognizer.requires_grad_(False).encoder.requires_grad_(True)
        self.weights = {name: p for name, p in recognizer.named_parameters() if p.requires_grad}
        self.average = moving_average(recognizer, config.ema)
        self.averaged = cast(Recognizer, self.average.module)
        self.optimizers = build_optimizers(self.weights, config)
        auto = config.precision == "auto"
        self.bfloat16 = environment.bfloat16_is_faster(self.device) if auto else config.precision == "bfloat16"
        self.loss: nn.Module = ShardLoss(recognizer)
        if teacher is not None:
            self.loss = FeatureLoss(recognizer, teacher.to(self.device).eval())
        self.inputs = run_inputs(config, self.weights, mixture, init)

    def fit(self, finish: Callable[[Recognizer], Recognizer] = lambda trained: trained) -> Recognizer:
        """Train to the end.

        Args:
            finish: called with the best checkpoint as the last part of the run, which is resumed too.

        Returns:
            the best checkpoint, as `finish` gave it.

        Raises:
            InputError: `out` holds a run with other inputs, is written to by another training, or its state is damaged
                or not the same for all processes; or the loss is no longer a number. The best checkpoint so far stays
                as it is.
            RuntimeError: of torch.distributed, where another process has ended.
            KeyboardInterrupt, SystemExit: after SIGINT or SIGTERM, once the state is saved.
        """
        with exclusive(self.out) if distributed.is_main() else nullcontext():
            return self._fit(finish)

    def fit_or_load(self, finish: Callable[[Recognizer], Recognizer] = lambda trained: trained) -> Recognizer:
        """As `fit`; a run that has ended is only loaded. InputError if it was one with other inputs."""
        if not is_finished(self.out):
            return self.fit(finish)
        trained = load_recognizer(self.out)
        if other := differing(trained.provenance.get("inputs"), input_digests(self.inputs)):
            raise InputError(f"{self.out} holds weights of a run with other {other}: give another --out, or delete it")
        return trained.to(self.device)

    def _fit(self, finish: Callable[[Recognizer], Recognizer]) -> Recognizer:
        self._resume()
        config, so_far = self.config, self.progress
        if distributed.world_size() > 1:
            self.loss = DistributedDataParallel(self.loss)
        with (
            loading(self.batches(), self.workers) as batches,
            progress("train", config.steps, so_far.step) as reporter,
            interrupts.deferred() as received,
        ):
            if so_far.step == 0 and self.start_counts:
                self._validate(reporter)
            while so_far.step < config.steps and not self._out_of_patience(reporter):
                loss = self.train_step(next(batches))
                last = so_far.step == config.steps
                reporter.advance(f"loss {loss:.3f}" if so_far.step % 10 == 0 or last else "")
                if so_far.step % config.validate_every == 0 or last:
                    self._validate(reporter)
                if last:
                    self._save_state()
                    break
                signal = distributed.agree_to_stop(received())
                if signal or so_far.step % config.save_every == 0:
                    self._save_state()
                if signal:
                    self._stop(signal, reporter)
            distributed.barrier()  # all is written
            trained = finish(load_recognizer(self.out))
            distributed.barrier()
            if distributed.is_main():
                (self.out / STATE).unlink(missing_ok=True)
            if signal := received():
                interrupts.obey(signal)
        return trained

    def batches(self) -> ShardedBatches:
        """This process's shards of each batch, from the current step on."""
        step, processor = self.progress.step, self.recognizer.processor
        seen = self.teacher.processor if self.teacher else None
        size = self.config.batch_size
        return ShardedBatches(self.mixture, size, self.own_shards, self.shards, step, processor, seen)

    def train_step(self, shards: list[Shard]) -> float:
        """Learn from this process's shards of a batch; returns the loss of the whole batch, mean of the heads.

        Raises:
            InputError: the loss or the gradient is no longer a number. The weights have not moved.
        """
        start = time.monotonic()
        config, recognizer, step = self.config, self.recognizer, self.progress.step
        recognizer.train()
        if config.protocol == "frozen":
            recognizer.encoder.eval()
        set_learning_rate(self.optimizers, config, step)
        losses = []
        parts = [(shard, part) for shard, of_shard in zip(self.own_shards, shards, strict=True) for part in of_shard]
        all_shares, before = self._shares([part.texts for _, part in parts]), None
        for i, ((shard, part), shares) in enumerate(zip(parts, all_shares, strict=True)):
            if shard != before:
                torch.manual_seed(config.seed * _STEP_SEED + step + shard * _SHARD_SEED)  # of dropout
            before = shard
            # Processes exchange gradients once per step, with those of their last parts.
            exchanging = i == len(parts) - 1 or not isinstance(self.loss, DistributedDataParallel)
            with nullcontext() if exchanging else cast(DistributedDataParallel, self.loss).no_sync():
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16), self._attention():
                    loss = self._loss(part, shares)
                (loss * distributed.world_size()).backward()  # gradients are averaged over processes, not summed
            losses.append(loss.detach())
        norm = nn.utils.clip_grad_norm_(list(self.weights.values()), config.clip)
        (batch_loss,) = distributed.reduce_sum([sum(loss.item() for loss in losses)])
        if not math.isfinite(batch_loss) or not math.isfinite(norm.item()):
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
        if self.teacher is None:
            batch_loss /= len(recognizer.heads)
        if self.on_step:
            self.on_step(step, batch_loss)
        return batch_loss

    def _attention(self) -> AbstractContextManager[None]:
        """On CPUs, the gradient of the fused kernel takes half of a step in bfloat16; plain products use the tiles."""
        slow = self.bfloat16 and self.device.type == "cpu"
        return sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()

    def _loss(self, part: Part, shares: list[float] | None) -> torch.Tensor:
        """What a part adds to its batch's loss."""
        pixels = part.pixels.to(self.device)
        if part.seen is None:
            return self.loss(pixels, part.texts, shares)
        return self.loss(pixels, part.seen.to(self.device)) * (len(part.texts) / self.config.batch_size)

    def _shares(self, parts: list[list[str]]) -> list[list[float] | None]:
        """Of each part's texts, its share in the batch's loss of each head; None for a whole batch."""
        if self.teacher is not None or self.shards == len(parts) == 1:
            return [None] * len(parts)
        heads = self.recognizer.heads.values()
        terms = [[head.loss_terms(texts) for head in heads] for texts in parts]
        totals = distributed.reduce_sum([float(sum(of_head)) for of_head in zip(*terms, strict=True)])
        return [[n / total for n, total in zip(of_part, totals, strict=True)] for of_part in terms]

    def _validate(self, reporter: Reporter) -> None:
        """Read the held-out strings with the averaged weights, each process its part; keep them if the best so far."""
        part = distributed.rank(), distributed.world_size()
        read = predictions.predict_lines(self.averaged, self.held_out, quiet=True, part=part)
        found = (read["prediction"] == read["text"]).groupby(read["head"]).sum()
        right = distributed.reduce_sum([float(found.get(head, 0)) for head in self.recognizer.heads])
        exact = {head: n / len(self.held_out) for head, n in zip(self.recognizer.heads, right, strict=True)}
        so_far = self.progress
        so_far.history.append({"step": so_far.step, "seconds": round(so_far.seconds, 1), "exact": exact})
        if (mean := so_far.mean_exact()[-1]) >= so_far.best:
            so_far.best = mean
            if distributed.is_main():
                self.averaged.provenance = self._provenance()
                save(self.averaged, self.out)
        shown = ", ".join(f"{name} {value:.2%}" for name, value in exact.items())
        reporter.say(f"step {so_far.step}: exact match on {len(self.held_out):,} validation strings: {shown}")

    def _out_of_patience(self, reporter: Reporter) -> bool:
        exact, step = self.progress.mean_exact(), self.progress.step
        best = max(range(len(exact)), key=lambda i: (exact[i], i), default=0)
        stop = 0 < self.config.patience <= len(exact) - 1 - best
        if stop:
            reporter.say(f"no better since step {self.progress.history[best]['step']}: stopped at step {step}")
        return stop

    def _stop(self, signal: int, reporter: Reporter) -> None:
        """After the state is saved: leave a checkpoint, and obey the signal."""
        so_far = self.progress
        if so_far.best < 0:
            self._validate(reporter)
        reporter.say(f"interrupted at step {so_far.step}; the same command goes on from there. Best so far: {self.out}")
        interrupts.obey(signal)

    def _provenance(self) -> dict[str, Any]:
        return {
            "encoder": self.origin.get("encoder"),
            # Of a recognizer that was itself trained, or took over trained layers.
            "init": self.origin if "step" in self.origin else self.origin.get("init"),
            "command": self.command,
            "data": self.mixture.about,
            "held_out": len(self.held_out),
            "strings_seen": self.progress.step * self.config.batch_size,
            "step": self.progress.step,
            "seconds": round(self.progress.seconds, 1),
            "device": environment.device_name(self.device),
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "processes": distributed.world_size(),
            "shards": self.shards,
            "config": dataclasses.asdict(self.config),
            "validation": self.progress.history,
            "versions": {"seqocr": __version__, "torch": torch.__version__},
            "inputs": input_digests(self.inputs),
        }

    def _save_state(self) -> None:
        if distributed.is_main():
            save_state(self.out, self.inputs, self.progress, self.recognizer, self.averaged, self.optimizers)

    def _resume(self) -> None:
        """Go on from the state in `out`, which the main process writes where there is none."""
        state, is_new = self.out / STATE, False
        if distributed.is_main():
            if is_finished(self.out):
                raise InputError(f"{self.out} holds a finished recognizer: give another --out, or delete it first")
            if is_new := not state.exists():
                self._save_state()  # from here to the end there is a state: a recognizer without one is finished
        distributed.barrier()
        exists = state.exists()
        if exists and not is_new:
            self.progress = load_state(self.out, self.inputs, self.recognizer, self.averaged, self.optimizers)
            self.average.n_averaged.fill_(1 + self.progress.step)
        steps = distributed.gather(float(self.progress.step if exists else -1))
        if len(set(steps)) > 1:
            found = ", ".join("none" if step < 0 else f"step {step:.0f}" for step in steps)
            raise InputError(f"--out {self.out}: processes see different states there ({found}): give a shared folder")
