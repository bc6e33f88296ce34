"""Autoregressive head: TrOCR's own decoder (Li et al. 2021) over a digit vocabulary."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationConfig, TrOCRConfig, TrOCRForCausalLM, VisionEncoderDecoderModel, ViTConfig, ViTModel
from transformers.modeling_outputs import BaseModelOutput

from seqocr.decoding.output import DecoderOutput, TraceFunction
from seqocr.decoding.search import NextTokenFunction
from seqocr.decoding.tokens import TokenVocabulary
from seqocr.models.graph import Graph
from seqocr.models.heads.base import FeatureMap, Strategy, full_precision
from seqocr.models.heads.decoder_graphs import CrossGraph, StepGraph
from seqocr.models.heads.decoder_step import DecoderStep, KeysValues, growing_cache, preallocated, watched
from seqocr.models.heads.token_head import TokenHead
from seqocr.models.limits import DECODER_SETTINGS, check_settings


class AutoregressiveHead(TokenHead):
    """`TrOCRForCausalLM` whose vocabulary is the charset, then begin, end and pad.

    Args:
        decoder: keyword arguments of `TrOCRConfig` (`DECODER_SETTINGS`); vocabulary, special tokens and the
            cross-attention width are set here.
    """

    name = "ar"
    imposes_length = verifies_drafts = True
    strategies: ClassVar[tuple[Strategy, ...]] = (
        Strategy("ar-generate", "ar-generate (Hugging Face)", "decode_with_generate"),
        Strategy("ar", "ar (KV cache)"),
        Strategy("ar-nocache", "ar without cache", "decode_without_cache"),
    )

    def __init__(self, features: FeatureMap, charset: str, max_length: int, **decoder: Any) -> None:
        super().__init__(features, charset, max_length)
        positions = max(max_length + 1, decoder.get("max_position_embeddings", 0))
        self.vocabulary = TokenVocabulary(charset, max_length, positions)
        config = {
            **check_settings(decoder, DECODER_SETTINGS),
            "vocab_size": len(charset) + 3,
            "bos_token_id": self.begin,
            "decoder_start_token_id": self.begin,
            "eos_token_id": self.end,
            "pad_token_id": self.pad,
            "cross_attention_hidden_size": features.dim,
            "max_position_embeddings": positions,
            "tie_word_embeddings": False,
        }
        self.decoder: Any = TrOCRForCausalLM(TrOCRConfig(**config))
        # In lists, so that they are not submodules.
        self._generator: list[VisionEncoderDecoderModel] = []
        self._step: list[Any] = []

    @classmethod
    def settings_for_length(cls, length: int, settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, "max_position_embeddings": max(length + 1, settings.get("max_position_embeddings", 0))}

    @classmethod
    def default_settings(cls, decoder: dict[str, Any]) -> dict[str, Any]:
        return dict(decoder)

    @torch.no_grad()
    def make_constant(self) -> None:
        self.decoder.output_projection.weight.zero_()  # of equals, the first is the likeliest

    @property
    def trocr_decoder(self) -> Any:
        return self.decoder

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Teacher forcing: cross-entropy of every symbol, and of the end, given those before it."""
        rows = [[*self.encode_text(text), self.end] for text in texts]
        longest = max(map(len, rows))
        targets = torch.tensor([row + [-100] * (longest - len(row)) for row in rows], device=features.device)
        return F.cross_entropy(full_precision(self._teacher_forced(features, texts)).flatten(0, 1), targets.flatten())

    def distillation_loss(self, features: torch.Tensor, texts: list[str], temperature: float) -> torch.Tensor:
        return self.soft_cross_entropy(
            self._teacher_forced(features, texts), texts, [[self.end]] * len(texts), temperature
        )

    def _teacher_forced(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Logits (B, longest + 1, vocabulary) of each symbol of the texts, and of the end."""
        rows = [[self.begin, *self.encode_text(text)] for text in texts]
        longest = max(map(len, rows))
        inputs = torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], device=features.device)
        return self.decoder(input_ids=inputs, encoder_hidden_states=features, use_cache=False).logits

    @torch.inference_mode()
    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        """Greedy, one pass a token, keys and values of both attentions cached (`DecoderStep`)."""
        return self.greedy(self._cached_step(features, length), len(features), length)

    @torch.inference_mode()
    def decode_traced(self, features: torch.Tensor, trace: TraceFunction) -> DecoderOutput:
        logits_of = self._cached_step(features, None)

        def traced(tokens: torch.Tensor) -> torch.Tensor:
            trace("decoded", self.text_of(tokens[0, -1:].tolist()))  # known since the last pass; at first, no symbol
            return logits_of(tokens)

        return self.greedy(traced, 1)

    def _cached_step(self, features: torch.Tensor, length: int | None) -> Callable[[torch.Tensor], torch.Tensor]:
        step = self.step()
        cross, append = step.cross(features), preallocated(step, len(features), self.vocabulary.budget(length))
        return lambda tokens: step(tokens[:, -1], tokens.shape[1] - 1, cross, append)

    @torch.inference_mode()
    def decode_without_cache(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        """Greedy, each pass over the whole prefix again: what the caches save."""

        def logits(tokens: torch.Tensor) -> torch.Tensor:
            return self.decoder(input_ids=tokens, encoder_hidden_states=features, use_cache=False).logits[:, -1]

        return self.greedy(logits, len(features), length)

    @torch.inference_mode()
    def decode_with_generate(
        self, features: torch.Tensor, length: int | None = None, cache: str | None = None
    ) -> DecoderOutput:
        """Hugging Face `generate`, as most people run TrOCR today.

        Args:
            cache: `cache_implementation` of `GenerationConfig`, such as "static".
        """
        settings = GenerationConfig(
            max_new_tokens=self.vocabulary.budget(length),
            min_new_tokens=length,
            do_sample=False,
            num_beams=1,
            decoder_start_token_id=self.begin,
            bos_token_id=self.begin,
            eos_token_id=self.end,
            pad_token_id=self.pad,
            return_dict_in_generate=True,
            output_logits=True,
            cache_implementation=cache,
        )
        result = self.generator().generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=features), generation_config=settings
        )
        return self.decoded(result.sequences[:, 1:], lambda: torch.stack(result.logits, dim=1), length)

    def next_token(self, features: torch.Tensor) -> NextTokenFunction:
        step = self.step()
        with torch.inference_mode():
            cross = step.cross(features)
        past: list[KeysValues] = []
        position = 0

        @torch.inference_mode()
        def next_token(parents: Sequence[int], symbols: Sequence[int]) -> np.ndarray:
            nonlocal past, position
            rows = torch.tensor(parents, device=features.device)
            shared = [tuple(each.expand(len(rows), -1, -1, -1) for each in layer) for layer in cross]
            present, append = growing_cache([(keys[rows], values[rows]) for keys, values in past])
            logits = step(torch.tensor(symbols, device=features.device), position, shared, append)
            past, position = present, position + 1
            return logits.double().log_softmax(1).cpu().numpy()

        return next_token

    @torch.inference_mode()
    def attention(self, features: torch.Tensor, ids: list[int]) -> torch.Tensor:
        """Of cross-attention, the mean over layers and heads, summed over the image's height."""
        weights = self.step().cross_attention(features, [self.begin, *ids][: len(ids)])
        shape = self.features
        return weights[:, shape.prefix :].reshape(len(ids), shape.rows, -1).sum(1)

    def graphs(self, encoder: nn.Module) -> dict[str, Graph]:
        """Two: encoder and cross-attention's keys and values, run once; and the decoder's step, run once per token."""
        step = self.step()
        return {self.name: CrossGraph(encoder, step), f"{self.name}-step": StepGraph(step, self.features)}

    def step(self) -> DecoderStep:
        """The decoder arranged for decoding; made anew when its weights have changed."""
        if not self._step or self._step[0] is not self.decoder or self._step[1]() != self._step[2]:
            weights = watched(self.decoder)
            self._step[:] = self.decoder, weights, weights(), DecoderStep(self.decoder).eval()
        return self._step[3]

    def generator(self) -> VisionEncoderDecoderModel:
        """What `generate` needs around the decoder. Its encoder is a stub: features are handed over ready."""
        if not self._generator:
            small = {"num_hidden_layers": 0, "num_attention_heads": 1, "intermediate_size": 1}
            stub = ViTModel(ViTConfig(hidden_size=self.features.dim, **small), add_pooling_layer=False)
            self._generator.append(VisionEncoderDecoderModel(encoder=stub, decoder=self.decoder).eval())
        return self._generator[0].to(self.device)
