"""What every head is: two verbs, so that no caller asks which head it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from seqocr.data.soft_labels import SoftLabelText
from seqocr.errors import InputError
from seqocr.models.graph import Graph, OfPixels, Sessions


class DecoderOutput:
    """What a head read from a batch of features.

    Attributes:
        texts: B strings.
        passes: sequential decoder calls made: n+1 for autoregressive, 1 for parallel and CTC. Exact on any machine.
        line_passes: B counts: how many of them each line needed, which may be fewer than its batch made.

    Args:
        confidences: or a function that gives them, for whoever asks.
        line_passes: default: as many as were made.
    """

    def __init__(
        self,
        texts: list[str],
        confidences: torch.Tensor | Callable[[], torch.Tensor],
        passes: int,
        line_passes: list[int] | None = None,
    ) -> None:
        self.texts, self.passes, self._confidences = texts, passes, confidences
        self._line_passes = line_passes

    @property
    def confidences(self) -> torch.Tensor:
        """(B,) float32 in [0, 1], the model's probability of the text. Computed once, when first asked for."""
        if callable(self._confidences):
            self._confidences = self._confidences()
        return self._confidences

    @property
    def line_passes(self) -> list[int]:
        return [self.passes] * len(self.texts) if self._line_passes is None else self._line_passes

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_confidences": self.confidences}

    def __repr__(self) -> str:
        return f"Decoded({self.texts}, {self.confidences}, passes={self.passes})"


# What a head gives: log probabilities of each slot (B, slots, k + 1), the charset then "empty"; of each CTC
# frame (B, frames, k + 1), the charset then blank; or of the next token, the charset then begin and end.
Output = Literal["slots", "ctc", "tokens"]
DecodeFunction = Callable[..., DecoderOutput]  # (features, length=None) -> Decoded


@dataclass(frozen=True)
class Strategy:
    """A way to decode a head, and what the bench must know of it.

    Attributes:
        name: as in tables and on the command line.
        label: in legends of plots.
        method: of the head's class.
        one_pass: takes one decoder pass, whatever the text.
        drafted: what is drafted at once is verified: one pass where the draft is right.
        deployed: is shown on the report's first screen; other ways are for study.
        timed: is part of the latency experiments.
        read: is part of the accuracy experiments.
        own_flops: its FLOPs are decided by this code, not by the version of a library.
    """

    name: str
    label: str
    method: str = "decode"
    one_pass: bool = False
    drafted: bool = False
    deployed: bool = True
    timed: bool = True
    read: bool = True
    own_flops: bool = True


@dataclass(frozen=True)
class FeatureMap:
    """The shape of an encoder's features (B, T, D): T = prefix special tokens, then rows x columns patches, by row."""

    dim: int
    rows: int
    columns: int
    prefix: int

    @property
    def tokens(self) -> int:
        return self.prefix + self.rows * self.columns


