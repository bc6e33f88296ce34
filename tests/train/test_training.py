"""Training: every protocol, and every interruption of a run."""

from __future__ import annotations

import copy
import dataclasses
import math
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from seqocr.data.mixture import DataMixture
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import Digits
from seqocr.errors import InputError
from seqocr.files import exclusive
from seqocr.inference import predictions
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.ctc import CTCHead
from seqocr.models.recognizer import Recognizer
from seqocr.train import loop
from seqocr.train.config import TrainConfig
from seqocr.train.loop import Trainer
from seqocr.train.recipe import build_mixture
from seqocr.train.state import STATE
from tests.conftest import barred, coded, small_recognizer
from tests.processes import Training, train_together

CONFIG = TrainConfig(
    length=(1, 3),
    steps=8,
    batch_size=4,
    warmup=2,
    validate_every=3,
    validation_strings=6,
    save_every=2,
    precision="float32",
)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Interrupts arrive even where whoever runs the tests ignores them, as a shell does for what it runs behind."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Killed(Exception):
    """Stands in for a kill: nothing in the library reacts to it."""


def train(out: Path, config: TrainConfig = CONFIG, **more: Any) -> Recognizer:
    on_step = more.pop("on_step", None)
    recognizer = more.pop("recognizer", None) or small_recognizer(**more)
    return Trainer(recognizer, of_digits(config), config, out, on_step=on_step).fit()


def of_digits(config: TrainConfig, train: Digits | None = None, validation: Digits | None = None) -> DataMixture:
    digits = train or barred(30), validation or barred(20, "validation")
    return build_mixture(config, digits)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Any) -> None:
    """Have something happen in the middle of a training step: the gradient is there, the weights are about to move."""
    clip = loop.nn.utils.clip_grad_norm_
    calls = iter(range(1000))

    def clip_and_act(*arguments: Any) -> Any:
        if next(calls) == step:
            act()
        return clip(*arguments)

    monkeypatch.setattr(loop.nn.utils, "clip_grad_norm_", clip_and_act)


def kill() -> None:
    raise Killed


def same_weights(a: Recognizer, b: Recognizer) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_clock(recognizer: Recognizer) -> dict[str, Any]:
    facts = {k: v for k, v in recognizer.provenance.items() if k != "seconds"}
    return {**facts, "validation": [{k: v for k, v in row.items() if k != "seconds"} for row in facts["validation"]]}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return train(tmp_path_factory.mktemp("uninterrupted"))


# What comes of it.


def test_training_learns(tmp_path: Path) -> None:
    """Dark digits are ones and bright ones are eights: a guess is right half of the time."""
    digits = coded(200)
    digits = digits[(digits.labels == 1) | (digits.labels == 8)]
    held_out = dataclasses.replace(digits, split="validation")
    config = TrainConfig(
        length=1, steps=40, batch_size=8, learning_rate=1e-2, warmup=10, ema=0.5, validate_every=40, precision="float32"
    )
    recognizer = small_recognizer(("ar", "parallel"), max_length=1)
    trained = Trainer(recognizer, of_digits(config, digits, held_out), config, tmp_path).fit()
    assert trained.provenance["validation"][-1]["exact"] == {"ar": 1.0, "parallel": 1.0}


def test_joint_training_moves_every_part_and_leaves_a_recognizer_and_nothing_else(tmp_path: Path) -> None:
    before = small_recognizer()
    trained = train(tmp_path)
    assert not same_weights(before, trained)
    for part in ("encoder.", "heads.ar.", "heads.parallel.", "heads.ctc."):
        names = [name for name in before.state_dict() if name.startswith(part)]
        assert any(not torch.equal(before.state_dict()[name], trained.state_dict()[name]) for name in names), part
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    assert same_weights(trained, load_recognizer(tmp_path))
    assert not trained.training


def test_frozen_training_leaves_the_encoder_as_it_was(tmp_path: Path) -> None:
    before = small_recognizer()
    trained = train(tmp_path, dataclasses.replace(CONFIG, protocol="frozen"))
    for name, tensor in before.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, trained.state_dict()[name]), name
    assert not same_weights(before, trained)


def test_provenance_says_how_the_weights_came_about(uninterrupted: Recognizer) -> None:
    facts = uninterrupted.provenance
    assert facts["data"] == [{"source": "made for the test", "split": "train", "digits": 30, "weight": 1}]
    assert facts["held_out"] == 6
    assert facts["strings_seen"] == facts["step"] * 4
    assert facts["config"]["steps"] == 8
    assert [row["step"] for row in facts["validation"]][:2] == [3, 6]
    assert facts["precision"] == "float32"
    assert facts["device"]
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["init"] is None


