"""Data sets on disk in the layout of torchvision, read directly; nothing is ever downloaded."""

from __future__ import annotations

import difflib
import math
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ProbeError
from ..decoding.budget import check_expansion
from ..decoding.idx import read_idx
from ._labels import check_labels
from .arrays import array_images
from .image_set import ImageSet

_Arrays = tuple[np.ndarray, np.ndarray]

# Where Debian's package dataset-fashion-mnist puts the files, under /usr/share/datasets.
_OTHER_PLACES = {"FashionMNIST": "fashion-mnist"}

_RECONSTRUCT_HOMES = ("numpy.core.multiarray", "numpy._core.multiarray")


@dataclass(frozen=True)
class _DataSet:
    """How a data set lies under the root: its reader, and what lies beyond its images."""

    title: str  # torchvision's class name
    read: Callable[[Path, bool, str], _Arrays]
    background: float | str


def torchvision_images(
    name: str,
    root: str | Path,
    train: bool = False,
    *,
    canvas: int | Sequence[int] | None = None,
    channels: int | None = None,
) -> ImageSet:
    """Return a data set that torchvision has put under `root`, with its labels.

    Names (case and hyphens do not matter): MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100, SVHN,
    STL10. `train` chooses the part, the test part by default. `canvas` and `channels` as in
    `array_images`. Beyond the edge lies 0 for the MNIST family, the reflected image for the others.

    Raises ProbeError for an unknown name, for files that are not there (with the place and the
    command that fetches them) and for files that are not what they should be.
    """
    data = _data_set(name)
    images, labels = data.read(Path(root), train, data.title)
    part = "train" if train else "test"
    if len(images) != len(labels):
        raise ProbeError(
            f"{data.title} under '{root}': {len(images)} images but {len(labels)} labels; "
            "fetch the files again"
        )
    return array_images(
        images,
        canvas,
        channels=channels,
        background=data.background,
        labels=labels.astype(np.int64),
        names=[f"{part}-{i:05d}" for i in range(len(images))],
        description=f"{data.title} {part} images",
    )


def mnist_file(root: str | Path, name: str, title: str = "MNIST") -> Path:
    """Return the path of an IDX file of the MNIST family under a root, plain or compressed.

    Fashion-MNIST may also lie under the root as Debian's package has it, in fashion-mnist.
    """
    other = Path(root, _OTHER_PLACES.get(title, title), f"{name}.gz")
    if other.is_file():
        return other
    return _file(Path(root), f"{title}/raw", (name, f"{name}.gz"), title)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _data_set(name: str) -> _DataSet:
    known = {_plain(data.title): data for data in _DATA_SETS}
    if _plain(name) in known:
        return known[_plain(name)]
    near = difflib.get_close_matches(_plain(name), known, n=2, cutoff=0.5)
    titles = [known[key].title for key in near] or [data.title for data in _DATA_SETS]
    hint = "did you mean" if near else "choose one of"
    raise ProbeError(
        f"unknown data set '{name}'; {hint} {', '.join(titles)}? "
        "For other images give a folder of image files"
    )


def _file(root: Path, place: str, names: Sequence[str], title: str) -> Path:
    """Return the first file that exists; the root may also be the inner folder itself."""
    inner = place.split("/")
    for depth in range(len(inner) + 1):
        for name in names:
            path = root.joinpath(*inner[depth:], name)
            if path.is_file():
                return path
    part = {"SVHN": "split='test'", "STL10": "split='test'"}.get(title, "train=False")
    if "train" in names[0] or "data_batch" in names[0]:
        part = part.replace("test", "train").replace("False", "True")
    expected = root.joinpath(*inner, names[0])
    alternative = f" (or {', '.join(names[1:])})" if names[1:] else ""
    raise ProbeError(
        f"{title} is not under '{root}': expected '{expected}'{alternative}; fetch it with: "
        f'python -c "from torchvision.datasets import {title}; '
        f'{title}({str(root)!r}, {part}, download=True)"'
    )


def _read_mnist(root: Path, train: bool, title: str) -> _Arrays:
    part = "train" if train else "t10k"
    images = read_idx(mnist_file(root, f"{part}-images-idx3-ubyte", title), 3, "uint8")
    labels = read_idx(mnist_file(root, f"{part}-labels-idx1-ubyte", title), 1, "uint8")
    return images, labels


def _read_cifar10(root: Path, train: bool, title: str) -> _Arrays:
    names = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
    files = [_file(root, "cifar-10-batches-py", (name,), title) for name in names]
    return _cifar(files, b"labels")


def _read_cifar100(root: Path, train: bool, title: str) -> _Arrays:
    name = "train" if train else "test"
    return _cifar([_file(root, "cifar-100-python", (name,), title)], b"fine_labels")


