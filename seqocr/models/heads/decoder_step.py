"""One token through a TrOCR decoder, arranged for speed; what greedy decoding, export and compilation all run."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import TrOCRForCausalLM

KeysValues = tuple[torch.Tensor, torch.Tensor]  # each (B, heads, t, d_head)
# (layer, key, value), each of the latter (B, heads, 1, d_head), to all keys and values of that layer so far
Append = Callable[[int, torch.Tensor, torch.Tensor], KeysValues]


class DecoderStep(nn.Module):
    """The same function as transformers' decoder on one new token, with fewer and larger matrix products: at batch 1
    the overhead of operations counts as much as reading the weights.

    Query, key and value of self-attention are one product, and so are the cross-attention's keys and values of all
    layers; the embedding's scale and the positions' offset are in their tables. Fused weights are copies: build the
    step anew when the decoder's weights have changed (`watched`).
    """

    embedding: torch.Tensor
    positions: torch.Tensor
    layers: Any

    def __init__(self, decoder: TrOCRForCausalLM) -> None:
        super().__init__()
        config, inner = decoder.config, decoder.model.decoder
        self.heads, self.width = config.decoder_attention_heads, config.d_model
        scale = config.d_model**0.5 if config.scale_embedding else 1.0
        self.register_buffer("embedding", inner.embed_tokens.weight.detach() * scale)
        self.register_buffer("positions", _positions(inner.embed_positions, config.max_position_embeddings))
        self.norm = inner.layernorm_embedding or nn.Identity()
        self.layers = nn.ModuleList(_Layer(layer) for layer in inner.layers)
        attentions = [layer.encoder_attn for layer in inner.layers]
        self.cross_keys_values = _fused([p for a in attentions for p in (a.k_proj, a.v_proj)])
        self.project = decoder.output_projection

    def cross(self, features: torch.Tensor) -> list[KeysValues]:
        """Cross-attention's keys and values of every layer, from features (B, T, D)."""
        batch, tokens, _ = features.shape
        split = self.cross_keys_values(features).view(batch, tokens, -1, 2, self.heads, self.width // self.heads)
        ordered = split.permute(2, 3, 0, 4, 1, 5).contiguous()  # read once a token, so worth one copy
        return [(layer[0], layer[1]) for layer in ordered]

    def forward(
        self, token: torch.Tensor, position: int | torch.Tensor, cross: list[KeysValues], append: Append
    ) -> torch.Tensor:
        """Logits (B, vocabulary) after `token` (B,) int64 at `position`, whose keys and values `append` stores."""
        x = self.norm(self.embedding[token] + self.positions[position])
        for i, layer in enumerate(self.layers):
            query, key, value = layer.query_key_value(x).unflatten(1, (3, self.heads, 1, -1)).unbind(1)
            x = layer.norm(x + layer.out(_attend(query, *append(i, key, value))))
            query = layer.cross_query(x).unflatten(1, (self.heads, 1, -1))
            x = layer.cross_norm(x + layer.cross_out(_attend(query, *cross[i])))
            x = layer.final_norm(x + layer.down(layer.activation(layer.up(x))))
        return self.project(x)

    def several(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        known: torch.Tensor | None,
        cross: list[KeysValues],
        append: Append,
        queries: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Logits (B, t, vocabulary) after each of several tokens (B, t) int64 at once, each of which sees those before.

        Args:
            positions: (B, t) or (t,) int64.
            known: (B, p) bool: which of the earlier keys and values count; None: there are none.
            append: gives all keys and values so far, (B, heads, p + t, d_head), those of these tokens last.
            queries: gets cross-attention's queries of every layer, (B, heads, t, d_head).
        """
        mask = None if known is None else _mask(known, tokens.shape[1])
        x = self.norm(self.embedding[tokens] + self.positions[positions])
        for i, layer in enumerate(self.layers):
            parts = layer.query_key_value(x).unflatten(2, (3, self.heads, -1))
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            attended = F.scaled_dot_product_attention(
                query, *append(i, key, value), attn_mask=mask, is_causal=mask is None
            )
            x = layer.norm(x + layer.out(attended.transpose(1, 2).flatten(2)))
            query = layer.cross_query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            if queries is not None:
                queries.append(query)
            attended = F.scaled_dot_product_attention(query, *cross[i])
            x = layer.cross_norm(x + layer.cross_out(attended.transpose(1, 2).flatten(2)))
            x = layer.final_norm(x + layer.down(layer.activation(layer.up(x))))
        return self.project(x)

    def cross_attention(self, features: torch.Tensor, tokens: list[int]) -> torch.Tensor:
        """(n, T): attention over features (1, T, D) after each of n tokens, the mean over layers and heads."""
        cross, queries, (_, append) = self.cross(features), list[torch.Tensor](), growing_cache([])
        positions = torch.arange(len(tokens), device=features.device)
        self.several(torch.tensor([tokens], device=features.device), positions, None, cross, append, queries)
        pairs = zip(queries, cross, strict=True)
        scores = torch.cat([query @ keys.transpose(2, 3) / query.shape[-1] ** 0.5 for query, (keys, _) in pairs])
        return scores.softmax(dim=3).mean(dim=(0, 1))


class _Layer(nn.Module):
    """A decoder layer's modules: the fused ones are copies, the others its own."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        own, cross = layer.self_attn, layer.encoder_attn
        self.query_key_value = _fused([own.q_proj, own.k_proj, own.v_proj])
        self.out, self.norm = own.out_proj, layer.self_attn_layer_norm
        self.cross_query, self.cross_out, self.cross_norm = cross.q_proj, cross.out_proj, layer.encoder_attn_layer_norm
        self.up, self.activation, self.down, self.final_norm = (
            layer.fc1, layer.activation_fn, layer.fc2, layer.final_layer_norm
        )  # fmt: skip


def watched(decoder: nn.Module) -> Callable[[], tuple[Any, ...]]:
    """A function whose value changes whenever a weight of this decoder is moved, replaced or written to, other than
    through `.data`. It goes through the modules once: to do so every time takes longer than to look at the weights."""
    modules = list(decoder.modules())
    own = [module._parameters for module in modules if module._parameters]
    below = [module._modules for module in modules if module._modules]

    def weights() -> tuple[Any, ...]:
        found = [p for parameters in own for p in parameters.values() if p is not None]
        children = [id(child) for each in below for child in each.values()]
        return (*children, *((p.data_ptr(), 0 if p.is_inference() else p._version) for p in found))

    return weights


def preallocated(step: DecoderStep, batch: int, capacity: int) -> Append:
    """A cache of self-attention's keys and values for up to `capacity` tokens, written in place."""
    like = step.embedding
    shape = (len(step.layers), 2, batch, step.heads, capacity, step.width // step.heads)
    cache = torch.empty(shape, dtype=like.dtype, device=like.device)
    layers = [(layer[0], layer[1]) for layer in cache]
    filled = [0] * len(layers)

    def append(layer: int, key: torch.Tensor, value: torch.Tensor) -> KeysValues:
        (keys, values), at = layers[layer], filled[layer]
        keys[:, :, at : at + 1], values[:, :, at : at + 1] = key, value
        filled[layer] = at + 1
        return keys[:, :, : at + 1], values[:, :, : at + 1]

    return append


def growing_cache(past: list[KeysValues]) -> tuple[list[KeysValues], Append]:
    """A cache that each layer's new keys and values are concatenated to: the list that all so far are appended to, a
    pair per layer, and the function that does so.

    Args:
        past: a pair per layer, or none before the first token.
    """
    present: list[KeysValues] = []

    def append(layer: int, key: torch.Tensor, value: torch.Tensor) -> KeysValues:
        if past:
            keys, values = past[layer]
            key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        present.append((key, value))
        return key, value

    return present, append


def _attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(B, heads, 1, d_head) -> (B, d_model)."""
    return F.scaled_dot_product_attention(query, keys, values).flatten(1)


def _mask(known: torch.Tensor, t: int) -> torch.Tensor:
    """(B, 1, t, p + t) bool: a token sees the (B, p) earlier ones that count, those before it, and itself."""
    among = torch.ones(t, t, dtype=torch.bool, device=known.device).tril()
    batch, p = known.shape
    return torch.cat([known[:, None, None].expand(batch, 1, t, p), among.expand(batch, 1, t, t)], dim=3)


def _fused(projections: list[nn.Linear]) -> nn.Linear:
    """One product that gives the outputs of all, side by side."""
    weight = torch.cat([p.weight.detach() for p in projections])
    fused = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        fused.weight.copy_(weight)
        fused.bias.copy_(torch.cat([p.bias.detach() for p in projections]))
    return fused.requires_grad_(False)


def _positions(embedding: Any, count: int) -> torch.Tensor:
    """(count, d_model): what is added to the token at each position."""
    if hasattr(embedding, "weight"):
        return embedding.weight.detach()[embedding.offset :]
    # Sinusoids, as in trocr-large: a table that grows on demand, in which position 0 is the one after padding's.
    first = embedding.padding_idx + 1
    return embedding.get_embedding(first + count, embedding.embedding_dim, embedding.padding_idx)[first:].clone()