def test_provenance_holds_that_of_the_weights_started_from(uninterrupted: Recognizer, tmp_path: Path) -> None:
    before = copy.deepcopy(uninterrupted)
    later = train(tmp_path, dataclasses.replace(CONFIG, seed=1), recognizer=before)
    assert later.provenance["init"] == uninterrupted.provenance
    assert later.provenance["config"]["seed"] == 1


def test_the_same_seed_gives_the_same_weights_and_another_does_not(uninterrupted: Recognizer, tmp_path: Path) -> None:
    assert same_weights(train(tmp_path / "same"), uninterrupted)
    assert not same_weights(train(tmp_path / "other", dataclasses.replace(CONFIG, seed=1)), uninterrupted)


def script(monkeypatch: pytest.MonkeyPatch, exact: list[float]) -> None:
    """Have the validations of a run with one head, of ten strings each, come out so."""
    scores, predict = iter(exact), predictions.predict_lines

    def scripted(*arguments: Any, **more: Any) -> pd.DataFrame:
        found, right = predict(*arguments, **more), round(next(scores) * 10)
        assert len(found) == 10
        return found.assign(prediction=[*found["text"][:right], *["wrong"] * (10 - right)])

    monkeypatch.setattr(predictions, "predict_lines", scripted)


def test_the_best_of_the_validations_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [0.2, 0.9, 0.5])  # at steps 3, 6 and 8
    config = dataclasses.replace(CONFIG, length=1, validation_strings=10)
    mixture = of_digits(config, validation=barred(30, "validation"))
    trained = Trainer(small_recognizer(("ctc",)), mixture, config, tmp_path).fit()
    assert trained.provenance["step"] == 6


def test_what_training_starts_from_is_kept_if_nothing_is_better(
    uninterrupted: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.6, 0.2, 0.5, 0.1])  # at steps 0, 3, 6 and 8
    config = dataclasses.replace(CONFIG, length=1, validation_strings=10)
    start = copy.deepcopy(uninterrupted).with_heads(["ctc"])
    mixture = of_digits(config, validation=barred(30, "validation"))
    trained = Trainer(start, mixture, config, tmp_path, start_counts=True).fit()
    assert trained.provenance["step"] == 0
    assert trained.provenance["validation"] == [{"step": 0, "seconds": 0.0, "exact": {"ctc": 0.6}}]
    assert same_weights(trained, uninterrupted.with_heads(["ctc"]))


@pytest.mark.parametrize(("patience", "stops_at"), [(1, 9), (2, 12), (0, 18)])
def test_patience_ends_after_so_many_validations_that_are_no_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, stops_at: int
) -> None:
    script(monkeypatch, [0.2, 0.9, 0.5, 0.8, 0.9, 0.3])  # at steps 3, 6, ..., 18
    reached: list[int] = []
    config = dataclasses.replace(CONFIG, length=1, validation_strings=10, steps=18, patience=patience)
    mixture = of_digits(config, validation=barred(30, "validation"))
    note = lambda step, _: reached.append(step)  # noqa: E731
    Trainer(small_recognizer(("ctc",)), mixture, config, tmp_path, on_step=note).fit()
    assert reached == list(range(stops_at))
    assert not (tmp_path / STATE).exists()


@pytest.mark.parametrize("ema", [0.3, 0.999])
def test_the_moving_average_of_the_weights_is_saved(tmp_path: Path, ema: float) -> None:
    name = "encoder.backbone.embeddings.position_embeddings"
    recognizer = small_recognizer()
    average, steps = recognizer.state_dict()[name].clone(), 0

    def note(step: int, _: float) -> None:
        nonlocal average, steps
        steps = step + 1
        decay = min(ema, steps / (steps + 10))
        average = decay * average + (1 - decay) * recognizer.state_dict()[name]

    config = dataclasses.replace(CONFIG, ema=ema, validate_every=100)
    trained = train(tmp_path, config, recognizer=recognizer, on_step=note)
    assert steps == 8
    torch.testing.assert_close(trained.state_dict()[name], average)


def test_epochs_of_mixed_lengths_may_differ_in_strings(tmp_path: Path) -> None:
    """30 digits in strings of 1 to 3 make between 10 and 30 strings; several epochs are gone through."""
    assert len({len(SequenceMNIST(barred(30), (1, 3), epoch=epoch)) for epoch in range(10)}) > 2
    assert train(tmp_path, dataclasses.replace(CONFIG, steps=40, validate_every=40)).provenance["step"] == 40


