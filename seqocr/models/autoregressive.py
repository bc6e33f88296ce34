"""Autoregressive head: TrOCR's own decoder (Li et al. 2021) over a digit vocabulary."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, TrOCRConfig, TrOCRForCausalLM, VisionEncoderDecoderModel, ViTConfig, ViTModel
from transformers.modeling_outputs import BaseModelOutput

from seqocr.errors import InputError
from seqocr.models.base import Decoded, FeatureMap, Head, Variant


class AutoregressiveHead(Head):
    """`TrOCRForCausalLM` whose vocabulary is the charset, then begin, end and pad.

    Args:
        decoder: keyword arguments of `TrOCRConfig` (d_model, decoder_layers, ...); vocabulary, special tokens and the
            cross-attention width are set here.
    """

    name = "ar"

    def __init__(self, features: FeatureMap, charset: str, max_length: int, **decoder: Any) -> None:
        super().__init__(features, charset, max_length)
        self.begin, self.end, self.pad = len(charset), len(charset) + 1, len(charset) + 2
        config = {
            **decoder,
            "vocab_size": len(charset) + 3,
            "bos_token_id": self.begin,
            "decoder_start_token_id": self.begin,
            "eos_token_id": self.end,
            "pad_token_id": self.pad,
            "cross_attention_hidden_size": features.dim,
            "max_position_embeddings": max(max_length + 1, decoder.get("max_position_embeddings", 0)),
            "tie_word_embeddings": False,
        }
        self.decoder: Any = TrOCRForCausalLM(TrOCRConfig(**config))
        self._generator: list[VisionEncoderDecoderModel] = []  # in a list, so that it is not a submodule

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Teacher forcing: cross-entropy of every symbol, and of the end, given those before it."""
        rows = [self.encode_text(text) for text in texts]
        longest = max(map(len, rows)) + 1
        inputs = torch.full((len(rows), longest), self.pad)
        targets = torch.full((len(rows), longest), -100)
        for i, row in enumerate(rows):
            inputs[i, : len(row) + 1] = torch.tensor([self.begin, *row])
            targets[i, : len(row) + 1] = torch.tensor([*row, self.end])
        logits = self.decoder(
            input_ids=inputs.to(features.device), encoder_hidden_states=features, use_cache=False
        ).logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets.to(features.device).flatten())

    @torch.inference_mode()
    def decode(self, features: torch.Tensor, length: int | None = None) -> Decoded:
        """Greedy, one pass a token, keys and values of both attentions cached (`_Cache`)."""
        cache = _Cache(self.decoder, features, capacity=self._budget(length))
        return self._greedy(lambda tokens: cache.step(tokens[:, -1], tokens.shape[1] - 1), features, length)

    @torch.inference_mode()
    def decode_without_cache(self, features: torch.Tensor, length: int | None = None) -> Decoded:
        """Greedy, each pass over the whole prefix again: what the caches save."""

        def logits(tokens: torch.Tensor) -> torch.Tensor:
            return self.decoder(input_ids=tokens, encoder_hidden_states=features, use_cache=False).logits[:, -1]

        return self._greedy(logits, features, length)

    @torch.inference_mode()
    def decode_with_generate(self, features: torch.Tensor, length: int | None = None) -> Decoded:
        """Hugging Face `generate`, as most people run TrOCR today."""
        settings = GenerationConfig(
            max_new_tokens=self._budget(length),
            min_new_tokens=length,
            do_sample=False,
            num_beams=1,
            decoder_start_token_id=self.begin,
            bos_token_id=self.begin,
            eos_token_id=self.end,
            pad_token_id=self.pad,
            return_dict_in_generate=True,
            output_logits=True,
        )
        result = self._vision_encoder_decoder().generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=features), generation_config=settings
        )
        tokens = result.sequences[:, 1:]
        scores = torch.stack(result.logits, dim=1).float().log_softmax(dim=2)
        return self._decoded(tokens, scores.gather(2, tokens[:, :, None])[:, :, 0], length)

    def variants(self) -> dict[str, Variant]:
        return {
            "ar": self.decode,
            "ar-nocache": self.decode_without_cache,
            "ar-generate": self.decode_with_generate,
        }

    def _budget(self, length: int | None) -> int:
        """Tokens to write at most: the symbols and the end."""
        budget = (self.max_length if length is None else length) + 1
        if budget > (positions := self.decoder.config.max_position_embeddings):
            raise InputError(f"length {length}: this decoder has positions for {positions - 1} symbols and the end")
        return budget

    def _greedy(self, logits_of: Any, features: torch.Tensor, length: int | None) -> Decoded:
        """Write the likeliest token until every string has ended or the budget is spent.

        Args:
            logits_of: tokens so far (B, t) -> logits of the next one (B, vocabulary).
            length: symbols before which the end may not come, and after which nothing does.
        """
        batch, budget = len(features), self._budget(length)
        tokens = torch.full((batch, 1), self.begin, device=features.device)
        scores = torch.zeros(batch, 0, device=features.device)
        ended = torch.zeros(batch, dtype=torch.bool, device=features.device)
        for step in range(budget):
            log_probs = logits_of(tokens).float().log_softmax(dim=1)
            choices = log_probs
            if length is not None and step < length:
                choices = log_probs.index_fill(1, torch.tensor([self.end], device=features.device), -torch.inf)
            best = choices.argmax(dim=1).masked_fill(ended, self.pad)
            scores = torch.cat([scores, log_probs.gather(1, best[:, None])], dim=1)
            tokens = torch.cat([tokens, best[:, None]], dim=1)
            ended = ended | (best == self.end)
            if ended.all():
                break
        return self._decoded(tokens[:, 1:], scores, length)

    def _decoded(self, tokens: torch.Tensor, scores: torch.Tensor, length: int | None) -> Decoded:
        """Texts of tokens (B, passes) up to the end, with the probability of all up to and including it."""
        after_end = (tokens == self.end).cumsum(dim=1) - (tokens == self.end).long()
        confidences = scores.masked_fill(after_end > 0, 0).sum(dim=1).exp()
        limit = self.max_length if length is None else length
        texts = []
        for row in tokens.tolist():
            symbols = row[: row.index(self.end)] if self.end in row else row
            texts.append(self.text_of(symbols[:limit]))
        return Decoded(texts, confidences, passes=tokens.shape[1])

    def _vision_encoder_decoder(self) -> VisionEncoderDecoderModel:
        """What `generate` needs around the decoder. Its encoder is a stub: features are handed over ready."""
        if not self._generator:
            stub = ViTModel(
                ViTConfig(
                    hidden_size=self.features.dim, num_hidden_layers=0, num_attention_heads=1, intermediate_size=1
                ),
                add_pooling_layer=False,
            )
            self._generator.append(VisionEncoderDecoderModel(encoder=stub, decoder=self.decoder).eval())
        model = self._generator[0]
        return model.to(next(self.decoder.parameters()).device)


