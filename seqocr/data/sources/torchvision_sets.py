"""EMNIST digits and letters, QMNIST, KMNIST and USPS, read from the archives that torchvision downloads: it knows their
checksums, not those of what it unpacks, or of its older versions' pickles."""

import gzip
import logging
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torchvision import datasets
from torchvision.datasets.utils import download_url

from seqocr.data.sources.download import fault, last_line, sockets_time_out
from seqocr.errors import InputError
from seqocr.files import replacing, shown, writable

log = logging.getLogger(__name__)


class Archive(NamedTuple):
    """A file that torchvision knows: its path below the data root, where it can be had, and its checksum."""

    path: Path
    urls: tuple[str, ...]
    md5: str


def load_other(dataset: str, training: bool, root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 28, 28) uint8 and labels (N,) int64 from 0 up, of the training half or the test half.

    Raises:
        InputError: an archive is not there or not whole, and cannot be downloaded.
    """
    paths = [fetch(dataset, archive, root) for archive in archives(dataset, training)]
    if dataset == "usps":
        usps = datasets.USPS(str(root), train=training)
        return _like_mnist(torch.as_tensor(usps.data)), torch.as_tensor(usps.targets).long()
    if dataset.startswith("emnist-"):
        images, labels = _emnist(paths[0], f"{dataset}-{'train' if training else 'test'}")
        labels = labels - int(dataset == "emnist-letters")  # whose labels start from 1
    else:
        images, labels = (parse_idx(path.read_bytes()) for path in paths)
        labels = labels[:, 0] if dataset == "qmnist" else labels  # the others tell who wrote it
    return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))


def qmnist_labels(training: bool, root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of QMNIST's training half or test half, and who wrote each, (N,) int64.

    Raises:
        InputError: as `load_other`.
    """
    rows = parse_idx(fetch("qmnist", archives("qmnist", training)[1], root).read_bytes())
    labels = torch.from_numpy(rows.astype(np.int64))
    return labels[:, 0], labels[:, 2]


def archives(dataset: str, training: bool) -> list[Archive]:
    """What a half of a data set is in: images first, then labels, or both in one."""
    if dataset == "usps":
        url, name, md5 = datasets.USPS.split_list["train" if training else "test"]
        return [Archive(Path(name), (url,), md5)]
    if dataset == "qmnist":
        listed = datasets.QMNIST.resources["train" if training else "test"]
        return [Archive(Path("QMNIST", "raw", Path(url).name), (url,), md5) for url, md5 in listed]
    if dataset == "kmnist":
        mirrors, half = datasets.KMNIST.mirrors, "train" if training else "t10k"
        return [
            Archive(Path("KMNIST", "raw", name), tuple(mirror + name for mirror in mirrors), md5)
            for name, md5 in datasets.KMNIST.resources
            if name.startswith(half)
        ]
    return [Archive(Path("EMNIST", "raw", "gzip.zip"), (datasets.EMNIST.url,), datasets.EMNIST.md5)]


def fetch(dataset: str, archive: Archive, root: Path) -> Path:
    """The path of an archive, downloaded if it is not there."""
    path = root / archive.path
    if not (faults := [fault(path, archive.md5)])[0]:
        return path
    writable(path.parent)
    for url in archive.urls:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                with sockets_time_out():
                    download_url(url, scratch, path.name, archive.md5)
            except Exception as error:  # of connections, disks, archives cut short: the next one is tried
                faults.append(f"{url}: {last_line(error)}")
                continue
            with replacing(path) as temporary:
                temporary.write_bytes(Path(scratch, path.name).read_bytes())
            log.info("%s: verified, stored in %s", url, path)
            return path
    raise InputError(
        f"{dataset} could not be had: {'; '.join(faults)}. Put {path.name} (MD5 {archive.md5}) into "
        f"{shown(path.parent)}, or run where its mirrors can be reached. Unpacked files are not used: their checksums "
        "are not known."
    )


def _emnist(archive: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    with zipfile.ZipFile(archive) as packed:
        names = (f"gzip/{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
        images, labels = (parse_idx(packed.read(name)) for name in names)
    return images.transpose(0, 2, 1), labels  # which are stored transposed


def parse_idx(packed: bytes) -> np.ndarray:
    """The array in a gzipped IDX file: two zeros, its type, its number of axes, their sizes, then its values."""
    data = gzip.decompress(packed)
    kind, axes = data[2], data[3]
    shape = struct.unpack_from(f">{axes}I", data, 4)
    return np.frombuffer(data, {8: "u1", 12: ">i4"}[kind], offset=4 + 4 * axes).reshape(shape)


def _like_mnist(images: torch.Tensor) -> torch.Tensor:
    """(N, 16, 16) uint8 -> (N, 28, 28) uint8: enlarged to 20x20 in a 4-pixel margin, as MNIST's digits are."""
    larger = F.interpolate(images[:, None].float(), size=(20, 20), mode="bicubic", align_corners=False)
    return F.pad(larger.clamp(0, 255).round().to(torch.uint8), (4, 4, 4, 4))[:, 0]
