"""TrOCR checkpoints in Hugging Face format: from a directory, from a hub, and when neither is there."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DeiTConfig,
    DeiTModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    TrOCRConfig,
    TrOCRForCausalLM,
    VisionEncoderDecoderModel,
    ViTImageProcessor,
)

from seqocr.errors import InputError
from seqocr.models.checkpoint import load_recognizer, save
from seqocr.models.pretrained import load_pretrained
from seqocr.models.recognizer import Recognizer
from tests.conftest import SMALL_DECODER, SMALL_ENCODER, same_decoded
from tests.hub import hub as hub_of
from tests.hub import with_hub

ENCODER = {**SMALL_ENCODER, "image_size": 28, "patch_size": 14}
DECODER = {**SMALL_DECODER, "d_model": 24, "scale_embedding": True, "max_position_embeddings": 20}


def checkpoint(directory: Path, decoder: PreTrainedModel | None = None) -> Path:
    """A random TrOCR of a few thousand weights; like those on the hub, its encoder has a pooling layer."""
    torch.manual_seed(0)
    encoder = DeiTModel(DeiTConfig(**{k: v for k, v in ENCODER.items() if k != "model_type"}))
    torch.nn.init.normal_(encoder.embeddings.position_embeddings)
    decoder = decoder or TrOCRForCausalLM(
        TrOCRConfig(**DECODER, vocab_size=50, cross_attention_hidden_size=16, tie_word_embeddings=False)
    )
    VisionEncoderDecoderModel(encoder=encoder, decoder=decoder).save_pretrained(directory)
    size = {"height": 28, "width": 28}
    ViTImageProcessor(size=size, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def trocr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("trocr"))


@pytest.fixture
def copy(trocr: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trocr, tmp_path / "copy")


def images() -> torch.Tensor:
    return torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_checkpoint_brings_encoder_decoder_and_normalisation(trocr: Path) -> None:
    recognizer = Recognizer.build(str(trocr), max_length=4)
    original = VisionEncoderDecoderModel.from_pretrained(trocr).eval()
    processor = recognizer.processor
    assert (processor.mean, processor.std) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    assert (processor.height, processor.width, processor.keep_aspect) == (28, 28, False)
    theirs = ViTImageProcessor.from_pretrained(trocr)(
        [image.expand(3, -1, -1) for image in images()], return_tensors="pt"
    )
    torch.testing.assert_close(processor(images()), theirs["pixel_values"], atol=1e-5, rtol=0)
    features = original.encoder(pixel_values=theirs["pixel_values"]).last_hidden_state
    torch.testing.assert_close(recognizer.encode(images()), features, atol=1e-5, rtol=1e-4)
    assert recognizer.provenance == {"encoder": str(trocr)}
    for variant in recognizer.decode_functions():
        assert len(recognizer.decode(images(), variant).texts) == 3


def test_decoder_weights_are_kept_but_for_the_vocabulary(trocr: Path) -> None:
    found = load_pretrained(str(trocr)).decoder_weights
    own = Recognizer.build(str(trocr), ["ar"], max_length=4).heads["ar"].decoder.state_dict()
    assert own.keys() == found.keys()
    of_the_vocabulary = {name for name in own if own[name].shape != found[name].shape}
    assert of_the_vocabulary == {"model.decoder.embed_tokens.weight", "output_projection.weight"}
    assert {own[name].shape for name in of_the_vocabulary} == {(13, 24)}
    for name in own.keys() - of_the_vocabulary:
        assert torch.equal(own[name], found[name]), name


def test_decoder_settings_are_kept(trocr: Path) -> None:
    config = Recognizer.build(str(trocr), ["ar"]).heads["ar"].decoder.config
    for name, value in DECODER.items():
        assert getattr(config, name) == value, name


def test_a_checkpoint_can_be_resized_to_a_line(trocr: Path) -> None:
    recognizer = Recognizer.build(str(trocr), image_size=(28, 84), max_length=3)
    assert recognizer.encoder.image_size == (28, 84)
    assert recognizer.processor.keep_aspect
    assert recognizer.encode(torch.zeros(2, 28, 84, dtype=torch.uint8)).shape == (2, 2 + 2 * 6, 16)
    square = Recognizer.build(str(trocr), max_length=3)
    ours, theirs = recognizer.encoder.backbone.state_dict(), square.encoder.backbone.state_dict()
    assert ours.keys() == theirs.keys()
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed == {"embeddings.position_embeddings"}
    with pytest.raises(InputError, match="image size 30x84"):
        Recognizer.build(str(trocr), image_size=(30, 84))


@pytest.mark.parametrize("size", [None, (14, 56)])
def test_what_began_as_a_checkpoint_is_saved_and_loaded_like_any_other(
    trocr: Path, tmp_path: Path, size: tuple[int, int] | None
) -> None:
    recognizer = Recognizer.build(str(trocr), image_size=size)
    save(recognizer, tmp_path)
    loaded = load_recognizer(tmp_path)
    assert loaded.processor == recognizer.processor
    for variant in recognizer.decode_functions():
        assert same_decoded(loaded.decode(images(), variant), recognizer.decode(images(), variant), tolerance=0)


def test_a_checkpoint_without_image_processor_has_trocrs_normalisation(copy: Path) -> None:
    for path in copy.glob("*processor*"):
        path.unlink()
    assert Recognizer.build(str(copy), ["ctc"]).processor.mean == (0.5, 0.5, 0.5)


def test_pickled_weights_are_refused(copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"copy is not a TrOCR checkpoint.*model\.safetensors"):
        load_pretrained(str(copy))


@pytest.mark.parametrize("keep", [0, 50, 4000])
def test_truncated_checkpoints_are_refused(copy: Path, keep: int) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(InputError, match="copy is not a TrOCR checkpoint"):
        load_pretrained(str(copy))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("", r"config\.json is not JSON that can be read"),
        ('{"a":' * 100_000, r"config\.json is not JSON .*nested too deep"),
        ("[]", "is not a TrOCR checkpoint"),
        ('{"model_type": "bert"}', r"is not a TrOCR checkpoint .*'bert'"),
        ('{"model_type": "vision-encoder-decoder"}', "is not a TrOCR checkpoint"),
    ],
)
def test_other_configs_are_refused(copy: Path, config: str, words: str) -> None:
    (copy / "config.json").write_text(config)
    with pytest.raises(InputError, match=f"copy.*{words}"):
        load_pretrained(str(copy))


def changed(checkpoint: Path, part: str, **settings: Any) -> None:
    path = checkpoint / "config.json"
    config = json.loads(path.read_text())
    (config[part] if part else config).update(settings)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("encoder", "hidden_size", 0, "hidden size 0: give a whole number from 1 to 8,192"),
        ("encoder", "hidden_size", -1, "hidden size -1"),
        ("encoder", "hidden_size", 10**9, "hidden size 1000000000"),
        ("encoder", "hidden_size", 15, "not a TrOCR checkpoint"),  # not so many times the heads
        ("encoder", "hidden_size", "16", "hidden size 16"),
        ("encoder", "num_hidden_layers", 10**9, "num hidden layers 1000000000"),
        ("encoder", "num_attention_heads", 0, "num attention heads 0"),
        ("encoder", "patch_size", 0, "patch size 0"),
        ("encoder", "patch_size", [14, 0], "patch size"),
        ("encoder", "image_size", 10**9, "image size"),
        ("encoder", "hidden_act", "no such", "not a TrOCR checkpoint"),
        ("encoder", "model_type", "swin", "not one of deit, vit, beit"),
        ("decoder", "decoder_layers", 10**9, "decoder layers"),
        ("decoder", "d_model", 0, "d model 0"),
        ("decoder", "decoder_attention_heads", 7, "not a TrOCR checkpoint"),
        ("decoder", "max_position_embeddings", 10**9, "max position embeddings"),
        ("decoder", "vocab_size", 1, "not a TrOCR checkpoint"),
        ("encoder", "intermediate_size", 30_000, "describes [0-9,]+ weights, there are"),
        ("", "encoder", [], "is no table of settings"),
    ],
)
def test_configs_out_of_bounds_are_refused_before_memory_is_taken(
    copy: Path, part: str, name: str, value: Any, words: str
) -> None:
    changed(copy, part, **{name: value})
    with pytest.raises(InputError, match=f"copy.*{words}"):
        load_pretrained(str(copy))


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a pickle fails in a way that nobody catches."""

    def never(*_: object, **__: object) -> None:
        pytest.fail("a pickle was opened")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, never)