def _cifar(files: Sequence[Path], key: bytes) -> _Arrays:
    images, labels = [], []
    for file in files:
        content = _unpickle(file)
        data = content.get(b"data", content.get("data"))
        numbers = content.get(key, content.get(key.decode()))
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
            raise ProbeError(f"'{file}' holds no CIFAR images; fetch it again")
        if data.shape[1] != 3072 or numbers is None:
            raise ProbeError(f"'{file}' holds no CIFAR images with labels; fetch it again")
        images.append(data.reshape(-1, 3, 32, 32))
        labels.append(_labels(numbers, len(data), file))
    return np.concatenate(images), np.concatenate(labels)


def _labels(labels: Any, count: int, file: Path) -> np.ndarray:
    try:
        return check_labels(labels, count, "")
    except ProbeError as error:
        raise ProbeError(
            f"'{file}' holds no images with labels ({error}); fetch it again"
        ) from None


class _ArraysOnly(pickle.Unpickler):
    """Reads the CIFAR files, which are pickles, without letting them name anything but arrays."""

    def find_class(self, module: str, name: str) -> Any:
        # The module of NumPy's constructor has moved between versions.
        if name == "_reconstruct" and module in _RECONSTRUCT_HOMES:
            return _empty
        allowed = {
            ("numpy", "ndarray"): "the class that is told to _reconstruct",
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return allowed[module, name]


def _empty(*told: Any) -> np.ndarray:
    """The array that a pickle fills afterwards, whatever size it tells beforehand."""
    return np.empty(0, np.uint8)


def _latin1(text: str, encoding: str) -> bytes:
    """The bytes that pickles of Python 3 hold as a text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding}")
    return text.encode("latin1")


def _unpickle(file: Path) -> dict[Any, Any]:
    try:
        with file.open("rb") as stream, warnings.catch_warnings():
            # The original files spell a flag of their type as 0, which new NumPy warns about.
            warnings.simplefilter("ignore")
            content = _ArraysOnly(stream, encoding="bytes").load()
    except Exception as error:  # damaged pickles raise nearly anything, or declare any size
        raise ProbeError(
            f"'{file}' cannot be read as a CIFAR file ({str(error) or type(error).__name__}); "
            "fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise ProbeError(f"'{file}' holds no CIFAR images; fetch it again")
    return content


def _read_svhn(root: Path, train: bool, title: str) -> _Arrays:
    from scipy.io import loadmat, whosmat  # slow to import, and only this data set needs it

    file = _file(root, "", ("train_32x32.mat" if train else "test_32x32.mat",), title)
    try:
        told = {name: shape for name, shape, _ in whosmat(file)}
        for name in ("X", "y"):
            check_expansion(
                math.prod(told[name]), file.stat().st_size, f"'{file}':{name}", "fetch it again"
            )
        content = loadmat(file, variable_names=("X", "y"))
        images, labels = content["X"], content["y"]
    except (MemoryError, ProbeError):
        raise
    except Exception as error:
        raise ProbeError(
            f"'{file}' cannot be read as an SVHN file ({error}); fetch it again"
        ) from error
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[2:-1] != (3,):
        raise ProbeError(
            f"'{file}' holds X of shape {np.shape(images)}, not (32, 32, 3, N); fetch it again"
        )
    labels = _labels(labels, images.shape[-1], file)
    # The digit 0 carries the label 10.
    return images.transpose(3, 2, 0, 1), labels % 10


def _read_stl10(root: Path, train: bool, title: str) -> _Arrays:
    part = "train" if train else "test"
    file = _file(root, "stl10_binary", (f"{part}_X.bin",), title)
    values = np.fromfile(file, dtype=np.uint8)
    if len(values) == 0 or len(values) % (3 * 96 * 96):
        raise ProbeError(f"'{file}' is no whole number of 96x96 colour images; fetch it again")
    labels = np.fromfile(_file(root, "stl10_binary", (f"{part}_y.bin",), title), dtype=np.uint8)
    # Columns run first in these files, and labels from 1.
    return values.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2), labels.astype(np.int64) - 1


_DATA_SETS = (
    _DataSet("MNIST", _read_mnist, 0.0),
    _DataSet("FashionMNIST", _read_mnist, 0.0),
    _DataSet("KMNIST", _read_mnist, 0.0),
    _DataSet("CIFAR10", _read_cifar10, "reflect"),
    _DataSet("CIFAR100", _read_cifar100, "reflect"),
    _DataSet("SVHN", _read_svhn, "reflect"),
    _DataSet("STL10", _read_stl10, "reflect"),
)
