"""The autoregressive head: its own decoding is Hugging Face's, token for token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.inference.shipped import SHIPPED
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.heads.autoregressive import AutoregressiveHead
from seqocr.models.heads.base import FeatureMap
from seqocr.models.heads.decoder_step import preallocated
from seqocr.models.presets import PRESETS
from tests.conftest import SMALL_DECODER, lively, same_decoded

FEATURES = FeatureMap(dim=24, rows=2, columns=5, prefix=2)  # wider than the decoder
LENGTH = 6

# `small` is microsoft/trocr-small-*'s decoder, `large` is like trocr-large's: positions are sinusoids, no first norm.
DECODERS: dict[str, dict[str, Any]] = {
    "tiny": SMALL_DECODER,
    "small": {
        **PRESETS["small"].decoder,
        "d_model": 16,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 24,
        "max_position_embeddings": 32,
    },
    "large": {
        **SMALL_DECODER,
        "scale_embedding": True,
        "use_learned_position_embeddings": False,
        "layernorm_embedding": False,
    },
    "gelu, another width": {**SMALL_DECODER, "d_model": 32, "activation_function": "gelu"},
}
every_decoder = pytest.mark.parametrize("decoder", list(DECODERS))


def make(decoder: str = "tiny", max_length: int = LENGTH, seed: int = 0) -> AutoregressiveHead:
    torch.manual_seed(seed)
    head = AutoregressiveHead(FEATURES, "0123456789", max_length, **DECODERS[decoder])
    lively(head, seed=seed)
    likely(head, head.begin, -2)  # no trained decoder writes these two
    likely(head, head.pad, -2)
    return head


def likely(head: AutoregressiveHead, symbol: int, how: float) -> None:
    """Make a symbol always likely or unlikely. The output layer has no bias, so one is made of the last norm's."""
    with torch.no_grad():
        rows = head.decoder.output_projection.weight
        direction = torch.full((rows.shape[1],), rows.shape[1] ** -0.5)
        head.decoder.model.decoder.layers[-1].final_layer_norm.bias.copy_(5 * direction)
        others = [i for i in range(len(rows)) if i not in (symbol, head.begin, head.pad)]
        rows[others] -= (rows[others] @ direction)[:, None] * direction
        rows[symbol] = how * direction


def random_features(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, FEATURES.tokens, FEATURES.dim, generator=torch.Generator().manual_seed(seed))


def ending_early(head: AutoregressiveHead, features: torch.Tensor) -> None:
    """Change the output layer's row of the end until some strings end early, at several lengths, and some do not."""
    rows = head.decoder.output_projection.weight
    for seed in range(50):
        with torch.no_grad():
            rows[head.end] = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(seed))
            rows[head.end] -= rows[head.end].mean()
        lengths = {len(text) for text in head.decode(features).texts}
        if len(lengths) > 2 and LENGTH in lengths:
            return
    raise AssertionError("no strings of different lengths: the test would show nothing")


@every_decoder
@pytest.mark.parametrize("batch", [1, 64])
def test_greedy_is_what_generate_does(decoder: str, batch: int) -> None:
    head = make(decoder)
    features = random_features(64)
    ending_early(head, features)
    for part in features.split(batch)[:12]:
        assert same_decoded(head.decode(part), head.decode_with_generate(part))


@every_decoder
@pytest.mark.parametrize("length", [1, 3, LENGTH])
def test_greedy_of_a_forced_length_is_what_generate_does(decoder: str, length: int) -> None:
    head = make(decoder)
    features = random_features(64)
    ending_early(head, features)
    ours = head.decode(features, length=length)
    assert ours.passes == length + 1
    assert same_decoded(ours, head.decode_with_generate(features, length=length))
    assert same_decoded(ours, head.decode_without_cache(features, length=length))


@every_decoder
def test_strings_that_all_end_early_stop_the_passes_early(decoder: str) -> None:
    head = make(decoder)
    features = random_features(64)
    ending_early(head, features)
    by_length: dict[int, list[int]] = {}
    for i, text in enumerate(head.decode(features).texts):
        by_length.setdefault(len(text), []).append(i)
    assert len(by_length) > 2
    for n, members in by_length.items():
        for decode in head.decode_functions().values():
            assert decode(features[members]).passes == n + 1
            assert decode(features[members[:1]]).passes == n + 1


@every_decoder
def test_with_and_without_cache_agree(decoder: str) -> None:
    head = make(decoder)
    features = random_features(64)
    ending_early(head, features)
    assert same_decoded(head.decode(features), head.decode_without_cache(features))


@torch.inference_mode()
def test_logits_of_every_cached_step_are_those_of_the_whole_prefix() -> None:
    for decoder in DECODERS:
        head, features = make(decoder), random_features(3)
        tokens = torch.tensor([[head.begin, 3, 1, 4, 1], [head.begin, 0, 0, 7, 7], [head.begin, 9, 2, 6, 5]])
        whole = head.decoder(input_ids=tokens, encoder_hidden_states=features, use_cache=False).logits
        step = head.step()
        cross, append = step.cross(features), preallocated(step, batch=3, capacity=5)
        steps = torch.stack([step(tokens[:, i], i, cross, append) for i in range(5)], dim=1)
        torch.testing.assert_close(steps, whole, atol=1e-4, rtol=1e-4, msg=decoder)


