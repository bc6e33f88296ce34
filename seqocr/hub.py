"""Recognizers on the Hugging Face hub: safetensors, exported graphs, their configs and a model card, nothing else.

Tokens, caches, mirrors and offline mode are those of `huggingface_hub`: `hf auth login`, HF_TOKEN, HF_HOME,
HF_ENDPOINT, HF_HUB_OFFLINE.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from seqocr.errors import InputError, MissingExtraError
from seqocr.files import shown

CARD = "README.md"
# What is published and fetched: weights, or graphs, or weights with graphs beside them. Never a pickle.
FILES = ("config.json", "model.safetensors", "*.onnx", "onnx/config.json", "onnx/*.onnx", CARD, "NOTICE.md")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_SECONDS_TO_ANSWER = 10  # a hub that has not answered by then counts as absent


def is_hub_name(name: str) -> bool:
    """Whether a name can be one of the hub's, USER/NAME or USER/NAME@REVISION, and is no folder here."""
    return _NAME.fullmatch(name) is not None and not Path(name).exists()


def hub_answers() -> bool:
    """Asked first: the hub's client repeats for the better part of a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS_TO_ANSWER)
    except Exception:  # whatever the client of the hub in use raises; then there is no hub for us
        return False
    return True


@cache  # a reader's weights and graphs are asked for apart
def fetch(name: str) -> Path:
    """The folder of a recognizer of the hub, downloaded unless it was before.

    Args:
        name: USER/NAME, or USER/NAME@REVISION of a branch, tag or commit.

    Raises:
        InputError: there is none of this name, it is not ours to read, or the hub does not answer and it was never
            downloaded.
    """
    with _errors(f"{shown(name)} is no folder here"):
        from huggingface_hub import snapshot_download

        repository, _, revision = name.partition("@")
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=[*FILES], local_files_only=not hub_answers()
        )
    return Path(found)


def publish(directory: Path, name: str, card: str, private: bool) -> str:
    """Upload a recognizer, creating its repository if need be.

    Args:
        directory: of weights or exported graphs; graphs in its folder `onnx` go along.
        card: the model card, unless the directory has one of its own.

    Returns:
        the address of the commit.

    Raises:
        InputError: the name is none of the hub's, the hub does not answer, or does not let this user write there.
    """
    if not _NAME.fullmatch(name) or "@" in name:
        raise InputError(f"{shown(name)} is no name for the hub: give USER/NAME")
    with _errors(f"{shown(name)} cannot be written"):
        from huggingface_hub import CommitOperationAdd, HfApi

        if not hub_answers():
            raise OSError("the hub does not answer")
        files = sorted(path for pattern in FILES for path in directory.glob(pattern))
        named = [CommitOperationAdd(path.relative_to(directory).as_posix(), path) for path in files]
        if directory / CARD not in files:
            named.append(CommitOperationAdd(CARD, card.encode()))
        hub = HfApi()
        hub.create_repo(name, private=private, exist_ok=True)
        return str(hub.create_commit(name, named, commit_message="Recognizer of digit strings (seqocr)").commit_url)


@contextmanager
def _errors(failed: str) -> Iterator[None]:
    """What the hub's client raises as one line that says what to do."""
    try:
        from huggingface_hub import errors, utils
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{failed}, and the hub takes a package: pip install 'seqocr[hub]'") from error
    if not sys.stderr.isatty():
        utils.disable_progress_bars()
    try:
        yield
    except InputError:
        raise
    except errors.LocalEntryNotFoundError as error:
        said = "was not downloaded before, and the hub does not answer: give a folder, or try again with a network"
        raise InputError(f"{failed}, {said}") from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{failed}, and the hub has no such revision of it") from error
    except errors.RepositoryNotFoundError as error:
        said = "the hub has no such name or hides it: check it, or log in (`hf auth login`, HF_TOKEN)"
        raise InputError(f"{failed}, and {said}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "log in (`hf auth login`, HF_TOKEN) as one who may" if status in (401, 403) else "try again"
        raise InputError(f"{failed}: the hub answers {status}: {remedy}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{failed}: {shown(' '.join(str(error).split())[:200])}") from error
