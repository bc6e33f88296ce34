"""The interface of a decoding head, and what describes its strategies and its input."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.data.soft_labels import SoftLabelText
from seqocr.decoding.output import DecodeFunction, DecoderOutput, TraceFunction
from seqocr.decoding.search import NextTokenFunction
from seqocr.errors import InputError
from seqocr.models.graph import Graph

# What a head gives: log probabilities of each slot (B, slots, k + 1), the charset then "empty"; of each CTC frame
# (B, frames, k + 1), the charset then blank; or of the next token, the charset then begin and end.
Output = Literal["slots", "ctc", "tokens"]
OUTPUTS: tuple[Output, ...] = get_args(Output)


@dataclass(frozen=True)
class Strategy:
    """A decoding strategy of a head.

    Attributes:
        name: in tables and on the command line; label: in legends of plots.
        method: of the head's class.
        is_one_pass: takes one decoder pass, whatever the text; is_speculative: takes one where its draft is right.
    """

    name: str
    label: str
    method: str = "decode"
    is_one_pass: bool = False
    is_speculative: bool = False


@dataclass(frozen=True)
class FeatureMap:
    """The shape of an encoder's features (B, T, D): T = prefix special tokens, then rows x columns patches, by row.

    Attributes:
        narrows: input may be narrower than the encoder's own, and then has fewer columns.
    """

    dim: int
    rows: int
    columns: int
    prefix: int
    narrows: bool = False

    @property
    def tokens(self) -> int:
        return self.prefix + self.rows * self.columns


class Head(nn.Module):
    """Decodes encoder features (B, T, D) into texts over `charset`.

    Args:
        features: the shape of the encoder's output.
        charset: the symbols that can be read; a symbol's id is its index.
        max_length: the longest string that can be read.

    Attributes:
        name: of the head, of its files, and of the strategy that is `decode`.
        output: its kind; whatever decodes, constrains, exports or trains a head works from this.
        strategies: in the order of tables; default: `decode` alone.
        is_one_pass: `decode` takes one decoder pass, whatever the text.
        imposes_length: `decode` can be made to write a given number of symbols.
        verifies_drafts: it can verify drafts of another head (`seqocr.models.heads.speculative`).
    """

    name: ClassVar[str]
    output: ClassVar[Output]
    strategies: ClassVar[tuple[Strategy, ...]]
    is_one_pass: ClassVar[bool] = False
    imposes_length: ClassVar[bool] = False
    verifies_drafts: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declared = vars(cls)
        if "name" in declared and "strategies" not in declared:
            cls.strategies = (Strategy(cls.name, cls.name, is_one_pass=cls.is_one_pass),)

    def __init__(self, features: FeatureMap, charset: str, max_length: int) -> None:
        super().__init__()
        if not charset or len(set(charset)) != len(charset):
            raise InputError(f"charset {charset!r}: give at least one symbol, each once")
        if max_length < 1:
            raise InputError(f"max_length {max_length}: give a number of symbols from 1 up")
        self.features, self.charset, self.max_length = features, charset, max_length
        self._ids = {symbol: i for i, symbol in enumerate(charset)}
        self._texts = [*charset, "", "", ""]  # for up to three ids that are no symbols

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def loss(self, features: torch.Tensor, texts: list[str]) -> torch.Tensor:
        """Training loss, a scalar, of features (B, T, D) against B texts.

        Raises:
            InputError: a text has a symbol outside the charset or is longer than the head can read.
        """
        raise NotImplementedError

    def loss_terms(self, texts: list[str]) -> int:
        """The number of terms that `loss` is the mean of, up to a constant factor; shards' losses are weighted by it.

        Raises:
            InputError: the loss is no such mean, so the head trains on whole batches only.
        """
        return sum(len(text) + 1 for text in texts) if self.output == "tokens" else len(texts)

    def distillation_loss(self, features: torch.Tensor, texts: list[str], temperature: float) -> torch.Tensor:
        """`loss` against the soft labels of those texts that have them, at a temperature (Hinton et al. 2015).

        Default: the texts themselves, for heads without a place for each symbol, such as CTC.
        """
        return self.loss(features, texts)

    def soft_cross_entropy(
        self, logits: torch.Tensor, texts: list[str], endings: list[list[int]], temperature: float
    ) -> torch.Tensor:
        """Mean cross-entropy, a scalar, of logits (B, places, classes) against texts, or their soft labels where they
        have some, whose gradient is scaled as the others'; `endings` are the ids behind each text."""
        unused, is_soft = -2, -1
        targets = torch.full(logits.shape[:2], unused)
        soft: list[torch.Tensor] = []
        for row, text, ending in zip(targets, texts, endings, strict=True):
            if isinstance(text, SoftLabelText):
                soft.append(text.logits)
                row[: len(text)] = is_soft
            else:
                row[: len(text)] = torch.tensor(self.encode_text(text))
            row[len(text) : len(text) + len(ending)] = torch.tensor(ending)
        targets, logits = targets.to(logits.device), full_precision(logits)
        loss, hard = logits.new_zeros(()), targets >= 0
        if soft:
            target = (torch.cat(soft).to(logits.device) / temperature).softmax(dim=1)
            log_probs = (logits[targets == is_soft] / temperature).log_softmax(dim=1)[:, : target.shape[1]]
            loss = loss - (target * log_probs).sum() * temperature**2
        if hard.any():
            loss = loss + F.cross_entropy(logits[hard], targets[hard], reduction="sum")
        return loss / (targets != unused).sum()

    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        """Read features (B, T, D).

        Args:
            length: symbols that a head that decides for itself when to stop is made to write, so that cost can be
                measured against length. Others ignore it.
        """
        raise NotImplementedError

    def decode_traced(self, features: torch.Tensor, trace: TraceFunction) -> DecoderOutput:
        """`decode` of one line, features (1, T, D), that calls `trace` as symbols become known; default: at the end."""
        output = self.decode(features)
        trace("decoded", output.texts[0])
        return output

    def decode_functions(self) -> dict[str, DecodeFunction]:
        """By name of the strategy; the head's own name is `decode`."""
        return {strategy.name: getattr(self, strategy.method) for strategy in self.strategies}

    def log_probs(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, slots or frames, k + 1) float32, of an `output` of "slots" or "ctc"."""
        raise NotImplementedError

    def next_token(self, features: torch.Tensor) -> NextTokenFunction:
        """Log probabilities of the next token of one line, features (1, T, D), of an `output` of "tokens"."""
        raise NotImplementedError

    def attention(self, features: torch.Tensor, ids: list[int]) -> torch.Tensor | None:
        """(n, columns) >= 0: where in the features (1, T, D) of a line the head reads each of n symbols; None: unknown,
        or CTC, whose alignment tells (`seqocr.decoding.ctc_paths`)."""
        return None

    def make_constant(self) -> None:
        """Set weights so that the charset's first symbol is always decoded, at the same cost, to time right drafts."""

    @classmethod
    def settings_for_length(cls, length: int, settings: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of a head that can be made to write so many symbols, whatever its `max_length`."""
        return settings

    @classmethod
    def settings_for_frames(cls, frames_per_column: int) -> dict[str, Any]:
        """Keyword arguments of a head with at least so many frames per column of patches; none where it has none."""
        return {}

    @classmethod
    def default_settings(cls, decoder: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of this class for a model whose autoregressive decoder has these settings."""
        return {}

    @property
    def trocr_decoder(self) -> Any:
        """The `TrOCRForCausalLM` that the head is; None: it is none."""
        return None

    def graphs(self, encoder: nn.Module) -> dict[str, Graph]:
        """The head's exported graphs, encoder included, by file name without ending: of "slots" and "ctc", NAME gives
        `log_probs`; of "tokens", NAME and NAME-step are a `CrossGraph` and a `StepGraph`.

        Raises:
            InputError: the head cannot be exported.
        """
        raise InputError(f"the {self.name} head cannot be exported: leave it out with --heads")

    def encode_text(self, text: str) -> list[int]:
        """Symbol ids of a text.

        Raises:
            InputError: as `loss`.
        """
        if len(text) > self.max_length:
            raise InputError(
                f"{text!r} has {len(text)} symbols, the {self.name} head reads at most {self.max_length}: "
                "build it with a larger max_length"
            )
        try:
            return self.ids_of(text)
        except KeyError as error:
            raise InputError(f"{text!r} has {error.args[0]!r}, which is not in the charset {self.charset!r}") from None

    def ids_of(self, text: str) -> list[int]:
        """Symbol ids of a text of the charset's symbols, however long."""
        return [self._ids[symbol] for symbol in text]

    def text_of(self, ids: Iterable[int]) -> str:
        """The text of symbol ids; ids past the charset (blank, empty, end) are left out."""
        return "".join([self._texts[i] for i in ids])


def load_matching(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights of the same name and shape, and position embeddings as far as both go. Others depend on the task, or
    are new."""
    with torch.no_grad():
        for name, own in module.state_dict().items():
            if name not in weights:
                continue
            if own.shape == weights[name].shape:
                own.copy_(weights[name])
            elif name.endswith("embed_positions.weight") and own.shape[1:] == weights[name].shape[1:]:
                rows = min(len(own), len(weights[name]))
                own[:rows] = weights[name][:rows]


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """float32, or float64 where it is that already: what losses are computed in."""
    return x if x.dtype == torch.float64 else x.float()