def sharded(copy: Path, second: str) -> None:
    """The weights in two files, the second under a name of choice, as torch pickles them if that is no safetensors."""
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[:20], second: names[20:]}
    for file, held in parts.items():
        part = {name: weights[name] for name in held}
        if file.endswith(".safetensors"):
            save_file(part, copy / file)
        else:
            torch.save(part, copy / file)
    index = {"metadata": {}, "weight_map": {name: file for file, held in parts.items() for name in held}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_of_safetensors_are_one_checkpoint(trocr: Path, copy: Path) -> None:
    sharded(copy, "model-00002-of-00002.safetensors")
    found, whole = load_pretrained(str(copy)), load_pretrained(str(trocr))
    for name, weight in whole.decoder_weights.items():
        assert torch.equal(found.decoder_weights[name], weight)
    for name, weight in whole.encoder.state_dict().items():
        assert torch.equal(found.encoder.state_dict()[name], weight)
    (copy / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model-00002-of-00002\.safetensors"):
        load_pretrained(str(copy))


@pytest.mark.parametrize("name", ["model.bin", "model.PT", "model.pkl", "model.ckpt", "model.pth", "m.pickle"])
def test_an_index_that_names_a_pickle_is_refused_before_it_is_opened(copy: Path, name: str, no_pickle: None) -> None:
    sharded(copy, name)
    for load in (load_pretrained, load_recognizer):
        with pytest.raises(InputError, match=f"copy names a pickle, '{name}'"):
            load(str(copy))


@pytest.mark.parametrize("part", ["", "encoder", "decoder"])
def test_a_config_that_names_a_pickle_is_refused(copy: Path, part: str, no_pickle: None) -> None:
    changed(copy, part, transformers_weights="adapter_model.bin")
    with pytest.raises(InputError, match=r"names a pickle, 'adapter_model\.bin'"):
        load_pretrained(str(copy))


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.safetensors", "model", "a\nb.safetensors", 5])
def test_an_index_that_names_other_places_is_refused(copy: Path, name: Any, no_pickle: None) -> None:
    sharded(copy, "model-00002-of-00002.safetensors")
    path = copy / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = dict.fromkeys(index["weight_map"], name)
    path.write_text(json.dumps(index))
    with pytest.raises(InputError, match="copy is not a TrOCR checkpoint"):
        load_pretrained(str(copy))


def test_settings_that_would_fetch_something_are_not_handed_on(copy: Path) -> None:
    odd = {"quantization_config": {"quant_method": "bitsandbytes"}, "auto_map": {"AutoModel": "x.y"}}
    changed(copy, "", **odd, use_kernels=True)
    changed(copy, "encoder", **odd, attn_implementation="some/kernels", _attn_implementation="some/kernels")
    config = load_pretrained(str(copy)).encoder.config
    assert not hasattr(config, "quantization_config")
    assert config._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize("change", ["missing", "shape", "nan", "infinite"])
def test_weights_that_do_not_fit_or_are_no_numbers_are_refused(
    copy: Path, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(copy / "model.safetensors")
    name = "encoder.layernorm.weight"
    if change == "missing":
        del weights[name]
    elif change == "shape":
        weights[name] = weights[name][:3].clone()
    else:
        weights[name][0] = float("nan" if change == "nan" else "inf")
    save_file(weights, copy / "model.safetensors")
    words = {"missing": f"1 weights are missing, {name}", "shape": "size"}.get(change, f"no numbers .*{name}")
    with pytest.raises(InputError, match=f"copy is not a TrOCR checkpoint .*{words}"):
        load_pretrained(str(copy))
    assert capfd.readouterr() == ("", "")


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a TrOCR checkpoint"):
        load_pretrained(str(tmp_path))


def test_another_decoder_is_refused(tmp_path: Path) -> None:
    gpt2 = GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, n_positions=8, add_cross_attention=True)
    )
    checkpoint(tmp_path, gpt2)
    with pytest.raises(InputError, match=r"gpt2 decoder, not TrOCR's"):
        load_pretrained(str(tmp_path))


# A hub on this machine. HF_ENDPOINT is read at import, so these run in processes of their own.


@pytest.fixture
def hub(trocr: Path, tmp_path: Path) -> Iterator[str]:
    shutil.copytree(trocr, tmp_path / "hub" / "some" / "trocr")
    with hub_of(tmp_path / "hub") as address:
        yield address


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


LOAD = """
import json, sys, time
from seqocr.errors import InputError
from seqocr.models.recognizer import Recognizer
facts = {}
for name in sys.argv[1:]:
    start = time.monotonic()
    try:
        recognizer = Recognizer.build(name, ["ar"], max_length=3)
        total = sum(p.double().sum().item() for p in recognizer.encoder.parameters())
        facts[name] = {"sum": total, "mean": recognizer.processor.mean}
    except InputError as error:
        facts[name] = {"error": str(error)}
    facts[name]["seconds"] = time.monotonic() - start
print(json.dumps(facts))
"""


def test_a_hub_is_used_and_later_not_needed(hub: str, trocr: Path, tmp_path: Path) -> None:
    online = with_hub(["-c", LOAD, "some/trocr", "no/such"], hub, tmp_path)
    assert online.returncode == 0, online.stderr
    facts = json.loads(online.stdout.splitlines()[-1])
    local = Recognizer.build(str(trocr), ["ar"], max_length=3)
    total = sum(p.double().sum().item() for p in local.encoder.parameters())
    assert facts["some/trocr"]["sum"] == pytest.approx(total)
    assert facts["some/trocr"]["mean"] == [0.4, 0.5, 0.6]
    assert "'no/such' is no preset and no directory here" in facts["no/such"]["error"]

    offline = with_hub(["-c", LOAD, "some/trocr"], closed_port(), tmp_path)
    assert offline.returncode == 0, offline.stderr
    later = json.loads(offline.stdout.splitlines()[-1])["some/trocr"]
    assert later["sum"] == facts["some/trocr"]["sum"]
    assert later["mean"] == [0.4, 0.5, 0.6]


def test_without_a_hub_the_command_line_says_what_to_do_within_seconds(tmp_path: Path) -> None:
    endpoint, start = closed_port(), time.monotonic()
    command = ["-m", "seqocr", "train", "--encoder", "some/trocr", "--out", str(tmp_path / "out")]
    done = with_hub(command, endpoint, tmp_path)
    assert time.monotonic() - start < 60
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: 'some/trocr' is no preset and no directory here")
    for advice in (endpoint, "hf download some/trocr", "tiny, small"):
        assert advice in line
    assert not (tmp_path / "out").exists()