# Cut short.


@pytest.mark.parametrize("step", [0, 1, 3, 5, 7])
def test_a_run_killed_in_any_step_ends_as_if_it_had_not_been(
    uninterrupted: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Among the steps are those right after a validation (3) and right after a save of the state (2, 4, 6)."""
    with monkeypatch.context() as patch:
        at_step(patch, step, kill)
        with pytest.raises(Killed):
            train(tmp_path)
    resumed = train(tmp_path)
    assert same_weights(resumed, uninterrupted)
    assert without_clock(resumed) == without_clock(uninterrupted)


def test_a_run_killed_after_a_validation_and_before_any_save_of_the_state_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(CONFIG, save_every=100)
    with monkeypatch.context() as patch:
        at_step(patch, 4, kill)
        with pytest.raises(Killed):
            train(tmp_path / "killed", config)
    assert (tmp_path / "killed" / "config.json").exists()
    assert same_weights(train(tmp_path / "killed", config), train(tmp_path / "whole", config))


def test_a_run_killed_again_and_again_still_ends_the_same(
    uninterrupted: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        with monkeypatch.context() as patch:
            at_step(patch, 2, kill)
            with pytest.raises(Killed):
                train(tmp_path)
    assert same_weights(train(tmp_path), uninterrupted)


def test_a_frozen_run_and_one_with_dropout_resume_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(CONFIG, protocol="frozen")

    def recognizer() -> Recognizer:
        made = small_recognizer(("ar",), hidden_dropout_prob=0.1)
        made.heads["ar"].decoder.model.decoder.dropout = 0.2
        return made

    whole = train(tmp_path / "whole", config, recognizer=recognizer())
    with monkeypatch.context() as patch:
        at_step(patch, 5, kill)
        with pytest.raises(Killed):
            train(tmp_path / "killed", config, recognizer=recognizer())
    assert same_weights(train(tmp_path / "killed", config, recognizer=recognizer()), whole)


@pytest.mark.parametrize("step", [1, 5])
def test_a_run_with_muon_resumes_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    config = dataclasses.replace(CONFIG, optimizer="muon")
    whole = train(tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        at_step(patch, step, kill)
        with pytest.raises(Killed):
            train(tmp_path / "killed", config)
    assert same_weights(train(tmp_path / "killed", config), whole)


def test_muon_moves_the_matrices_of_layers_otherwise_and_at_first_nothing_else(tmp_path: Path) -> None:
    """The first step is a function of the gradient alone, which is the same."""
    one = dataclasses.replace(CONFIG, steps=1, warmup=0, ema=0.0)
    adamw, muon = (
        dict(train(tmp_path / name, dataclasses.replace(one, optimizer=name)).named_parameters())
        for name in ("adamw", "muon")
    )
    for name, weight in adamw.items():
        assert torch.equal(weight, muon[name]) != (".layers." in name and weight.dim() == 2), name
    assert any(".layers." in name and weight.dim() == 2 for name, weight in adamw.items() if "encoder" in name)
    assert any(".layers." in name and weight.dim() == 2 for name, weight in adamw.items() if "heads.ar" in name)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["SIGINT", "SIGTERM"]
)
@pytest.mark.parametrize("step", [0, 2, 4, 7])
def test_being_told_to_stop_leaves_a_checkpoint_and_the_same_command_goes_on(
    uninterrupted: Recognizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    number: signal.Signals,
    error: type[BaseException],
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: signal.raise_signal(number))
        with pytest.raises(error) as stopped:
            train(tmp_path)
    assert error is KeyboardInterrupt or stopped.value.code == 143
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert load_recognizer(tmp_path).provenance["step"] <= step + 1
    if step == 7:  # the last: it was over
        assert same_weights(load_recognizer(tmp_path), uninterrupted)
        assert not (tmp_path / STATE).exists()
    else:
        resumed = train(tmp_path)
        assert same_weights(resumed, uninterrupted)
        assert without_clock(resumed) == without_clock(uninterrupted)


def test_what_is_ignored_stays_ignored(uninterrupted: Recognizer, tmp_path: Path, monkeypatch: Any) -> None:
    """As a shell has SIGINT ignored by what it runs behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    at_step(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGINT))
    assert same_weights(train(tmp_path), uninterrupted)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_second_interrupt_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second was ignored")

    with monkeypatch.context() as patch:
        at_step(patch, 3, twice)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    assert (tmp_path / STATE).exists()


