"""Encoders with a convolutional stem: lines as wide as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seqocr.errors import InputError
from seqocr.inference.onnx import OnnxRecognizer
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.encoder import Encoder
from seqocr.models.hugging_face import export_hugging_face
from seqocr.models.recognizer import Recognizer
from tests.conftest import SMALL_ENCODER, exported_once, stem_recognizer

HEADS = ("ar", "parallel", "ctc")
STEM = {
    **SMALL_ENCODER,
    "model_type": "deit",
    "image_size": [32, 128],
    "patch_size": [32, 8],
    "stem_channels": [4, 4, 8],
}
WIDTHS = (20, 60, 70, 100, 128, 128, 500, 64)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return stem_recognizer()


def lines() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (32, width), dtype=np.uint8) for width in WIDTHS]


def test_input_may_be_narrower() -> None:
    encoder = Encoder.from_config(STEM)
    features = encoder.features
    assert (features.rows, features.columns, features.prefix, features.narrows) == (1, 16, 0, True)
    for width, columns in ((128, 16), (64, 8)):
        assert encoder(torch.randn(2, 3, 32, width)).shape == (2, columns, features.dim)


def test_features_are_those_of_the_backbone() -> None:
    encoder = Encoder.from_config(STEM).eval()
    pixel_values = torch.randn(2, 3, 32, 96)
    assert torch.equal(encoder(pixel_values), encoder.backbone(pixel_values=pixel_values).last_hidden_state)


def test_columns_keep_their_places() -> None:
    """A column's position is the same, however wide the image is."""
    encoder = Encoder.from_config({**STEM, "num_hidden_layers": 0}).eval()
    wide = torch.randn(1, 3, 32, 128)
    torch.testing.assert_close(encoder(wide[..., :64])[:, :5], encoder(wide)[:, :5])  # later ones see the end


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": [32, 16]}, "columns of 8 pixels"),
        ({"patch_size": [16, 8]}, "columns of 8 pixels"),
        ({"image_size": [36, 128], "patch_size": [36, 8]}, "columns of 8 pixels"),
        ({"stem_channels": [0, 4, 8]}, "stem channels"),
        ({"stem_channels": [4] * 9}, "stem channels"),
    ],
)
def test_stems_that_do_not_fit_the_patch_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Encoder.from_config({**STEM, **change})


@pytest.mark.parametrize("head", HEADS)
def test_a_line_is_read_the_same_whatever_is_beside_it(recognizer: Recognizer, head: str) -> None:
    together = recognizer.decode(lines(), head, batch_size=3)
    assert len(set(together.texts)) > 1, "the test would show nothing"
    for line, text, confidence in zip(lines(), together.texts, together.confidences, strict=True):
        alone = recognizer.decode([line], head)
        assert alone.texts == [text]
        np.testing.assert_allclose(alone.confidences, [confidence], rtol=1e-3)


def test_graphs_take_lines_of_any_width(
    recognizer: Recognizer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    save(recognizer, tmp_path)
    loaded = load_recognizer(tmp_path)
    exported = OnnxRecognizer(exported_once(recognizer, tmp_path_factory))
    assert exported.processor.settings == loaded.processor.settings == recognizer.processor.settings
    for head in HEADS:
        expected = recognizer.decode(lines(), head)
        assert loaded.decode(lines(), head).texts == exported.decode(lines(), head).texts == expected.texts
    for found, expected in zip(exported.log_probs(lines(), "ctc"), recognizer.log_probs(lines(), "ctc"), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_wider_line_may_be_learned_later(recognizer: Recognizer) -> None:
    wider = recognizer.adapted(list(HEADS), image_size=(32, 160), max_length=6)
    assert wider.processor.width == 160
    assert wider.decode(lines()[:3], "ctc").texts == recognizer.decode(lines()[:3], "ctc").texts
    with pytest.raises(InputError, match="another width alone"):
        recognizer.adapted(list(HEADS), image_size=(64, 128))


def test_trocr_has_no_stem(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="convolutional stem"):
        export_hugging_face(recognizer, tmp_path)


def test_the_compact_preset_has_a_stem_and_counts() -> None:
    recognizer = Recognizer.build("compact", HEADS, max_length=24)
    assert recognizer.encoder.has_stem
    assert recognizer.head_settings["parallel"] == {"counts": True}
    assert recognizer.processor.settings["width_multiple"] == 32
    assert len(recognizer.decode(lines(), "parallel").texts) == len(WIDTHS)
