"""Fits any set of heads on one encoder.

Everything random is a function of (seed, step): a run that was killed and started again follows the trajectory it
would have had, and nothing but weights, optimiser moments and the step number needs to be kept.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from seqocr import __version__, environment, metrics
from seqocr.data.mixture import DataMixture
from seqocr.errors import InputError
from seqocr.inference.load import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter, progress
from seqocr.train import interrupts
from seqocr.train.config import TrainConfig
from seqocr.train.optim import optimizers_of, set_rate
from seqocr.train.state import STATE, Progress, is_finished, load_state, save_state


def fit(
    recognizer: Recognizer,
    material: DataMixture,
    config: TrainConfig,
    out: Path,
    device: torch.device | str = "cpu",
    command: str | None = None,
    start_counts: bool = False,
) -> Recognizer:
    """Train, keep the best checkpoint in `out`, and return it.

    If `out` holds the state of an interrupted run with the same configuration, training goes on from there.

    Args:
        recognizer: as built; its heads are the ones trained.
        material: to learn from, and to choose the best checkpoint by.
        out: directory for the recognizer; the state to resume from lies beside it until the end.
        command: what the user typed, for the provenance.
        start_counts: what training starts from can read already: it is validated first, and kept if nothing is better.

    Raises:
        InputError: `out` holds a run with another configuration, or a state that cannot be read; or the loss is no
            longer a number. The best checkpoint so far stays as it is.
        KeyboardInterrupt, SystemExit: after SIGINT or SIGTERM, once the state is saved.
    """
    return _Run(recognizer, material, config, out, torch.device(device), command, start_counts).run()


class _Run:
    """The moving parts of one training run."""

    def __init__(
        self,
        recognizer: Recognizer,
        material: DataMixture,
        config: TrainConfig,
        out: Path,
        device: torch.device,
        command: str | None,
        start_counts: bool,
    ) -> None:
        self.recognizer, self.config, self.out, self.device = recognizer.to(device), config, out, device
        self.command, self.start_counts = command, start_counts
        self.material, self.origin = material, recognizer.provenance
        material.batches(config.batch_size)  # what is wrong with them is said before anything is done
        self.held_out = material.held_out(config.validation_strings)
        if config.protocol == "frozen":
            recognizer.encoder.requires_grad_(False)
        self.weights = {name: p for name, p in recognizer.named_parameters() if p.requires_grad}
        self.average = averaged_model(recognizer, config.ema)
        self.averaged = cast(Recognizer, self.average.module)
        self.optimizers = optimizers_of(self.weights, config)
        self.bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and _bfloat16_is_faster(device))
        self.progress = Progress()

    def run(self) -> Recognizer:
        self._resume()
        config, so_far = self.config, self.progress
        with progress("train", config.steps, so_far.step) as reporter, interrupts.noted() as told_to_stop:
            if so_far.step == 0 and self.start_counts:
                self._validate(reporter)
            batches = self.material.batches(config.batch_size, so_far.step)
            while so_far.step < config.steps and not self._out_of_patience(reporter):
                loss = self._train_step(*next(batches))
                last = so_far.step == config.steps
                reporter.advance(f"loss {loss:.3f}" if so_far.step % 10 == 0 or last else "")
                if so_far.step % config.validate_every == 0 or last:
                    self._validate(reporter)
                if (so_far.step % config.save_every == 0 or told_to_stop()) and not last:
                    self._save_state()
                if (signal := told_to_stop()) and not last:
                    if so_far.best < 0:
                        self._validate(reporter)
                    reporter.say(
                        f"interrupted at step {so_far.step}; the same command goes on from there. "
                        f"Best so far: {self.out}"
                    )
                    interrupts.obey(signal)
            (self.out / STATE).unlink(missing_ok=True)
            if signal := told_to_stop():
                interrupts.obey(signal)
        return load_recognizer(self.out)

    def _out_of_patience(self, reporter: Reporter) -> bool:
        history = self.progress.history
        best = max(range(len(history)), key=lambda i: (_mean_exact(history[i]), i), default=0)
        stop = 0 < self.config.patience <= len(history) - 1 - best
        if stop:
            reporter.say(f"no better since step {history[best]['step']}: stopped at step {self.progress.step}")
        return stop

    def _train_step(self, images: Any, texts: list[str]) -> float:
        start = time.monotonic()
        config, recognizer, step = self.config, self.recognizer, self.progress.step
        recognizer.train()
        if config.protocol == "frozen":
            recognizer.encoder.eval()
        torch.manual_seed(config.seed * 1_000_003 + step)  # dropout is all that draws from it
        set_rate(self.optimizers, config, step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            features = recognizer.encoder(recognizer.processor(images).to(self.device))
            losses = [head.loss(features, texts) for head in recognizer.heads.values()]
            loss = torch.stack(losses).sum()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(list(self.weights.values()), config.clip)
        # Before the weights move, so that what is saved later is never made of what is no number.
        if not math.isfinite(loss.item()) or not math.isfinite(norm.item()):
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
        return loss.item() / len(losses)

    def _validate(self, reporter: Reporter) -> None:
        """Read the held-out strings with the averaged weights; keep them if they read best so far."""
        recognizer = self.averaged
        read = metrics.predict(recognizer, self.held_out, quiet=True)
        right = read["prediction"] == read["text"]
        exact = {head: float(share) for head, share in right.groupby(read["head"], sort=False).mean().items()}
        so_far = self.progress
        so_far.history.append({"step": so_far.step, "seconds": round(so_far.seconds, 1), "exact": exact})
        if (mean := _mean_exact(so_far.history[-1])) >= so_far.best:
            so_far.best = mean
            recognizer.provenance = self._provenance()
            save(recognizer, self.out)
        shown = ", ".join(f"{name} {value:.2%}" for name, value in exact.items())
        reporter.say(f"step {so_far.step}: exact match on {len(self.held_out):,} validation strings: {shown}")

    def _provenance(self) -> dict[str, Any]:
        return {
            "encoder": self.origin.get("encoder"),
            "init": self.origin if "step" in self.origin else None,  # of a recognizer that was itself trained
            "command": self.command,
            "data": self.material.about,
            "held_out": len(self.held_out),
            "strings_seen": self.progress.step * self.config.batch_size,
            "step": self.progress.step,
            "seconds": round(self.progress.seconds, 1),
            "device": environment.device_name(self.device),
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "config": dataclasses.asdict(self.config),
            "validation": self.progress.history,
            "versions": {"seqocr": __version__, "torch": torch.__version__},
        }

    def _fingerprint(self) -> str:
        """What must be the same for a state to be resumed: the configuration, the architecture and the data."""
        shapes = {name: list(p.shape) for name, p in self.weights.items()}
        return json.dumps([dataclasses.asdict(self.config), shapes, self.material.about])

    def _save_state(self) -> None:
        save_state(self.out, self._fingerprint(), self.progress, self.recognizer, self.averaged, self.optimizers)

    def _resume(self) -> None:
        if is_finished(self.out):
            raise InputError(f"{self.out} holds a finished recognizer: give another --out, or delete it first")
        if not (self.out / STATE).exists():
            self._save_state()  # from here to the end there is a state: a recognizer without one is finished
            return
        self.progress = load_state(self.out, self._fingerprint(), self.recognizer, self.averaged, self.optimizers)
        self.average.n_averaged.fill_(1 + self.progress.step)


def averaged_model(model: nn.Module, ema: float) -> AveragedModel:
    """An exponential moving average of a model's weights, its initial ones included."""

    def average(averages: Any, weights: Any, updates: Any) -> None:
        # A short memory at first, so that the average forgets the initial weights.
        step = int(updates)
        torch._foreach_lerp_(averages, weights, 1 - min(ema, step / (step + 10)))

    averaged = AveragedModel(model, multi_avg_fn=torch.no_grad()(average))
    averaged.update_parameters(model)  # the first update only copies: those of steps count from 1
    return averaged


def _mean_exact(validation: dict[str, Any]) -> float:
    return sum(validation["exact"].values()) / len(validation["exact"])


def _bfloat16_is_faster(device: torch.device) -> bool:
    """On GPUs, and on CPUs with matrix tiles for it (AMX); elsewhere it is emulated or gains nothing."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