def test_a_process_killed_for_real_goes_on_in_another(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train_together(Training(), whole, 1) == [0]
    assert train_together(Training(dies=(0, 4)), killed, 1) == [-signal.SIGKILL]
    assert (killed / STATE).exists()
    assert train_together(Training(), killed, 1) == [0]
    assert same_weights(load_recognizer(killed), load_recognizer(whole))
    assert {path.name for path in killed.iterdir()} == {"config.json", "model.safetensors"}


# No longer a number.


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """At the seventh step: one was validated at the third and the sixth, and the state saved at the sixth."""
    loss, calls = CTCHead.loss, iter(range(1000))

    def at_last_no_number(self: CTCHead, *arguments: Any) -> torch.Tensor:
        return loss(self, *arguments) * (value if next(calls) == 6 else 1)

    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(CTCHead, "loss", at_last_no_number)
        with pytest.raises(InputError, match=r"no longer a number at step 6: learning_rate 0.001 is too high"):
            train(tmp_path / "out")
    kept = load_recognizer(tmp_path / "out")
    assert kept.provenance["step"] in (3, 6)
    assert all(weight.isfinite().all() for weight in kept.state_dict().values())
    assert same_weights(train(tmp_path / "out"), whole)  # the state is as good as the checkpoint


def test_a_gradient_that_is_no_number_ends_the_run_before_weights_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = loop.nn.utils.clip_grad_norm_
    monkeypatch.setattr(loop.nn.utils, "clip_grad_norm_", lambda *a: clip(*a) * math.inf)
    trainer = Trainer(small_recognizer(), of_digits(CONFIG), CONFIG, tmp_path)
    before = {name: weight.clone() for name, weight in trainer.recognizer.state_dict().items()}
    with pytest.raises(InputError, match="no longer a number"):
        trainer.fit()
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.recognizer.state_dict().items())


# What stands in the way.


@pytest.fixture
def half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        at_step(patch, 5, kill)
        with pytest.raises(Killed):
            train(tmp_path)
    return tmp_path


def test_a_finished_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    trained = train(tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path} holds a finished recognizer"):
        train(tmp_path)
    assert same_weights(load_recognizer(tmp_path), trained)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 9},
        {"seed": 1},
        {"learning_rate": 2e-3},
        {"augment": 0.5},
        {"protocol": "frozen"},
    ],
)
def test_a_state_of_other_settings_is_refused(half_done: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"{STATE} is of a run with other settings"):
        train(half_done, dataclasses.replace(CONFIG, **change))


def test_a_state_of_another_architecture_or_other_digits_is_refused(half_done: Path) -> None:
    with pytest.raises(InputError, match="a run with other architecture: give another --out, or delete"):
        train(half_done, hidden_size=32)
    with pytest.raises(InputError, match="a run with other data, images, labels: "):
        Trainer(small_recognizer(), of_digits(CONFIG, barred(31)), CONFIG, half_done).fit()


@pytest.mark.parametrize(
    ("split", "change", "words"),
    [
        ("train", {"images": barred(30).images + 1}, "images"),
        ("train", {"labels": barred(30).labels.flip(0)}, "labels"),
        ("validation", {"labels": barred(20).labels.flip(0)}, "labels"),
    ],
)
def test_a_state_of_other_content_under_the_same_names_is_refused(
    half_done: Path, split: str, change: dict[str, Any], words: str
) -> None:
    digits = {"train": barred(30), "validation": barred(20, "validation")}
    digits[split] = dataclasses.replace(digits[split], **change)
    with pytest.raises(InputError, match=f"a run with other {words}: "):
        Trainer(small_recognizer(), of_digits(CONFIG, *digits.values()), CONFIG, half_done).fit()


def test_a_state_of_other_initial_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(seed: int) -> Recognizer:
        init = small_recognizer(seed=seed)
        return Trainer(copy.deepcopy(init), of_digits(CONFIG), CONFIG, tmp_path, init=init).fit()

    with monkeypatch.context() as patch:
        at_step(patch, 5, kill)
        with pytest.raises(Killed):
            run(0)
    with pytest.raises(InputError, match="a run with other initial weights: "):
        run(1)
    run(0)


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_a_truncated_state_is_refused_by_name(half_done: Path, keep: int) -> None:
    state = half_done / STATE
    state.write_bytes(state.read_bytes()[:keep])
    with pytest.raises(InputError, match=rf"{STATE} cannot be used.*delete its folder"):
        train(half_done)


