"""What the interface takes and gives, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from seqocr.decoding.reach import MIN_FIT
from seqocr.files import shown
from seqocr.inference.prediction import Prediction

_EXAMPLE = (  # a line that reads 174, as a PNG in base64
    "iVBORw0KGgoAAAANSUhEUgAAAFoAAAAgCAAAAAC3ejB5AAAAh0lEQVR42u2WXRKAIAiEsekKe/8D7iHqVa3UQMlp5Ml/dz5ADIeM"
    "sk3W0V5H71EbIsymEXdYXmtRDS8gfAOkuD8lgHncWOHM9mGbag4Cgo4RghaZ8yc6e0UILlmOqMM5geROZNeUeSCNwjU2ILAC0QT1"
    "n2ujkse3qrWivaoMtQ/RvYX1nUztBAWKGB/cYJlwAAAAAElFTkSuQmCC"
)


_MOST_SHOWN = 300  # characters of an error message


def shortened(text: str, most: int = _MOST_SHOWN) -> str:
    """Text of strangers, or a message that repeats some: printable, on one line, and not long."""
    text = shown(text[: most + 1])
    return text if len(text) <= most else text[:most] + "…"


class ReadRequest(BaseModel):
    """How to read the images of a request."""

    model_config = ConfigDict(extra="forbid")

    head: str | None = Field(
        None,
        description="The head that reads, such as ar, parallel or ctc; or another decoding strategy, which gives no "
        "symbols. Default: parallel.",
        max_length=100,
    )
    charset: str | None = Field(
        None,
        description="Only these symbols. With marks that weights know (`. , - / : +` and space), CTC reads in place "
        "of a head, and marks are part of the text.",
        max_length=100,
    )
    pattern: str | None = Field(
        None, description="Only texts that match this regular expression as a whole.", max_length=200
    )
    check: str | None = Field(None, description="Only texts with a valid check digit: luhn, mod97 ...", max_length=50)
    min_confidence: float = Field(0.0, ge=0, le=1, description="Leave the text empty below this confidence.")
    min_fit: float = Field(
        MIN_FIT,
        ge=0,
        le=1,
        description="Leave the text empty if all texts that satisfy the constraint have less probability together.",
    )
    top: int = Field(1, ge=1, le=20, description="Number of texts per line, the most likely first.")
    places: bool = Field(False, description="Also give the position of each symbol, which takes about twice as long.")


class JsonReadRequest(ReadRequest):
    """The same, with the images."""

    images: list[str] = Field(description="Images (PNG, JPEG ...) in base64.", min_length=1)


class SymbolModel(BaseModel):
    """A symbol, its confidence, and, if requested, the pixels of the image between which it stands."""

    text: str
    confidence: float
    left: float | None
    right: float | None


class TextModel(BaseModel):
    """An alternative text and its probability."""

    text: str
    confidence: float


class LineModel(BaseModel):
    """The prediction for one image. If it could not be used, `error` says why, and the text is empty."""

    text: str = ""
    confidence: float = 0.0
    fits: bool = False
    fitting: float = Field(default=1.0, description="Probability of all texts that satisfy the constraint, together.")
    symbols: list[SymbolModel] = []
    others: list[TextModel] = []
    notes: list[str] = Field(default=[], description="What may be wrong: lines with notes pass no min_confidence.")
    passes: int = 0
    milliseconds: float = Field(default=0.0, description="From being queued to being read.")
    error: str | None = None

    @classmethod
    def of(cls, prediction: Prediction, name: str, seconds: float, min_confidence: float) -> LineModel:
        """Of a prediction, `seconds` after its line was queued; below a confidence without its text.

        Args:
            name: of the image, for its error.
        """
        if prediction.problem:
            return cls(error=shortened(f"{name} {prediction.problem}"), milliseconds=round(1e3 * seconds, 3))
        found = prediction.accepted(min_confidence).as_json() | {"milliseconds": round(1e3 * seconds, 3)}
        return cls.model_validate(found)


class ReadResponse(BaseModel):
    """One line per image, in order."""

    head: str
    lines: list[LineModel]
    milliseconds: float = Field(description="From the whole request to its answer.")


class ErrorModel(BaseModel):
    """What is wrong with a request, and what to do."""

    error: str


def request_body() -> dict[str, Any]:
    """The request in OpenAPI's terms, which cannot be inferred from a function that takes JSON or a form."""
    fields = ReadRequest.model_json_schema()["properties"]
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "Image files."}
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": JsonReadRequest.model_json_schema(),
                "example": {"images": [_EXAMPLE], "top": 2},
            },
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["images"], "properties": {"images": files, **fields}}
            },
        },
    }
