from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from seqocr.errors import InputError
from seqocr.models.encoder import Encoder, sinusoidal_positions
from tests.conftest import SMALL_ENCODER

KINDS = ("vit", "deit", "beit")


def make(kind: str, **config: Any) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder.from_config({**SMALL_ENCODER, "model_type": kind, **config}).eval()
    for name, p in encoder.named_parameters():
        if "position" in name:  # they start at zero in some of transformers' models, and would hide mistakes
            torch.nn.init.normal_(p)
    return encoder


def pixels(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_features_have_the_shape_that_the_feature_map_says(kind: str) -> None:
    encoder = make(kind, image_size=[28, 84], patch_size=14)
    features = encoder.features
    assert (features.rows, features.columns, features.prefix) == (2, 6, 2 if kind == "deit" else 1)
    assert encoder(pixels(28, 84)).shape == (2, features.tokens, features.dim)


def test_patches_need_not_be_square() -> None:
    encoder = make("deit", image_size=[28, 84], patch_size=[14, 7])
    assert (encoder.features.rows, encoder.features.columns) == (2, 12)
    assert encoder(pixels(28, 84)).shape == (2, encoder.features.tokens, 16)


@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_patch_features_run_by_row(kind: str) -> None:
    """Without attention layers, a patch's feature depends on its own pixels only."""
    encoder = make(kind, num_hidden_layers=0)
    changed = pixels(28, 84)
    changed[:, :, 14:, 70:] += 1  # row 1, column 5
    moved = (encoder(changed) - encoder(pixels(28, 84))).abs().amax(dim=(0, 2)).nonzero().flatten().tolist()
    assert moved == [encoder.features.prefix + 1 * 6 + 5]


@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_resizing_there_interpolates_as_transformers_does(kind: str) -> None:
    encoder = make(kind, image_size=56, patch_size=14)
    for size in (28, 84):
        theirs = encoder.backbone(pixel_values=pixels(size, size), interpolate_pos_encoding=True).last_hidden_state
        ours = encoder.resized(size, size)(pixels(size, size))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_size_is_the_same_encoder(kind: str) -> None:
    encoder = make(kind)
    assert encoder.resized(28, 84) is encoder


@pytest.mark.parametrize("kind", ["vit", "deit"])
@pytest.mark.parametrize("size", [(14, 140), (56, 28), (28, 98)])
def test_resizing_to_any_aspect_keeps_all_other_weights(kind: str, size: tuple[int, int]) -> None:
    encoder = make(kind)
    resized = encoder.resized(*size)
    assert resized.image_size == size
    assert resized(pixels(*size)).shape == (2, resized.features.tokens, 16)
    before, after = encoder.state_dict(), resized.state_dict()
    assert before.keys() == after.keys()
    positions = "backbone.embeddings.position_embeddings"
    for name in before.keys() - {positions}:
        assert torch.equal(before[name], after[name]), name
    prefix = encoder.features.prefix
    assert torch.equal(before[positions][:, :prefix], after[positions][:, :prefix])
    assert encoder.image_size == (28, 84)  # the original is left as it was
    assert resized.training == encoder.training


def test_interpolated_positions_follow_rows_and_columns() -> None:
    """Positions that grow along one axis still do, along the same axis, on a grid of another aspect."""
    encoder = make("deit", image_size=[28, 84])
    columns = torch.arange(6.0).expand(2, 6).reshape(1, 12, 1).expand(-1, -1, 16)
    with torch.no_grad():
        encoder.backbone.embeddings.position_embeddings[:, 2:] = columns
    resized = encoder.resized(56, 42)
    grid = resized.backbone.embeddings.position_embeddings[0, 2:].view(4, 3, 16)
    assert (grid[:, 1:] > grid[:, :-1]).all()
    torch.testing.assert_close(grid, grid[:1].expand_as(grid))


@pytest.mark.parametrize("size", [(30, 84), (28, 83), (0, 84), (7, 84), (-14, 84)])
def test_sizes_that_are_no_multiples_of_the_patch_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"{size[0]}x{size[1]}.*14x14"):
        make("deit").resized(*size)
    with pytest.raises(InputError, match=rf"{size[0]}x{size[1]}.*14x14|image size {size[0]}x{size[1]}"):
        make("deit", image_size=list(size))


def test_beit_has_relative_positions_and_keeps_its_size() -> None:
    encoder = make("beit", image_size=28, patch_size=14, use_relative_position_bias=True)
    with pytest.raises(InputError, match="relative positions"):
        encoder.resized(56, 56)