ODD: dict[str, Callable[[dict[str, torch.Tensor], dict[str, str]], Any]] = {
    "weights are zero": lambda tensors, _: [x.zero_() for name, x in tensors.items() if name.startswith("weight/")],
    "a weight has another shape": lambda tensors, _: tensors.update({min(tensors): torch.ones(1, 1)}),
    "moments are lost": lambda tensors, _: [tensors.pop(name) for name in [*tensors] if name.startswith("optimizer/")],
    "the step is another": lambda _, metadata: metadata.update(facts='{"step": 1000000000}'),
    "progress is no table": lambda _, metadata: metadata.update(facts="[]"),
    "there is no metadata": lambda _, metadata: metadata.clear(),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_state_that_was_changed_is_refused_by_name(half_done: Path, odd: str) -> None:
    with safe_open(half_done / STATE, framework="pt") as state:
        metadata, tensors = state.metadata(), {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118
    ODD[odd](tensors, metadata)
    save_file(tensors, half_done / STATE, metadata)
    with pytest.raises(InputError, match=rf"{STATE} cannot be used \(damaged, or of another version\)"):
        train(half_done)


def test_a_flipped_bit_of_a_state_is_not_blamed_on_the_learning_rate(half_done: Path) -> None:
    content = bytearray((half_done / STATE).read_bytes())
    for place in range(8, len(content), len(content) // 20):
        content[place] ^= 64
        (half_done / STATE).write_bytes(content)
        with pytest.raises(InputError, match=rf"{STATE} cannot be used"):
            train(half_done)
        content[place] ^= 64


def test_a_run_killed_while_its_last_part_is_done_goes_on_with_that(
    uninterrupted: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(trained: Recognizer) -> Recognizer:
        kill()
        return trained

    with pytest.raises(Killed):
        Trainer(small_recognizer(), of_digits(CONFIG), CONFIG, tmp_path).fit(finish)
    monkeypatch.setattr(Trainer, "train_step", lambda *_: pytest.fail("all steps were done"))
    finished: list[Recognizer] = []
    trainer = Trainer(small_recognizer(), of_digits(CONFIG), CONFIG, tmp_path)
    trained = trainer.fit(lambda trained: finished.append(trained) or trained)
    assert finished == [trained]
    assert same_weights(trained, uninterrupted)
    assert without_clock(trained) == without_clock(uninterrupted)


def test_a_second_training_into_the_same_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "exclusive", partial(exclusive, seconds=0.0))

    def beside() -> None:
        with pytest.raises(InputError, match=f"another process writes to {tmp_path}"):
            train(tmp_path)

    calls = iter(range(100))
    train(tmp_path, on_step=lambda *_: beside() if next(calls) == 2 else None)


def test_an_ended_run_is_loaded_if_its_inputs_were_the_same(uninterrupted: Recognizer, tmp_path: Path) -> None:
    assert same_weights(train(tmp_path), uninterrupted)
    again = Trainer(small_recognizer(), of_digits(CONFIG), CONFIG, tmp_path).fit_or_load()
    assert same_weights(again, uninterrupted)
    other = Trainer(small_recognizer(), of_digits(CONFIG, barred(31)), CONFIG, tmp_path)
    with pytest.raises(InputError, match="weights of a run with other data, images, labels"):
        other.fit_or_load()


def test_a_state_written_by_something_else_is_refused(half_done: Path) -> None:
    save_file({"x": torch.zeros(1)}, half_done / STATE)
    with pytest.raises(InputError, match=rf"{STATE} cannot be used"):
        train(half_done)


def test_too_few_digits_for_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="30 lines to learn from are fewer than the 31 of a batch"):
        train(tmp_path, dataclasses.replace(CONFIG, length=1, batch_size=31))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "alternating"}, "unknown protocol 'alternating'"),
        ({"steps": 0}, "steps 0"),
        ({"batch_size": -1}, "batch_size -1"),
        ({"validate_every": 0}, "validate_every 0"),
        ({"save_every": 0}, "save_every 0"),
        ({"validation_strings": 0}, "validation_strings 0"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'"),
        ({"learning_rate": math.inf}, "learning_rate inf"),
        ({"ema": math.nan}, "ema nan"),
        ({"length": (1, 2**64)}, "length 18446744073709551616: give a number from 1 to 1,000"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**change)