class Head(nn.Module):
    """Decodes encoder features (B, T, D) into texts over `charset`.

    Args:
        features: the shape of what the encoder hands over.
        charset: the symbols that can be read; a symbol's id is its place in it.
        max_length: the longest string that can be read.

    Attributes:
        name: of the head, of its files, and of the way to decode it that is `decode`.
        output: its kind of output; whatever decodes, constrains, exports or trains a head works from this.
        ways: to decode it, in the order of tables; of a class that declares none, `decode` alone.
        one_pass: `decode` takes one decoder pass, whatever the text.
        imposes_length: it can be made to write exactly so many symbols.
    """

    name: ClassVar[str]
    output: ClassVar[Output]
    ways: ClassVar[tuple[Strategy, ...]]
    one_pass: ClassVar[bool] = False
    imposes_length: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declared = vars(cls)
        if "name" in declared and "ways" not in declared:
            cls.ways = (Strategy(cls.name, cls.name, one_pass=cls.one_pass),)

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
        """The number of terms that `loss` of these texts is the mean of, up to a constant factor: tokens, or texts.

        Distributed training weights the losses of parts of a batch by it.

        Raises:
            InputError: the loss is no such mean, so the head trains on whole batches only.
        """
        return sum(len(text) + 1 for text in texts) if self.output == "tokens" else len(texts)

    def distillation_loss(self, features: torch.Tensor, texts: list[str], temperature: float) -> torch.Tensor:
        """`loss` against the soft labels of those texts that have them (Hinton et al. 2015).

        A head without one place for each symbol, such as CTC, learns the texts themselves: the default.

        Args:
            temperature: that soft labels and logits are divided by.
        """
        return self.loss(features, texts)

    def soft_cross_entropy(
        self, logits: torch.Tensor, texts: list[str], endings: list[list[int]], temperature: float
    ) -> torch.Tensor:
        """Mean cross-entropy of places (B, P, classes), a scalar; the softened part's gradient is scaled as the rest's.

        Args:
            texts: those with soft labels are compared with these, all others with their symbols.
            endings: ids that follow each text ("empty" or end).
        """
        soft: list[torch.Tensor] = []
        soft_places: list[tuple[int, int]] = []
        hard: list[int] = []
        hard_places: list[tuple[int, int]] = []
        for i, (text, ending) in enumerate(zip(texts, endings, strict=True)):
            ids = ending
            if isinstance(text, SoftLabelText):
                soft.append(text.logits)
                soft_places += [(i, place) for place in range(len(text))]
            else:
                ids = self.encode_text(text) + ending
            end = len(text) + len(ending)
            hard_places += [(i, place) for place in range(end - len(ids), end)]
            hard += ids
        logits = full_precision(logits)
        loss = logits.new_zeros(())
        if soft_places:
            rows, columns = map(list, zip(*soft_places, strict=True))
            target = (torch.cat(soft).to(logits.device) / temperature).softmax(dim=1)
            log_probs = (logits[rows, columns] / temperature).log_softmax(dim=1)[:, : target.shape[1]]
            loss = loss - (target * log_probs).sum() * temperature**2
        if hard:
            rows, columns = map(list, zip(*hard_places, strict=True))
            targets = torch.tensor(hard, device=logits.device)
            loss = loss + F.cross_entropy(logits[rows, columns], targets, reduction="sum")
        return loss / (len(soft_places) + len(hard))

    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        """Read features (B, T, D).

        Args:
            length: make a head that decides for itself when to stop write exactly this many symbols, so that cost can
                be measured against length. Heads whose work does not depend on the text ignore it.
        """
        raise NotImplementedError

    @torch.no_grad()
    def write_first_symbol(self) -> None:
        """Give up what was learned: write the charset's first symbol, whatever the line. Heads that cannot stay as they
        are. The work stays the same, so that a clock can be put to drafts that are always right."""

    @classmethod
    def able_to_write(cls, length: int, settings: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of a head that can be made to write so many symbols, whatever its `max_length`."""
        return settings

    @classmethod
    def settings_of(cls, decoder: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of this class for a model whose autoregressive decoder has these settings."""
        return {}

    def variants(self) -> dict[str, DecodeFunction]:
        """The ways this head can be decoded, by name; the head's own name is `decode`."""
        return {way.name: getattr(self, way.method) for way in self.ways}

    def graphs(self, encoder: nn.Module) -> dict[str, Graph]:
        """What is exported of the head, encoder included, by file name without ending.

        Raises:
            InputError: the head does not say.
        """
        raise InputError(f"the {self.name} head cannot be exported: leave it out with --heads")

    def exported(self, sessions: Sessions) -> DecodeFunction:
        """`decode` of pixel_values (B, 3, H, W) float32 instead of features, with the head's graphs loaded."""
        raise NotImplementedError

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


class FrameClassifier(nn.Linear):
    """Patch features averaged over height into columns, each column cut into one or more frames, each frame classified.

    What one-pass heads read from: a line's symbols stand side by side, so columns keep all that tells them apart, and
    the work does not grow with the image's height. A column's D features are cut into as many frames, of fewer features
    each, as make `at_least` (as sub-pixels are from channels, Shi et al. 2016), so it does not grow with them either.

    Raises:
        InputError: there are not even as many features as frames.
    """

    def __init__(self, features: FeatureMap, at_least: int, width: int) -> None:
        per_column = math.ceil(at_least / features.columns)
        if per_column > features.dim:
            raise InputError(
                f"{at_least} frames cannot be cut from {features.columns} columns of {features.dim} features: "
                "use a wider image, or a smaller max_length"
            )
        super().__init__(features.dim // per_column, width)
        self.map, self.count, self.used = features, per_column * features.columns, per_column * self.in_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, count, width)."""
        columns = features[:, self.map.prefix :, : self.used]
        if self.map.rows > 1:
            columns = columns.view(-1, self.map.rows, self.map.columns, self.used).mean(dim=1)
        return super().forward(columns.reshape(-1, self.count, self.in_features))


class OnePassHead(Head):
    """A head that gives every place its distribution at once: one decoder pass, whatever the text."""

    one_pass = True

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, places, classes); the first classes are the charset's."""
        raise NotImplementedError

    def log_probs(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, places, classes) float32: the log of every place's distribution."""
        return full_precision(self.logits(features)).log_softmax(dim=2)

    def texts_of(self, logits: torch.Tensor) -> DecoderOutput:
        """The texts that the likeliest classes of the places, of (B, places, classes), spell.

        Args:
            logits: or log probabilities, which are logits as well.
        """
        ids = logits.argmax(dim=2).tolist()
        return DecoderOutput([self.text_of(row) for row in ids], lambda: _likeliest(logits), passes=1)

    def decode(self, features: torch.Tensor, length: int | None = None) -> DecoderOutput:
        if torch.is_inference_mode_enabled():  # to enter it again would take longer than the head's product
            return self.texts_of(self.logits(features))
        with torch.inference_mode():
            return self.texts_of(self.logits(features))

    def graphs(self, encoder: nn.Module) -> dict[str, Graph]:
        return {self.name: _ToLogProbs(encoder, self)}

    def exported(self, sessions: Sessions) -> DecodeFunction:
        session = sessions(self.name)

        def decode(pixel_values: torch.Tensor, length: int | None = None) -> DecoderOutput:
            (log_probs,) = session({"pixel_values": session.value(pixel_values.contiguous().numpy())})
            return self.texts_of(torch.from_numpy(session.array(log_probs)))

        return decode


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """float32, or float64 where it is that already: what losses are computed in."""
    return x if x.dtype == torch.float64 else x.float()


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    """(B, places, classes) -> (B,) float32: the probability of the likeliest class at every place."""
    return logits.softmax(dim=2, dtype=torch.float32).amax(dim=2).prod(dim=1)


class _ToLogProbs(OfPixels):
    """To what `OnePassHead.texts_of` takes."""

    def __init__(self, encoder: nn.Module, head: OnePassHead) -> None:
        super().__init__(encoder, ["log_probs"])
        self.head = head

    def then(self, features: torch.Tensor) -> Any:
        return [self.head.log_probs(features)]
