"""The autoregressive variant as transformers has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, TrOCRProcessor, VisionEncoderDecoderModel

from seqocr.data.folder import LineFolder
from seqocr.data.sequences import SequenceMNIST
from seqocr.data.sources.datasets import embedded_digits
from seqocr.errors import InputError
from seqocr.inference.load import load
from seqocr.inference.shipped import SHIPPED, weights_path
from seqocr.models.checkpoint import load_recognizer
from seqocr.models.hugging_face import export_hugging_face
from seqocr.models.recognizer import Recognizer
from tests.conftest import lively, own_lines, same_decoded, small_recognizer


def read_with_transformers(directory: Path, images: list[Image.Image]) -> list[str]:
    processor = TrOCRProcessor.from_pretrained(directory)
    model = VisionEncoderDecoderModel.from_pretrained(directory)
    ids = model.generate(processor([image.convert("RGB") for image in images], return_tensors="pt").pixel_values)
    return processor.batch_decode(ids, skip_special_tokens=True)


def images_of(strings: SequenceMNIST, count: int) -> list[Image.Image]:
    return [Image.fromarray(strings[i][0].numpy()) for i in range(count)]


@pytest.mark.parametrize("weights", ["tiny", "strings"])
def test_transformers_alone_reads_the_same_strings(tmp_path: Path, weights: str) -> None:
    recognizer = load_recognizer(weights_path(weights))
    export_hugging_face(recognizer, tmp_path)
    digits = embedded_digits()
    images = images_of(SequenceMNIST(digits, (1, recognizer.max_length), count=40, seed=1), 40)
    images += [image.resize((image.width * 3, image.height * 2)) for image in images[:10]]
    images += [image.convert("RGB") for image in images[:5]]
    expected = recognizer.decode(images, "ar").texts
    assert read_with_transformers(tmp_path, images) == expected
    assert len(set(expected)) > 30


@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("charset", ["0123456789", "あ b<é"])
def test_what_was_exported_loads_and_reads_alike(tmp_path: Path, charset: str, keep_aspect: bool) -> None:
    recognizer = small_recognizer(("ar",), charset=charset, max_length=4)
    object.__setattr__(recognizer.processor, "keep_aspect", keep_aspect)
    lively(recognizer)
    folder = LineFolder(own_lines(tmp_path / "lines", 12, charset))
    images, _ = folder.batch(range(12))
    export_hugging_face(recognizer, tmp_path / "out")
    again = load(tmp_path / "out")
    assert isinstance(again, Recognizer)
    assert (again.charset, again.max_length) == (charset, 4)
    expected = recognizer.decode(images, "ar")
    assert same_decoded(again.decode(images, "ar"), expected, tolerance=1e-4)
    assert read_with_transformers(tmp_path / "out", images) == expected.texts


def test_colours_are_read_as_their_grey(tmp_path: Path) -> None:
    recognizer = load_recognizer(SHIPPED)
    export_hugging_face(recognizer, tmp_path)
    exported = load(tmp_path)
    assert isinstance(exported, Recognizer)
    grey = torch.rand(1, 1, 28, 140) * 2 - 1
    other = grey + torch.tensor([0.2, -0.1, 0.0]).view(1, 3, 1, 1)  # 0.299 · 0.2 - 0.587 · 0.1 of brightness more
    brighter = (grey + 0.299 * 0.2 - 0.587 * 0.1).expand(1, 3, 28, 140)
    with torch.inference_mode():
        torch.testing.assert_close(exported.encoder(other), exported.encoder(brighter), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(exported.encoder(brighter), recognizer.encoder(brighter), atol=1e-4, rtol=1e-4)


def test_without_the_autoregressive_head_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no head of this recognizer is TrOCR's decoder: it has ctc"):
        export_hugging_face(small_recognizer(("ctc",)), tmp_path)


def test_a_directory_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    export_hugging_face(small_recognizer(("ar",)), tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is missing"):
        load(tmp_path)


def test_texts_that_cannot_be_written_are_an_error_of_the_exported_tokenizer(tmp_path: Path) -> None:
    """Not padding, which a loss leaves out."""
    export_hugging_face(small_recognizer(("ar",), max_length=3), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer(["123", "9"], padding=True).input_ids == [[1, 2, 3, 11], [9, 11, 12, 12]]
    for text in ("12a", "1234", "1\n2", "\N{REPLACEMENT CHARACTER}"):
        with pytest.raises(Exception, match="WordLevel error"):
            tokenizer(["1", text])