def test_confidence_is_the_probability_of_the_text_and_its_end() -> None:
    head = make()
    features = random_features(64)
    ending_early(head, features)
    decoded = head.decode(features)
    seen = set()
    for i, text in enumerate(decoded.texts):
        ids = head.encode_text(text)
        tokens = torch.tensor([[head.begin, *ids]])
        logits = head.decoder(input_ids=tokens, encoder_hidden_states=features[i : i + 1], use_cache=False).logits[0]
        if len(text) < LENGTH:
            probs = logits.softmax(1)[torch.arange(len(ids) + 1), torch.tensor([*ids, head.end])]
            assert decoded.confidences[i].item() == pytest.approx(probs.prod().item(), abs=1e-5)
            seen.add(len(text))
    assert len(seen) > 1


def test_teacher_forcing_loss_is_the_mean_over_symbols_and_ends() -> None:
    head, features, texts = make(), random_features(3), ["12", "", "345678"]
    total, count = 0.0, 0
    for i, text in enumerate(texts):
        ids = [int(c) for c in text]
        logits = head.decoder(
            input_ids=torch.tensor([[10, *ids]]), encoder_hidden_states=features[i : i + 1], use_cache=False
        ).logits[0]
        total += F.cross_entropy(logits, torch.tensor([*ids, 11]), reduction="sum").item()
        count += len(ids) + 1
    assert head.loss(features, texts).item() == pytest.approx(total / count, rel=1e-5)


def test_the_next_symbol_depends_on_those_before_it() -> None:
    """What makes the head autoregressive: with the same features, another first symbol changes the second."""
    head, features = make(), random_features(1)
    first, second = (
        head.decoder(input_ids=torch.tensor([[10, x]]), encoder_hidden_states=features, use_cache=False).logits[0, 1]
        for x in (1, 2)
    )
    assert (first - second).abs().max() > 0.1


def test_forced_length_writes_that_many_symbols_even_if_all_would_end() -> None:
    head, features = make(), random_features(4)
    likely(head, head.end, 9)
    for decode in head.decode_functions().values():
        assert decode(features).texts == [""] * 4
        assert decode(features).passes == 1
        assert [len(text) for text in decode(features, length=4).texts] == [4] * 4
        assert decode(features, length=4).passes == 5


def test_a_string_that_never_ends_stops_at_the_longest() -> None:
    head, features = make(), random_features(4)
    likely(head, head.end, -9)
    for decode in head.decode_functions().values():
        decoded = decode(features)
        assert [len(text) for text in decoded.texts] == [LENGTH] * 4
        assert decoded.passes == LENGTH + 1


def test_generate_sees_the_weights_as_they_are_now_and_stays_out_of_the_checkpoint() -> None:
    head, features = make(), random_features(16)
    before = head.decode_with_generate(features)
    names = set(head.state_dict())
    assert names == set(make().state_dict())
    lively(head, seed=5)
    after = head.decode_with_generate(features)
    assert after.texts != before.texts
    assert same_decoded(after, head.decode(features))


@pytest.mark.parametrize("how", ["in place", "loaded", "replaced"])
def test_decoding_sees_the_weights_as_they_are_now(how: str) -> None:
    head, other, features = make(), make(seed=5), random_features(16)
    before, names = head.decode(features), set(head.state_dict())
    if how == "in place":
        with torch.no_grad():
            for p, q in zip(head.parameters(), other.parameters(), strict=True):
                p.copy_(q)
    elif how == "loaded":
        head.load_state_dict(other.state_dict())
    else:
        head.decoder = other.decoder
    assert head.decode(features).texts != before.texts
    assert same_decoded(head.decode(features), other.decode(features))
    assert set(head.state_dict()) == names


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no weights are shipped in this tree")
@pytest.mark.parametrize("batch", [1, 64])
def test_greedy_is_what_generate_does_on_the_shipped_weights(batch: int) -> None:
    recognizer = load_recognizer(SHIPPED)
    head = recognizer.heads["ar"]
    assert isinstance(head, AutoregressiveHead)
    strings = SequenceMNIST(embedded_digits(), (1, recognizer.max_length), count=64 if batch == 64 else 8)
    features = recognizer.encode(strings.batch(range(len(strings)))[0])
    for part in features.split(batch):
        assert same_decoded(head.decode(part), head.decode_with_generate(part), tolerance=1e-4)
        assert same_decoded(head.decode(part), head.decode_without_cache(part), tolerance=1e-4)


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no weights are shipped in this tree")
def test_shipped_weights_read_digits_they_have_never_seen() -> None:
    recognizer = load_recognizer(SHIPPED)
    strings = SequenceMNIST(embedded_digits(), recognizer.max_length, count=100)
    images, texts = strings.batch(range(100))
    for head in recognizer.heads:
        right = sum(a == b for a, b in zip(recognizer.decode(images, head).texts, texts, strict=True))
        assert right >= 90, head
