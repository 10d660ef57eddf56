"""Data sets in torchvision's layout: small files of the true formats, torchvision as the oracle."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from invariance_probe import ProbeError
from invariance_probe.data import ImageSet, torchvision_images

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 0x08, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write_mnist(root: Path, title: str, number: int = 5) -> None:
    raw = root / title / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        images = RNG.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = RNG.integers(0, 10, number, dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))


def test_fashion_lies_where_debian_puts_it(tmp_path: Path) -> None:
    write_mnist(tmp_path / "plain", "FashionMNIST")
    write_mnist(tmp_path / "plain", "MNIST")
    place = tmp_path / "datasets" / "fashion-mnist"
    place.mkdir(parents=True)
    for file in (tmp_path / "plain" / "FashionMNIST" / "raw").iterdir():
        (place / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    plain = torchvision_images("FashionMNIST", tmp_path / "plain")
    for root in (tmp_path / "datasets", place):
        found = torchvision_images("FashionMNIST", root)
        assert found.sha256 == plain.sha256 and found.labels.tolist() == plain.labels.tolist()
    with pytest.raises(ProbeError, match="MNIST is not under"):  # another set's files are not it
        torchvision_images("MNIST", tmp_path / "datasets")


class _Python2(pickle._Pickler):  # the pure-Python one, whose parts can be replaced
    """Writes every text and byte string as Python 2 did, which made the published files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_old(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[str] = dispatch[bytes] = save_old


def write_cifar(folder: Path, names: list[str], key: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        data = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)
        content = {"data": data, key: RNG.integers(0, 10, 4).tolist()}
        with (folder / name).open("wb") as stream:
            _Python2(stream, protocol=2).dump(content)


def write_cifar10(root: Path) -> None:
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    write_cifar(root / "cifar-10-batches-py", names, "labels")


def write_cifar100(root: Path) -> None:
    write_cifar(root / "cifar-100-python", ["train", "test"], "fine_labels")


def write_svhn(root: Path) -> None:
    from scipy.io import savemat

    for part in ("train", "test"):
        pixels = RNG.integers(0, 256, (32, 32, 3, 6), dtype=np.uint8)
        labels = np.array([[1], [10], [9], [10], [2], [3]], np.uint8)
        savemat(root / f"{part}_32x32.mat", {"X": pixels, "y": labels})


def write_stl10(root: Path) -> None:
    folder = root / "stl10_binary"
    folder.mkdir()
    for part in ("train", "test"):
        (folder / f"{part}_X.bin").write_bytes(RNG.bytes(3 * 3 * 96 * 96))
        (folder / f"{part}_y.bin").write_bytes(bytes([1, 10, 4]))
    (folder / "class_names.txt").write_text("\n".join("abcdefghij"))


WRITERS: dict[str, Callable[[Path], None]] = {
    "MNIST": lambda root: write_mnist(root, "MNIST"),
    "FashionMNIST": lambda root: write_mnist(root, "FashionMNIST"),
    "KMNIST": lambda root: write_mnist(root, "KMNIST"),
    "CIFAR10": write_cifar10,
    "CIFAR100": write_cifar100,
    "SVHN": write_svhn,
    "STL10": write_stl10,
}


def theirs(title: str, root: Path, train: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same files read by torchvision; its checks of the true files' MD5 are set aside."""
    datasets = pytest.importorskip("torchvision.datasets")
    kind = getattr(datasets, title)
    for module in (datasets.cifar, datasets.svhn, datasets.stl10):
        monkeypatch.setattr(module, "check_integrity", lambda *_: True, raising=False)
    monkeypatch.setattr("torchvision.datasets.utils.check_integrity", lambda *_: True)
    if title.startswith("CIFAR"):
        monkeypatch.setattr(kind, "_load_meta", lambda self: None)
    split = {"split": "train" if train else "test"}
    part = split if title in ("SVHN", "STL10") else {"train": train}
    return kind(root, download=False, **part)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("title", WRITERS)
def test_same_as_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str, train: bool
) -> None:
    WRITERS[title](tmp_path)
    images = torchvision_images(title, tmp_path, train)
    oracle = theirs(title, tmp_path, train, monkeypatch)
    assert len(images) == len(oracle)
    assert images.labels is not None
    for i in range(len(images)):
        image, label = oracle[i]
        pixels = np.asarray(image)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        np.testing.assert_array_equal(images.batch([i])[0].numpy(), pixels / np.float32(255))
        assert images.labels[i] == label
    assert images.names[0] == ("train-00000" if train else "test-00000")
    assert images.background == ((0.0,) if "MNIST" in title else "reflect")
    assert images.description == f"{title} {'train' if train else 'test'} images"


def test_names_are_forgiving_and_roots_too(tmp_path: Path) -> None:
    write_mnist(tmp_path, "FashionMNIST")

    def first(name: str, root: Path) -> ImageSet:
        return torchvision_images(name, root)

    expected = first("FashionMNIST", tmp_path).sha256
    assert first("fashion-mnist", tmp_path).sha256 == expected
    assert first("FASHION_MNIST", tmp_path / "FashionMNIST").sha256 == expected
    assert first("fashionmnist", tmp_path / "FashionMNIST" / "raw").sha256 == expected


def test_canvas_and_channels(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    assert torchvision_images("cifar10", tmp_path, canvas=22).source_size == (32, 32)
    assert torchvision_images("cifar10", tmp_path, canvas=64).source_size == (64, 64)
    assert torchvision_images("cifar10", tmp_path, channels=1).channels == 1


@pytest.mark.parametrize(
    ("title", "train", "place", "command"),
    [
        ("MNIST", False, "MNIST/raw/t10k-images-idx3-ubyte", "MNIST({}, train=False, download"),
        ("KMNIST", True, "KMNIST/raw/train-images-idx3-ubyte", "KMNIST({}, train=True, download"),
        ("CIFAR10", True, "cifar-10-batches-py/data_batch_1", "CIFAR10({}, train=True, download"),
        ("CIFAR100", False, "cifar-100-python/test", "CIFAR100({}, train=False, download"),
        ("SVHN", False, "test_32x32.mat", "SVHN({}, split='test', download"),
        ("STL10", True, "stl10_binary/train_X.bin", "STL10({}, split='train', download"),
    ],
)
def test_missing_data_say_where_and_how(
    tmp_path: Path, title: str, train: bool, place: str, command: str
) -> None:
    with pytest.raises(ProbeError) as caught:
        torchvision_images(title, tmp_path, train)
    message = str(caught.value)
    assert message.startswith(f"{title} is not under '{tmp_path}': expected '{tmp_path / place}'")
    assert command.format(repr(str(tmp_path))) in message
    assert "\n" not in message


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"unknown data set 'mnits'; did you mean .*MNIST"):
        torchvision_images("mnits", tmp_path)
    with pytest.raises(ProbeError, match=r"choose one of MNIST, FashionMNIST, .*STL10"):
        torchvision_images("qqqq", tmp_path)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('pwned').touch()",)


def test_cifar_files_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": _Evil()}))
    with pytest.raises(ProbeError, match=r"cannot be read as a CIFAR file \(it wants to run"):
        torchvision_images("cifar10", tmp_path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.float32), b"labels": [1, 2]}),
    ],
)
def test_files_that_are_no_cifar(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(ProbeError, match=r"test_batch' (cannot be read|holds no).*fetch it again"):
        torchvision_images("CIFAR10", tmp_path)


def test_other_damaged_files(tmp_path: Path) -> None:
    from scipy.io import savemat

    (tmp_path / "test_32x32.mat").write_bytes(b"no mat file at all")
    with pytest.raises(ProbeError, match="cannot be read as an SVHN file"):
        torchvision_images("SVHN", tmp_path)
    savemat(tmp_path / "test_32x32.mat", {"X": np.zeros((5, 32, 32)), "y": np.zeros(5)})
    with pytest.raises(ProbeError, match=r"not \(32, 32, 3, N\)"):
        torchvision_images("SVHN", tmp_path)
    write_stl10(tmp_path)
    (tmp_path / "stl10_binary" / "test_X.bin").write_bytes(b"123")
    with pytest.raises(ProbeError, match="no whole number of 96x96"):
        torchvision_images("STL10", tmp_path)
    write_mnist(tmp_path, "MNIST")
    labels = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(ProbeError, match="5 images but 4 labels"):
        torchvision_images("MNIST", tmp_path)
