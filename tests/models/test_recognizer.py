from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqocr.data.sources.datasets import DIGITS
from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.heads.registry import HEADS
from seqocr.models.recognizer import Recognizer
from tests.conftest import lively, same_decoded, small_recognizer


def lines(count: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 28, 84), dtype=torch.uint8, generator=generator)


# Building and choosing.


@pytest.mark.parametrize("head", list(HEADS))
def test_any_charset_goes_through_every_head(head: str, tmp_path: Path) -> None:
    charset = "αβ7 é"
    recognizer = small_recognizer((head,), charset=charset, max_length=3)
    lively(recognizer)
    save(recognizer, tmp_path)
    loaded = load_recognizer(tmp_path)
    decoded = loaded.decode(lines(30), head)
    assert set("".join(decoded.texts)) <= set(charset)
    assert len(set(decoded.texts)) > 1
    assert loaded.heads[head].loss(loaded.encode(lines(2)).clone(), ["é 7", "β"]) > 0
    with pytest.raises(InputError, match="not in the charset"):
        loaded.heads[head].loss(loaded.encode(lines(1)), ["1"])


def test_unknown_heads_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown head 'lstm': choose from ar, parallel, ctc"):
        Recognizer.build("tiny", ["ar", "lstm"])
    with pytest.raises(InputError, match=r"no head 'ctc' in this recognizer: it has ar-generate, ar, ar-nocache"):
        small_recognizer(("ar",)).decode(lines(), "ctc")


def test_with_heads_shares_what_it_keeps() -> None:
    recognizer = small_recognizer()
    chosen = recognizer.with_heads(["ctc"])
    assert list(chosen.heads) == ["ctc"]
    assert chosen.heads["ctc"] is recognizer.heads["ctc"]
    assert chosen.encoder is recognizer.encoder
    assert same_decoded(chosen.decode(lines(), "ctc"), recognizer.decode(lines(), "ctc"))
    assert list(recognizer.heads) == ["ar", "parallel", "ctc"]
    with pytest.raises(InputError, match="no head 'ar' in this recognizer: it has ctc"):
        chosen.with_heads(["ar"])


def test_with_heads_can_be_saved(tmp_path: Path) -> None:
    chosen = small_recognizer().with_heads(["ar"])
    save(chosen, tmp_path)
    assert same_decoded(load_recognizer(tmp_path).decode(lines(), "ar"), chosen.decode(lines(), "ar"))


def test_the_tiny_preset_reads_five_digits() -> None:
    recognizer = Recognizer.build("tiny")
    assert recognizer.encoder.image_size == (28, 140)
    assert (recognizer.charset, recognizer.max_length) == (DIGITS, 5)
    assert not recognizer.training
    images = torch.zeros(2, 28, 140, dtype=torch.uint8)
    for variant in recognizer.decode_functions():
        assert len(recognizer.decode(images, variant).texts) == 2


def test_presets_can_have_another_size() -> None:
    recognizer = Recognizer.build("tiny", ["parallel"], image_size=(56, 70), max_length=2)
    assert recognizer.encoder.image_size == (56, 70)
    assert (recognizer.processor.height, recognizer.processor.width) == (56, 70)
    assert recognizer.encode(lines(2)).shape == (2, 2 + 2 * 10, 160)


@pytest.mark.parametrize("size", [(30, 140), (28, 141), (0, 0), (-28, 140)])
def test_a_size_that_does_not_fit_the_patches_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"image size {size[0]}x{size[1]}"):
        Recognizer.build("tiny", ["parallel"], image_size=size)


# Reading.


@pytest.mark.parametrize("nothing", [[], torch.empty(0, 28, 84, dtype=torch.uint8)])
def test_reading_nothing_gives_nothing(nothing: Any) -> None:
    for variant in small_recognizer().decode_functions():
        decoded = small_recognizer().decode(nothing, variant)
        assert (decoded.texts, len(decoded.confidences), decoded.passes) == ([], 0, 0)


@pytest.mark.parametrize("head", list(HEADS))
def test_batches_do_not_change_what_is_read(head: str) -> None:
    recognizer = small_recognizer()
    lively(recognizer)
    images = lines(11)
    whole = recognizer.decode(images, head, batch_size=64)
    assert len(whole.texts) == 11
    assert same_decoded(whole, recognizer.decode(images, head, batch_size=4), tolerance=1e-4)
    assert same_decoded(whole, recognizer.decode(list(images), head), tolerance=1e-4)
    assert same_decoded(whole, recognizer.decode([image.numpy() for image in images], head), tolerance=1e-4)


def test_lines_of_several_widths_are_read_together() -> None:
    recognizer = small_recognizer()
    images = [torch.zeros(28, 28 * n, dtype=torch.uint8) for n in (1, 2, 3)]
    assert len(recognizer.decode(images, "ctc").texts) == 3


def test_an_image_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match="float32"):
        small_recognizer().decode([torch.zeros(28, 84)], "ctc")


def test_adapting_keeps_what_fits_and_leaves_the_original_alone() -> None:
    start = small_recognizer(max_length=3)
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    longer = start.adapted(["ar", "ctc"], max_length=6)
    assert (list(longer.heads), longer.max_length, longer.charset) == (["ar", "ctc"], 6, start.charset)
    after = longer.state_dict()
    positions = "heads.ar.decoder.model.decoder.embed_positions.weight"
    assert torch.equal(after[positions][: len(before[positions])], before[positions])
    same = [name for name in after if name in before and after[name].shape == before[name].shape]
    assert all(torch.equal(after[name], before[name]) for name in same)
    assert len(same) > 0.8 * len(after)
    with torch.no_grad():
        for p in longer.parameters():
            p.zero_()
    assert all(torch.equal(start.state_dict()[name], tensor) for name, tensor in before.items())


def test_adapting_to_the_same_task_reads_the_same() -> None:
    start = small_recognizer(max_length=3)
    lively(start, scale=0.4)
    images = torch.randint(0, 256, (5, 28, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    again = start.adapted(list(start.heads))
    for head in start.heads:
        assert same_decoded(again.decode(images, head), start.decode(images, head))


def test_adapting_to_other_symbols_starts_their_weights_anew() -> None:
    start = small_recognizer()
    other = start.adapted(list(start.heads), charset="abc")
    assert other.charset == "abc"
    assert other.heads["ctc"].classify.weight.shape[0] == 4
    assert other.decode([torch.zeros(28, 84, dtype=torch.uint8)], "ctc").texts[0].strip("abc") == ""


def test_a_head_that_is_not_there_is_new() -> None:
    ctc = small_recognizer(("ctc",))
    both = ctc.adapted(["ar", "ctc"])
    assert torch.equal(both.heads["ctc"].classify.weight, ctc.heads["ctc"].classify.weight)
    assert both.heads["ar"].decoder.config.decoder_layers == 2  # as the preset "tiny" has it
