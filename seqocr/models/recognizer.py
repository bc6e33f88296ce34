"""A recognizer: one encoder and any set of heads that share it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn

from seqocr.data.processor import LineImage, Processor
from seqocr.data.sources import DIGITS
from seqocr.errors import InputError
from seqocr.files import replacing, write_json
from seqocr.models.autoregressive import AutoregressiveHead
from seqocr.models.base import Decoded, Head, Variant
from seqocr.models.ctc import CTCHead
from seqocr.models.encoder import Encoder
from seqocr.models.parallel import ParallelHead
from seqocr.models.presets import PRESETS
from seqocr.models.pretrained import load_pretrained

HEADS: dict[str, type[Head]] = {head.name: head for head in (AutoregressiveHead, ParallelHead, CTCHead)}
_WEIGHTS = Path(__file__).parent.parent / "weights"
SHIPPED = _WEIGHTS / "tiny"  # reads five digits on a grid: the benchmark's task
READER = _WEIGHTS / "strings"  # reads lines as they come
_FORMAT = 1  # of config.json; raise it when old checkpoints can no longer be read


class Reader:
    """Reads line images. What a trained recognizer and one exported to another runtime have in common.

    Attributes:
        charset: the symbols that can be read.
        max_length: the longest string that can be read.
        heads: by name.
    """

    charset: str
    max_length: int
    heads: Any

    def variants(self) -> dict[str, Variant]:
        """Every way to decode what `encode` gives, by name, over all heads."""
        raise NotImplementedError

    def encode(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:
        """What the variants decode, of B line images (see `Processor`); its first axis is B."""
        raise NotImplementedError

    def to(self, device: Any) -> Any:
        """The same on another device ("cpu", "cuda")."""
        raise NotImplementedError

    @torch.inference_mode()
    def read(self, images: torch.Tensor | Sequence[LineImage], head: str = "parallel", batch_size: int = 64) -> Decoded:
        """Read line images.

        Args:
            images: see `Processor`.
            head: a head, or one of its other variants ("ar-generate", "ctc-beam").
            batch_size: images encoded at once.

        Raises:
            InputError: the head is not part of this recognizer, or an image cannot be used.
        """
        variants = self.variants()
        if head not in variants:
            raise InputError(f"no head {head!r} in this recognizer: it has {', '.join(variants)}")
        starts = range(0, len(images), batch_size)
        parts = [variants[head](self.encode(images[start : start + batch_size])) for start in starts]
        if not parts:
            return Decoded([], torch.empty(0), passes=0)
        texts = [text for part in parts for text in part.texts]
        confidences = torch.cat([part.confidences for part in parts]).cpu()
        return Decoded(texts, confidences, passes=max(part.passes for part in parts))


class Recognizer(nn.Module, Reader):
    """Reads line images with one encoder and one or more heads.

    Args:
        encoder: shared by all heads.
        processor: brings images to the encoder's size.
        heads: keyword arguments of each head's class beyond the common ones, by head name.
        charset: the symbols that can be read.
        max_length: the longest string that can be read.
        provenance: how the weights came about (source and number of digits, seed, steps, seconds, device).
    """

    def __init__(
        self,
        encoder: Encoder,
        processor: Processor,
        heads: dict[str, dict[str, Any]],
        charset: str = DIGITS,
        max_length: int = 5,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if unknown := [name for name in heads if name not in HEADS]:
            raise InputError(f"unknown head {unknown[0]!r}: choose from {', '.join(HEADS)}")
        self.encoder, self.processor = encoder, processor
        self.charset, self.max_length = charset, max_length
        self.head_settings = heads
        self.heads = nn.ModuleDict(
            {name: HEADS[name](encoder.features, charset, max_length, **more) for name, more in heads.items()}
        )
        self.provenance = provenance or {}

    @classmethod
    def build(
        cls,
        source: str = "tiny",
        heads: Sequence[str] = tuple(HEADS),
        *,
        image_size: tuple[int, int] | None = None,
        charset: str = DIGITS,
        max_length: int = 5,
    ) -> Recognizer:
        """A new recognizer, heads untrained.

        Args:
            source: a preset ("tiny", "small"), a hub id such as "microsoft/trocr-small-printed", or a local directory
                in Hugging Face format; the latter two bring pretrained encoder and decoder weights.
            image_size: (height, width) other than the encoder's own: its positions are interpolated, and lines then
                keep their aspect.

        Raises:
            InputError: the source cannot be had, or the size does not fit its patches.
        """
        if source in PRESETS:
            preset = PRESETS[source]
            config = {**preset.encoder, "image_size": list(image_size or preset.encoder["image_size"])}
            encoder, decoder, weights = Encoder.from_config(config), preset.decoder, None
            keep_aspect, mean, std = preset.keep_aspect, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
        else:
            found = load_pretrained(source)
            encoder, decoder, weights = found.encoder, found.decoder, found.decoder_weights
            keep_aspect, mean, std = False, found.mean, found.std
            if image_size:
                encoder = encoder.resized(*image_size)
        processor = Processor(
            *encoder.image_size, keep_aspect=keep_aspect or image_size is not None, mean=mean, std=std
        )
        settings = {name: dict(decoder) if name == "ar" else {} for name in heads}
        recognizer = cls(encoder, processor, settings, charset, max_length, {"encoder": source})
        if weights and "ar" in recognizer.heads:
            _load_what_fits(recognizer.heads["ar"].decoder, weights)
        return recognizer.eval()

    def adapted(
        self,
        heads: Sequence[str],
        *,
        image_size: tuple[int, int] | None = None,
        patch: tuple[int, int] | None = None,
        layers: int | None = None,
        charset: str | None = None,
        max_length: int | None = None,
        settings: dict[str, dict[str, Any]] | None = None,
    ) -> Recognizer:
        """A copy of the trained weights for another task: what fits it is kept, what does not starts untrained.

        Args:
            heads: by name; one that is not here is new, as in the preset that this was built from.
            image_size, patch: (height, width) other than the encoder's own (see `Encoder.resized`).
            layers: of the encoder, more than its own (see `Encoder.deepened`).
            charset, max_length: other than its own.
            settings: keyword arguments of heads' classes other than their own, by head name.

        Raises:
            InputError: the size does not fit the patch, or there are more layers already.
        """
        encoder = copy.deepcopy(self.encoder).resized(
            *(image_size or self.encoder.image_size), patch, extend=self.processor.keep_aspect
        )
        if layers is not None:
            encoder = encoder.deepened(layers)
        height, width = encoder.image_size
        preset = PRESETS.get(str(self.provenance.get("encoder")), PRESETS["tiny"])
        new = {name: dict(preset.decoder) if name == "ar" else {} for name in heads}
        adapted = Recognizer(
            encoder,
            replace(self.processor, height=height, width=width),
            {name: {**self.head_settings.get(name, new[name]), **(settings or {}).get(name, {})} for name in heads},
            charset or self.charset,
            max_length or self.max_length,
            self.provenance,
        )
        for name in heads:
            if name in self.heads:
                _load_what_fits(adapted.heads[name], self.heads[name].state_dict())
        return adapted.eval()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def variants(self) -> dict[str, Variant]:
        return {name: decode for head in self.heads.values() for name, decode in head.variants().items()}

    @torch.inference_mode()
    def encode(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:
        """Features (B, T, D) of line images (see `Processor`)."""
        return self.encoder(self.processor(images).to(self.device))

    def save(self, directory: Path | str) -> None:
        """Write `model.safetensors` and `config.json`, each whole or not at all."""
        directory = Path(directory)
        with replacing(directory / "model.safetensors") as temporary:
            # save_file would make the file readable by its owner alone, whatever the umask.
            temporary.write_bytes(to_bytes({name: tensor.contiguous() for name, tensor in self.state_dict().items()}))
        write_json(directory / "config.json", self.config())

    def config(self) -> dict[str, Any]:
        """All about it but the weights, as JSON has it."""
        processor = self.processor
        return {
            "format": _FORMAT,
            "charset": self.charset,
            "max_length": self.max_length,
            "heads": self.head_settings,
            "encoder": self.encoder.config.to_diff_dict(),
            "processor": {"keep_aspect": processor.keep_aspect, "mean": processor.mean, "std": processor.std},
            "provenance": self.provenance,
        }

    @classmethod
    def load(cls, directory: Path | str) -> Recognizer:
        """Read what `save` wrote, or what `export_hugging_face` did.

        Raises:
            InputError: a file is missing, corrupt, or does not fit the other.
        """
        from seqocr.models.hugging_face import is_hugging_face, load_hugging_face

        directory = Path(directory)
        if is_hugging_face(directory):
            return load_hugging_face(directory)
        config_path, weights_path = directory / "config.json", directory / "model.safetensors"
        for path in (config_path, weights_path):
            if not path.is_file():
                raise InputError(f"{path} is missing: give a directory written by `seqocr train`")
        recognizer = cls.from_config(config_path)
        try:
            recognizer.load_state_dict(load_file(weights_path))
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{weights_path} cannot be used ({reason}): train or copy it again") from error
        return recognizer.eval()

    @classmethod
    def from_config(cls, path: Path) -> Recognizer:
        """A recognizer from its config.json, untrained.

        Raises:
            InputError: the file is none.
        """
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            if config["format"] != _FORMAT:
                raise InputError(f"format {config['format']}, this version reads {_FORMAT}")
            encoder = Encoder.from_config(config["encoder"])
            look: dict[str, Any] = {
                name: tuple(v) if isinstance(v, list) else v for name, v in config["processor"].items()
            }
            return cls(
                encoder,
                Processor(*encoder.image_size, **look),
                config["heads"],
                config["charset"],
                config["max_length"],
                config["provenance"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, StrictDataclassError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} is not a recognizer's config ({reason}): train or copy it again") from error

    def with_heads(self, names: Sequence[str]) -> Recognizer:
        """The same encoder with only these heads.

        Raises:
            InputError: one of them is not there.
        """
        if missing := [name for name in names if name not in self.heads]:
            raise InputError(f"no head {missing[0]!r} in this recognizer: it has {', '.join(self.heads)}")
        settings = {name: self.head_settings[name] for name in names}
        chosen = Recognizer(self.encoder, self.processor, settings, self.charset, self.max_length, self.provenance)
        for name in names:
            chosen.heads[name] = self.heads[name]
        return chosen


def averaged(recognizers: Sequence[Recognizer]) -> Recognizer:
    """A recognizer whose weights are the mean of those of runs that went on from one another.

    Each run ends beside a better place that lies between them (stochastic weight averaging, Izmailov et al. 2018). Of
    runs that have nothing in common the mean reads nothing.

    Returns:
        the last one, with other weights, and in its provenance what they are the mean of.

    Raises:
        InputError: there are none, or one is of another architecture.
    """
    if not recognizers:
        raise InputError("no recognizers to average: give two or more")
    *others, last = recognizers
    for other in others:
        if {**other.config(), "provenance": None} != {**last.config(), "provenance": None}:
            raise InputError(
                "recognizers of different architecture, charset or length cannot be averaged: give like ones"
            )
    mean = copy.deepcopy(last)
    weights = [recognizer.state_dict() for recognizer in recognizers]
    mean.load_state_dict({name: torch.stack([each[name] for each in weights]).mean(dim=0) for name in weights[0]})
    mean.provenance = {**last.provenance, "mean_of": [each.provenance.get("command") for each in recognizers]}
    return mean


def _load_what_fits(module: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Weights of the same shape, and positions as far as both go.

    Others depend on the vocabulary, or on how many symbols can be read.
    """
    with torch.no_grad():
        for name, own in module.state_dict().items():
            if own.shape == weights[name].shape:
                own.copy_(weights[name])
            elif name.endswith("embed_positions.weight") and own.shape[1:] == weights[name].shape[1:]:
                rows = min(len(own), len(weights[name]))
                own[:rows] = weights[name][:rows]


def weights_path(name: str | None) -> Path:
    """The directory of weights: of those that come with seqocr ("tiny", "strings", the default), or one of your own."""
    return {"tiny": SHIPPED, "strings": READER, None: READER}.get(name) or Path(str(name))


def load(directory: Path | str | None = None, engine: str = "onnxruntime") -> Reader:
    """A trained recognizer: from a directory written by `Recognizer.save`, or the reader shipped with seqocr.

    Args:
        directory: may also be one written by `seqocr export`, which is then read with `engine`.

    Raises:
        InputError: as `Recognizer.load`.
    """
    from seqocr.runtimes.exported import ExportedRecognizer, is_exported

    path = Path(directory or READER)
    return ExportedRecognizer(path, engine) if is_exported(path) else Recognizer.load(path)
