"""A recognizer: one encoder and any set of heads that share it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from seqocr.data.processor import LineImage, Processor
from seqocr.data.sources.datasets import DIGITS
from seqocr.decoding.output import DecodeFunction, DecoderOutput
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.files import read_json, shown
from seqocr.models.encoder import Encoder
from seqocr.models.heads.base import load_matching
from seqocr.models.heads.registry import available_heads, head_class, pairs_of
from seqocr.models.heads.speculative import SpeculativePair
from seqocr.models.limits import CONFIG_ERRORS, check_settings, check_task
from seqocr.models.marks import MarksReader
from seqocr.models.presets import PRESETS
from seqocr.models.pretrained import load_pretrained

_FORMAT = 1  # of config.json; raise it when old checkpoints can no longer be read
_WHAT, _REMEDY = "a recognizer's config", "train or copy it again"


class Recognizer(nn.Module):
    """Reads line images with one encoder and one or more heads.

    Args:
        processor: brings images to the encoder's size.
        heads: keyword arguments of each head's class beyond the common ones, by head name.
        charset, max_length: the symbols, and the longest string, that can be read.
        marks: symbols beyond the charset that `marks_reader` reads beside the heads; none: there is no such reader.
        provenance: how the weights came about (source and number of digits, seed, steps, seconds, device).
    """

    def __init__(
        self,
        encoder: Encoder,
        processor: Processor,
        heads: dict[str, dict[str, Any]],
        charset: str = DIGITS,
        max_length: int = 5,
        provenance: Mapping[str, Any] | None = None,
        marks: str = "",
    ) -> None:
        super().__init__()
        check_task(charset, max_length)
        check_task(marks, max_length)
        self.encoder, self.processor = encoder, processor
        self.charset, self.max_length = charset, max_length
        self.head_settings = heads
        self.heads: Any = nn.ModuleDict(
            {name: head_class(name)(encoder.features, charset, max_length, **more) for name, more in heads.items()}
        )
        self.marks = marks
        self.marks_reader = MarksReader(encoder.features, charset, marks, max_length) if marks else None
        self.provenance = provenance or {}

    @classmethod
    def build(
        cls,
        source: str = "tiny",
        heads: Sequence[str] | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        charset: str = DIGITS,
        max_length: int = 5,
        marks: str = "",
    ) -> Recognizer:
        """A new recognizer, heads untrained.

        Args:
            source: a preset ("tiny", "small"), a hub id such as "microsoft/trocr-small-printed", or a local directory
                in Hugging Face format; the latter two bring pretrained encoder and decoder weights.
            heads: by name; all there are unless given.
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
            more: dict[str, Any] = {"width_multiple": preset.width_multiple, "standardise": preset.standardise}
        else:
            found = load_pretrained(source)
            encoder, decoder, weights = found.encoder, found.decoder, found.decoder_weights
            keep_aspect, mean, std, more = False, found.mean, found.std, {}
            if image_size:
                encoder = encoder.resized(*image_size)
        processor = Processor(
            *encoder.image_size,
            keep_aspect=keep_aspect or image_size is not None,
            mean=mean,
            std=std,
            **more,
        )
        names = available_heads() if heads is None else heads
        settings = {name: head_class(name).default_settings(decoder) for name in names}
        if source in PRESETS:
            settings = {name: own | PRESETS[source].heads.get(name, {}) for name, own in settings.items()}
        recognizer = cls(encoder, processor, settings, charset, max_length, {"encoder": source}, marks)
        for head in recognizer.heads.values():
            if weights is not None and head.trocr_decoder is not None:
                load_matching(head.trocr_decoder, weights)
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
        marks: str | None = None,
        settings: dict[str, dict[str, Any]] | None = None,
    ) -> Recognizer:
        """A copy of the trained weights for another task: what fits it is kept, what does not starts untrained.

        Args:
            heads: by name; one that is not here is new, as in the preset that this was built from.
            image_size, patch: (height, width) other than the encoder's own (see `Encoder.resized`).
            layers: of the encoder, more than its own (see `Encoder.deepened`).
            charset, max_length, marks: other than its own.
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
        new = {name: head_class(name).default_settings(preset.decoder) for name in heads}
        adapted = Recognizer(
            encoder,
            replace(self.processor, height=height, width=width),
            {name: self.head_settings.get(name, new[name]) | (settings or {}).get(name, {}) for name in heads},
            charset or self.charset,
            max_length or self.max_length,
            self.provenance,
            self.marks if marks is None else marks,
        )
        for name in heads:
            if name in self.heads:
                load_matching(adapted.heads[name], self.heads[name].state_dict())
        if adapted.marks_reader is not None and self.marks_reader is not None:
            load_matching(adapted.marks_reader, self.marks_reader.state_dict())
        return adapted.eval()

    @property
    def shown_symbols(self) -> str:
        """Those of `marks_log_probs`, in order; none where there is no reader of marks."""
        return self.charset + self.marks if self.marks else ""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def decode_functions(self) -> dict[str, DecodeFunction]:
        """Of all strategies of its heads and pairs of heads, by name; they take the output of `encode`."""
        both = (*self.heads.values(), *self.pairs().values())
        return {name: decode for each in both for name, decode in each.decode_functions().items()}

    def pairs(self) -> dict[str, SpeculativePair]:
        """Of its heads, for speculative decoding, by name."""
        return pairs_of(self.heads)

    @torch.inference_mode()
    def encode(self, images: torch.Tensor | Sequence[LineImage]) -> torch.Tensor:
        """Features (B, T, D) of line images (see `Processor`)."""
        return self.encoder(self.processor(images).to(self.device))

    @torch.inference_mode()
    def decode(self, images: torch.Tensor | Sequence[LineImage], strategy: str, batch_size: int = 64) -> DecoderOutput:
        """Read line images (see `Processor`), `batch_size` at once; confidences are the head's own, not calibrated.

        Args:
            strategy: a head's name, or another of its strategies ("ar-generate", "ctc-beam").

        Raises:
            InputError: the recognizer has no such strategy, or an image cannot be used.
        """
        functions = self.decode_functions()
        if strategy not in functions:
            raise InputError(f"no head {strategy!r} in this recognizer: it has {', '.join(functions)}")
        return DecoderOutput.of_batches(
            self.processor.batches(images, batch_size),
            lambda batch: self._decode([images[i] for i in batch], functions[strategy]),
        )

    def _decode(self, images: Sequence[LineImage], decode: DecodeFunction) -> DecoderOutput:
        output = decode(features := self.encode(images))
        if self.marks_reader is not None:
            output.shown = self.marks_reader.decode(features).texts
        return output

    def read(self, images: torch.Tensor | Sequence[LineImage], head: str, batch_size: int = 64) -> DecoderOutput:
        """Earlier name of `decode`."""
        warnings.warn("read is now called decode", DeprecationWarning, stacklevel=2)
        return self.decode(images, head, batch_size)

    @torch.inference_mode()
    def log_probs(self, images: Sequence[LineImage], head: str) -> list[np.ndarray]:
        """Of each line (slots or frames, k + 1) float32, of a head whose output is "slots" or "ctc"."""
        return self._lattices(images, self.heads[head])

    def _lattices(self, images: Sequence[LineImage], head: Any) -> list[np.ndarray]:
        return self.processor.by_width(images, lambda some: head.log_probs(self.encode(some)).cpu().numpy())

    @torch.inference_mode()
    def marks_log_probs(self, images: Sequence[LineImage]) -> list[np.ndarray]:
        """Of each line (frames, k + 1) float32: the charset and the marks, then blank."""
        assert self.marks_reader is not None
        return self._lattices(images, self.marks_reader)

    def next_tokens(self, images: torch.Tensor | Sequence[LineImage], head: str) -> list[NextTokenFunction]:
        """A function for each line, of a head whose output is "tokens"."""
        return [self.heads[head].next_token(self.encode([image])) for image in images]

    def config(self) -> dict[str, Any]:
        """All about it but the weights, as JSON has it."""
        return {
            "format": _FORMAT,
            "charset": self.charset,
            "max_length": self.max_length,
            "heads": self.head_settings,
            "encoder": self.encoder.config.to_diff_dict(),
            "processor": self.processor.settings,
            **({"marks": self.marks} if self.marks else {}),
            "provenance": self.provenance,
        }

    @classmethod
    def from_config(cls, path: Path) -> Recognizer:
        """A recognizer from its config.json, untrained.

        Raises:
            InputError: the file is none.
        """
        config = read_json(path, _WHAT, _REMEDY)
        try:
            if config["format"] != _FORMAT:
                raise InputError(f"format {config['format']}, this version reads {_FORMAT}")
            encoder = Encoder.from_config(config["encoder"])
            look: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in config["processor"].items()}
            for settings in config["heads"].values():
                check_settings(settings, settings)
            if not isinstance(config["provenance"], dict):
                raise InputError("its provenance is no table")
            task = {name: config[name] for name in ("heads", "charset", "max_length", "provenance")}
            return cls(encoder, Processor(*encoder.image_size, **look), **task, marks=config.get("marks", ""))
        except CONFIG_ERRORS as error:
            reason = shown(" ".join(str(error).split())[:300])
            raise InputError(f"{shown(path)} is not {_WHAT} ({reason}): {_REMEDY}") from error

    def with_heads(self, names: Sequence[str]) -> Recognizer:
        """The same encoder with only these heads.

        Raises:
            InputError: one of them is not there.
        """
        if missing := [name for name in names if name not in self.heads]:
            raise InputError(f"no head {missing[0]!r} in this recognizer: it has {', '.join(self.heads)}")
        settings = {name: self.head_settings[name] for name in names}
        task: Any = self.charset, self.max_length, self.provenance, self.marks
        chosen = Recognizer(self.encoder, self.processor, settings, *task)
        for name in names:
            chosen.heads[name] = self.heads[name]
        chosen.marks_reader = self.marks_reader
        return chosen
