"""Trained layers under another stem."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqocr.data.mixture import DataMixture
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.recognizer import Recognizer
from seqocr.train import recipe
from seqocr.train.config import DistributedConfig, Source, Start, TrainConfig
from seqocr.train.features import FeatureLoss, take_over
from seqocr.train.loop import Trainer
from tests.conftest import barred, small_recognizer, stem_recognizer

COLUMNS = {"image_size": [40, 120], "patch_size": [40, 10]}  # each shows a quarter of the height, as the stem's do


@pytest.fixture(autouse=True)
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(split: str, dataset: str = "mnist", root: Path | None = None) -> object:
        return barred({"train": 400, "validation": 200, "test": 90}[split], split)

    monkeypatch.setattr("seqocr.data.sources.datasets.load_digits", load)


@pytest.fixture
def teacher() -> Recognizer:
    return small_recognizer(seed=3, **COLUMNS)


def mixture() -> DataMixture:
    return recipe.build_mixture(TrainConfig(length=(1, 3)), recipe.load_splits())


def test_layers_positions_and_heads_are_taken_over_as_far_as_they_fit(teacher: Recognizer) -> None:
    student = stem_recognizer()
    before = {name: p.clone() for name, p in student.state_dict().items()}
    take_over(student, teacher)
    own, others = student.state_dict(), teacher.state_dict()
    assert all(torch.equal(own[name], others[name]) for name in own if "backbone.layers." in name)
    positions = "encoder.backbone.embeddings.position_embeddings"
    assert torch.equal(own[positions][:, :12], others[positions][:, 2:])
    assert torch.equal(own[positions][:, 12:], before[positions][:, 12:])  # it sees more columns than the teacher
    token = "heads.ar.decoder.model.decoder.embed_tokens.weight"
    assert torch.equal(own[token], others[token])
    assert torch.equal(own["marks_reader.classify.weight"], before["marks_reader.classify.weight"])


@pytest.mark.parametrize(
    "unlike",
    [
        {"image_size": [40, 120], "patch_size": [40, 20]},
        {"image_size": [40, 120], "patch_size": [20, 10]},
        {**COLUMNS, "num_hidden_layers": 2},
        {**COLUMNS, "hidden_size": 32},
    ],
)
def test_layers_of_another_shape_are_refused(unlike: dict[str, object]) -> None:
    with pytest.raises(InputError, match="--layers-of takes weights with the layers of --encoder"):
        take_over(stem_recognizer(), small_recognizer(**unlike))


def test_the_encoder_learns_the_features_and_nothing_else_changes(teacher: Recognizer, tmp_path: Path) -> None:
    student = stem_recognizer()
    take_over(student, teacher)
    heads = {name: p.clone() for name, p in student.state_dict().items() if not name.startswith("encoder")}
    of_teacher = {name: p.clone() for name, p in teacher.state_dict().items()}
    losses: list[float] = []
    config = TrainConfig(
        protocol="features", length=(1, 3), steps=60, batch_size=16, warmup=5, learning_rate=5e-3, precision="float32"
    )
    Trainer(student, mixture(), config, tmp_path, teacher=teacher, on_step=lambda step, loss: losses.append(loss)).fit()
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    trained = load_recognizer(tmp_path).state_dict()
    assert all(torch.equal(trained[name], p) for name, p in heads.items())
    assert all(torch.equal(teacher.state_dict()[name], p) for name, p in of_teacher.items())


def test_shards_add_up_to_the_batch(teacher: Recognizer, tmp_path: Path) -> None:
    config = TrainConfig(protocol="features", length=(1, 3), steps=3, batch_size=16, warmup=1, precision="float32")
    found = []
    for shards in (1, 2):
        student, losses = stem_recognizer(), []
        take_over(student, teacher)
        Trainer(
            student, mixture(), config, tmp_path / str(shards), teacher=teacher,
            sharding=DistributedConfig(shards=shards), on_step=lambda step, loss, to=losses: to.append(loss),
        ).fit()  # fmt: skip
        found.append(losses)
    assert found[0] == pytest.approx(found[1], rel=0.2)  # each part by its own variance


def test_lines_wider_than_the_teacher_sees_are_left_out(teacher: Recognizer) -> None:
    student = stem_recognizer()
    loss = FeatureLoss(student, teacher)(torch.randn(2, 3, 32, 128), torch.randn(2, 3, 40, 120))
    assert loss.item() == 0
    loss.backward()  # gradients are there, for processes that wait for them
    gradients = [p.grad for p in student.encoder.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)
    assert FeatureLoss(student, teacher)(torch.randn(2, 3, 32, 96), torch.randn(2, 3, 40, 120)).item() > 0


def test_a_run_names_whose_layers_it_took_over(
    teacher: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher.provenance = {"command": "the teacher's"}
    save(teacher, tmp_path / "teacher")
    monkeypatch.setattr(Recognizer, "build", lambda *_, **__: stem_recognizer())
    config = TrainConfig(protocol="features", length=(1, 3), steps=2, batch_size=8, warmup=1, precision="float32")
    start = Start(encoder="compact", layers_of=str(tmp_path / "teacher"))
    [(_, trained)] = recipe.train(config, start, Source(), tmp_path / "out")
    assert trained.provenance["init"]["command"] == "the teacher's"


def test_features_need_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name them with --layers-of"):
        list(recipe.train(TrainConfig(protocol="features"), Start(), Source(), tmp_path))
    with pytest.raises(InputError, match="give one of both"):
        Start(init="strings", layers_of="strings")