def test_other_encoders_are_refused() -> None:
    with pytest.raises(InputError, match="swin"):
        Encoder.from_config({"model_type": "swin"})
    with pytest.raises(InputError, match="None"):
        Encoder.from_config({})
    with pytest.raises(InputError, match="bert"):
        Encoder(BertModel(BertConfig(hidden_size=8, num_hidden_layers=0, num_attention_heads=1, vocab_size=5)))


def test_untrained_positions_are_sines_and_cosines_by_row_and_column() -> None:
    encoder = Encoder.from_config({**SMALL_ENCODER, "image_size": [28, 84], "patch_size": [14, 14]})
    positions = encoder.backbone.embeddings.position_embeddings[0, encoder.features.prefix :].view(2, 6, 16)
    x, y = positions[:, :, :8], positions[:, :, 8:]
    assert torch.equal(x[0], x[1])  # the first half tells columns apart and no rows, the second the reverse
    assert torch.equal(y[:, 0], y[:, 5])
    torch.testing.assert_close(x[0, :, 0], torch.arange(6.0).sin())
    torch.testing.assert_close(y[:, 0, 4], torch.arange(2.0).cos())
    torch.testing.assert_close(x[0, 5, 3], torch.tensor(5 * 100 ** (-3 / 4)).sin())


def test_positions_of_a_width_that_is_no_multiple_of_four_end_in_zeros() -> None:
    assert sinusoidal_positions(2, 3, 10).shape == (6, 10)
    assert not sinusoidal_positions(2, 3, 10)[:, 8:].any()


def test_columns_are_kept_and_added_where_a_line_becomes_longer() -> None:
    encoder = make("deit", image_size=[28, 84], patch_size=[28, 7])
    for width, patch, columns in ((140, (28, 7), 20), (280, (40, 10), 28), (56, (28, 7), 8)):
        longer = encoder.resized(patch[0], width, patch, extend=True)
        assert (longer.features.rows, longer.features.columns) == (1, columns)
        before, after = (e.state_dict()["backbone.embeddings.position_embeddings"][0, 2:] for e in (encoder, longer))
        both = min(columns, 12)
        assert torch.equal(after[:both], before[:both])
        torch.testing.assert_close(after[both:], sinusoidal_positions(1, columns, 16)[both:])


def test_resampled_patches_see_about_the_same() -> None:
    """A smooth image, larger, through larger patches."""
    encoder = make("deit", image_size=[28, 84], patch_size=[28, 7])
    weight = encoder.state_dict()["backbone.embeddings.patch_embeddings.projection.weight"]
    smooth = torch.nn.functional.interpolate(torch.randn(weight.shape[0], 3, 4, 2), size=(28, 7), mode="bicubic")
    with torch.no_grad():
        weight.copy_(smooth * 0.1)
    image = torch.nn.functional.interpolate(torch.randn(1, 3, 5, 12), size=(28, 84), mode="bicubic")
    larger = torch.nn.functional.interpolate(image, size=(56, 168), mode="bilinear", align_corners=False)
    expected = encoder.backbone.embeddings.patch_embeddings(image)
    found = encoder.resized(56, 168, (56, 14), extend=True).backbone.embeddings.patch_embeddings(larger)
    assert (found - expected).norm() < 0.1 * expected.norm()


def test_a_size_that_does_not_fit_the_new_patch_is_refused() -> None:
    with pytest.raises(InputError, match="multiples of the encoder's patch, 40x10"):
        make("deit", image_size=[28, 84], patch_size=[28, 7]).resized(40, 325, (40, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_a_deeper_encoder_computes_the_same_until_it_is_trained(kind: str) -> None:
    encoder = make(kind, image_size=[28, 84], patch_size=14)
    deeper = encoder.deepened(encoder.config.num_hidden_layers + 2)
    assert len(deeper.backbone.layers) == len(encoder.backbone.layers) + 2
    torch.testing.assert_close(deeper(pixels(28, 84)), encoder(pixels(28, 84)))
    deeper(pixels(28, 84)).square().sum().backward()
    added = deeper.backbone.layers[-1]
    assert all(layer.weight.grad.abs().sum() > 0 for layer in (added.attention.o_proj, added.mlp.fc2))


def test_layers_are_not_taken_away() -> None:
    with pytest.raises(InputError, match="1 layers: the encoder has 2 already"):
        make("deit", num_hidden_layers=2).deepened(1)
