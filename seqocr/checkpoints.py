"""Which directory holds what, and how it is loaded and saved.

Three kinds: our own (`model.safetensors` and a `config.json` of ours), Hugging Face's (a `VisionEncoderDecoderModel`),
and exported graphs.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from seqocr.errors import InputError
from seqocr.files import replacing, write_json
from seqocr.models.hugging_face import is_hugging_face, load_hugging_face
from seqocr.models.recognizer import Recognizer
from seqocr.reader import Reader
from seqocr.runtimes.exported import ExportedRecognizer, is_exported

_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = _WEIGHTS / "tiny"  # reads five digits on a grid: the benchmark's task
READER = _WEIGHTS / "strings"  # reads lines as they come


def weights_path(name: str | None) -> Path:
    """The directory of weights: of those that come with seqocr ("tiny", "strings", the default), or one of your own."""
    return {"tiny": SHIPPED, "strings": READER, None: READER}.get(name) or Path(str(name))


def load(directory: Path | str | None = None, engine: str = "onnxruntime") -> Reader:
    """A trained recognizer: from a directory written by `save`, or the reader shipped with seqocr.

    Args:
        directory: may also be one written by `seqocr export`, which is then read with `engine`.

    Raises:
        InputError: as `load_recognizer`.
    """
    path = Path(directory or READER)
    return ExportedRecognizer(path, engine) if is_exported(path) else load_recognizer(path)


def load_recognizer(directory: Path | str) -> Recognizer:
    """Read what `save` wrote, or what `export_hugging_face` did.

    Raises:
        InputError: a file is missing, corrupt, or does not fit the other.
    """
    directory = Path(directory)
    if is_hugging_face(directory):
        return load_hugging_face(directory)
    config_path, weights_path = directory / "config.json", directory / "model.safetensors"
    for path in (config_path, weights_path):
        if not path.is_file():
            raise InputError(f"{path} is missing: give a directory written by `seqocr train`")
    recognizer = Recognizer.from_config(config_path)
    try:
        recognizer.load_state_dict(load_file(weights_path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{weights_path} cannot be used ({reason}): train or copy it again") from error
    return recognizer.eval()


def save(recognizer: Recognizer, directory: Path | str) -> None:
    """Write `model.safetensors` and `config.json`, each whole or not at all."""
    directory = Path(directory)
    with replacing(directory / "model.safetensors") as temporary:
        # save_file would make the file readable by its owner alone, whatever the umask.
        temporary.write_bytes(to_bytes({name: x.contiguous() for name, x in recognizer.state_dict().items()}))
    write_json(directory / "config.json", recognizer.config())
