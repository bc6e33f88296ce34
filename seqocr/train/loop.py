"""Fits any set of heads on one encoder.

Everything random is a function of (seed, step): a run that was killed and started again follows the trajectory it
would have had, and nothing but weights, optimiser moments and the step number needs to be kept.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from seqocr import __version__, environment
from seqocr.checkpoints import load_recognizer, save
from seqocr.data.material import Material
from seqocr.errors import InputError
from seqocr.files import replacing
from seqocr.models.recognizer import Recognizer
from seqocr.progress import Reporter, progress
from seqocr.train.config import TrainConfig
from seqocr.train.optimizers import Muon, schedule

_STATE = "training-state.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")  # what optimisers keep of each weight


def fit(
    recognizer: Recognizer,
    material: Material,
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
        InputError: `out` holds a run with another configuration, or a state that cannot be read.
    """
    return _Run(recognizer, material, config, out, torch.device(device), command, start_counts).run()


class _Run:
    """The moving parts of one training run."""

    def __init__(
        self,
        recognizer: Recognizer,
        material: Material,
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
        self.average = {name: p.detach().clone() for name, p in self.weights.items()}
        self.optimizers = self._optimizers()
        self.optimizer_of = {
            p: each for each in self.optimizers for group in each.param_groups for p in group["params"]
        }
        self.bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and _bfloat16_is_faster(device))
        self.step, self.seconds, self.best = 0, 0.0, -1.0
        self.history: list[dict[str, Any]] = []

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        config = self.config
        decayed = {name: p for name, p in self.weights.items() if p.dim() >= 2 and "position" not in name}
        others = [p for name, p in self.weights.items() if name not in decayed]
        of_layers = {}
        if config.optimizer == "muon":
            of_layers = {name: p for name, p in decayed.items() if p.dim() == 2 and ".layers." in name}
        groups = [
            {
                "params": [p for name, p in decayed.items() if name not in of_layers],
                "weight_decay": config.weight_decay,
            },
            {"params": others, "weight_decay": 0.0},
        ]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
        ]
        if of_layers:
            optimizers.append(Muon(of_layers.values(), config.learning_rate, config.weight_decay))
        return optimizers

    def run(self) -> Recognizer:
        config = self.config
        self._resume()
        with progress("train", config.steps, self.step) as reporter, _interrupt_noted() as interrupted:
            if self.step == 0 and self.start_counts:
                self._validate(reporter)
            batches = self.material.batches(config.batch_size, self.step)
            while self.step < config.steps and not self._out_of_patience(reporter):
                loss = self._train_step(*next(batches))
                reporter.advance(f"loss {loss:.3f}" if self.step % 10 == 0 or self.step == config.steps else "")
                if self.step % config.validate_every == 0 or self.step == config.steps:
                    self._validate(reporter)
                if (self.step % config.save_every == 0 or interrupted()) and self.step < config.steps:
                    self._save_state()
                if interrupted() and self.step < config.steps:
                    if self.best < 0:
                        self._validate(reporter)
                    reporter.say(
                        f"interrupted at step {self.step}; the same command goes on from there. Best so far: {self.out}"
                    )
                    raise KeyboardInterrupt
            (self.out / _STATE).unlink(missing_ok=True)
            if interrupted():
                raise KeyboardInterrupt
        return load_recognizer(self.out)

    def _out_of_patience(self, reporter: Reporter) -> bool:
        best = max(range(len(self.history)), key=lambda i: (_mean_exact(self.history[i]), i), default=0)
        stop = 0 < self.config.patience <= len(self.history) - 1 - best
        if stop:
            reporter.say(f"no better since step {self.history[best]['step']}: stopped at step {self.step}")
        return stop

    def _train_step(self, images: Any, texts: list[str]) -> float:
        start = time.monotonic()
        config, recognizer = self.config, self.recognizer
        recognizer.train()
        if config.protocol == "frozen":
            recognizer.encoder.eval()
        torch.manual_seed(config.seed * 1_000_003 + self.step)  # dropout is all that draws from it
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * schedule(self.step, config.warmup, config.steps)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            features = recognizer.encoder(recognizer.processor(images).to(self.device))
            losses = [head.loss(features, texts) for head in recognizer.heads.values()]
            loss = torch.stack(losses).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.weights.values()), config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        # A short memory at first, so that the average forgets the initial weights.
        decay = min(config.ema, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - decay)
        self.seconds += time.monotonic() - start
        return loss.item() / len(losses)

    def _validate(self, reporter: Reporter) -> None:
        """Read the held-out strings with the averaged weights; keep them if they read best so far."""
        recognizer = self.recognizer.eval()
        images, texts = self.held_out
        with _swapped(self.weights, self.average):
            exact = {
                name: sum(a == b for a, b in zip(recognizer.read(images, name).texts, texts, strict=True)) / len(texts)
                for name in recognizer.heads
            }
            self.history.append({"step": self.step, "seconds": round(self.seconds, 1), "exact": exact})
            if (mean := _mean_exact(self.history[-1])) >= self.best:
                self.best = mean
                recognizer.provenance = self._provenance()
                save(recognizer, self.out)
        shown = ", ".join(f"{name} {value:.2%}" for name, value in exact.items())
        reporter.say(f"step {self.step}: exact match on {len(texts):,} validation strings: {shown}")

    def _provenance(self) -> dict[str, Any]:
        return {
            "encoder": self.origin.get("encoder"),
            "init": self.origin if "step" in self.origin else None,  # of a recognizer that was itself trained
            "command": self.command,
            "data": self.material.about,
            "held_out": len(self.held_out[1]),
            "strings_seen": self.step * self.config.batch_size,
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "device": environment.device_name(self.device),
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "config": dataclasses.asdict(self.config),
            "validation": self.history,
            "versions": {"seqocr": __version__, "torch": torch.__version__},
        }

    def _fingerprint(self) -> str:
        """What must be the same for a state to be resumed: the configuration, the architecture and the data."""
        shapes = {name: list(p.shape) for name, p in self.weights.items()}
        return json.dumps([dataclasses.asdict(self.config), shapes, self.material.about])

    def _save_state(self) -> None:
        tensors: dict[str, torch.Tensor] = {}
        for name, weight in self.weights.items():
            tensors |= {f"weight/{name}": weight.detach(), f"average/{name}": self.average[name]}
            moments = self.optimizer_of[weight].state.get(weight, {})
            tensors |= {f"{key}/{name}": moments[key] for key in _MOMENTS if key in moments}
        facts = {"step": self.step, "seconds": self.seconds, "best": self.best, "history": self.history}
        metadata = {"facts": json.dumps(facts), "fingerprint": self._fingerprint()}
        with replacing(self.out / _STATE) as temporary:
            temporary.write_bytes(to_bytes({name: x.contiguous() for name, x in tensors.items()}, metadata))

    def _resume(self) -> None:
        path = self.out / _STATE
        if not path.exists():
            if (self.out / "config.json").exists():
                raise InputError(f"{self.out} holds a finished recognizer: give another --out, or delete it first")
            self._save_state()  # from here to the end there is a state: a recognizer without one is finished
            return
        try:
            with safe_open(path, framework="pt", device=str(self.device)) as state:
                metadata = state.metadata()
                if metadata["fingerprint"] != self._fingerprint():
                    raise InputError(f"{path} is of a run with other settings: give another --out, or delete it")
                tensors = {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError) as error:  # the latter two: not written by `_save_state`
            raise InputError(f"{path} cannot be read ({error}): delete it to start again") from error
        facts = json.loads(metadata["facts"])
        self.step, self.seconds, self.best, self.history = (facts[k] for k in ("step", "seconds", "best", "history"))
        for name, weight in self.weights.items():
            weight.data.copy_(tensors[f"weight/{name}"])
            self.average[name].copy_(tensors[f"average/{name}"])
            moments = {key: tensors[f"{key}/{name}"] for key in _MOMENTS if f"{key}/{name}" in tensors}
            if moments:
                step = torch.tensor(float(self.step), device=self.device)
                self.optimizer_of[weight].state[weight] = {"step": step, **moments}


@contextmanager
def _interrupt_noted() -> Iterator[Callable[[], bool]]:
    """Within the block, an interrupt is noted, not raised, so that no step is left half done; a second one is raised.

    Yields:
        whether there was one.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: False
        return
    noted = threading.Event()

    def note(*_: object) -> None:
        noted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _mean_exact(validation: dict[str, Any]) -> float:
    return sum(validation["exact"].values()) / len(validation["exact"])


class _swapped:
    """Within the block, the parameters hold other values."""

    def __init__(self, weights: dict[str, nn.Parameter], others: dict[str, torch.Tensor]) -> None:
        self.weights, self.others = weights, others

    def __enter__(self) -> None:
        self.before = {name: p.detach().clone() for name, p in self.weights.items()}
        self._write(self.others)

    def __exit__(self, *_: object) -> None:
        self._write(self.before)

    @torch.no_grad()
    def _write(self, values: dict[str, torch.Tensor]) -> None:
        for name, p in self.weights.items():
            p.copy_(values[name])


def _bfloat16_is_faster(device: torch.device) -> bool:
    """On GPUs, and on CPUs with matrix tiles for it (AMX); elsewhere it is emulated or gains nothing."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