class _Cache:
    """Keys and values of a TrOCR decoder: cross-attention's computed once, self-attention's preallocated.

    Args:
        decoder: whose weights to use.
        features: (B, T, D).
        capacity: tokens that will be written at most.
    """

    def __init__(self, decoder: TrOCRForCausalLM, features: torch.Tensor, capacity: int) -> None:
        self.decoder = decoder.model.decoder
        self.project = decoder.output_projection
        config = decoder.config
        self.heads = config.decoder_attention_heads
        self.embed_scale = config.d_model**0.5 if config.scale_embedding else 1.0
        self.cross = [
            (self._split(layer.encoder_attn.k_proj(features)), self._split(layer.encoder_attn.v_proj(features)))
            for layer in self.decoder.layers
        ]
        shape = (2, len(self.cross), len(features), self.heads, capacity, config.d_model // self.heads)
        self.keys, self.values = torch.empty(shape, dtype=features.dtype, device=features.device)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, t, d_model) -> (B, heads, t, d_head)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def step(self, token: torch.Tensor, position: int) -> torch.Tensor:
        """Logits (B, vocabulary) after `token` (B,) at `position`, which is added to the cache."""
        decoder = self.decoder
        embedded = F.embedding(token[:, None], decoder.embed_tokens.weight) * self.embed_scale
        positions = decoder.embed_positions
        if hasattr(positions, "weight"):
            x = embedded + positions.weight[position + positions.offset]
        else:  # sinusoidal, as in trocr-large: these depend on which tokens are padding
            x = embedded + positions(token[:, None], past_key_values_length=position)
        if decoder.layernorm_embedding is not None:
            x = decoder.layernorm_embedding(x)
        for i, layer in enumerate(decoder.layers):
            attention = layer.self_attn
            self.keys[i, :, :, position] = self._split(attention.k_proj(x))[:, :, 0]
            self.values[i, :, :, position] = self._split(attention.v_proj(x))[:, :, 0]
            seen = position + 1
            past = self.keys[i, :, :, :seen], self.values[i, :, :, :seen]
            x = layer.self_attn_layer_norm(x + self._attend(attention, x, *past))
            x = layer.encoder_attn_layer_norm(x + self._attend(layer.encoder_attn, x, *self.cross[i]))
            x = layer.final_layer_norm(x + layer.fc2(layer.activation_fn(layer.fc1(x))))
        return self.project(x)[:, 0]

    def _attend(self, attention: Any, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        query = self._split(attention.q_proj(x))
        return attention.out_proj(F.scaled_dot_product_attention(query, keys, values).transpose(1, 2).flatten(2))
