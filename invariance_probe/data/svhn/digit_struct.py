"""digitStruct.mat: which digits a picture of SVHN shows, and where."""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ProbeError

Progress = Callable[[int, int, str], None]

_FIELDS = (b"left", b"top", b"width", b"height", b"label")
_MOST_PICTURES, _MOST_DIGITS, _LONGEST_NAME = 1_000_000, 100, 255


@dataclass(frozen=True)
class Entry:
    """One picture: its file name, its digits from left to right, and their boxes.

    `digits` are 0 ... 9; `boxes` is (n, 4): left, top, width, height in pixels.

    Convention: left and top are edges, 0 at the edge of the first pixel: a box holds the pixels
    left ... left + width - 1, counted from 0, as in the viewer that comes with the data.
    """

    name: str
    digits: tuple[int, ...]
    boxes: np.ndarray


def read_digit_struct(
    content: bytes, shown: str, progress: Progress | None = None
) -> tuple[Entry, ...]:
    """Return the entries of a digitStruct.mat (MATLAB 7.3, which is HDF5), given its bytes.

    The file stores every value as an object of its own: `bbox` and `name` are lists of references
    to them, and a field of a box is a number where a picture shows one digit, and again a list of
    references where it shows several. The digit 0 carries the label 10.

    Raises ProbeError, naming the file as `shown`, where h5py is not installed and for content that
    is not of this form.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise ProbeError(
            f"'{shown}' is an HDF5 file, and h5py is not installed; "
            "install the extra svhn: pip install 'invariance-probe[svhn]'"
        ) from None
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return tuple(_entries(_Reader(h5py, file), progress))
    except MemoryError:
        raise
    except Exception as error:  # h5py raises nearly anything on damaged files
        detail = str(error.args[0] if error.args else "").splitlines()
        raise ProbeError(
            f"'{shown}' is no digitStruct.mat of SVHN ({detail[0] if detail else 'damaged'}); "
            "fetch it again"
        ) from error


def _entries(reader: _Reader, progress: Progress | None) -> list[Entry]:
    names = reader.references(b"digitStruct/name")
    boxes = reader.references(b"digitStruct/bbox")
    if len(names) != len(boxes):
        raise ValueError(f"{len(names)} names but {len(boxes)} lists of boxes")
    found = []
    for number, (name, box) in enumerate(zip(names, boxes, strict=True)):
        found.append(_entry(reader.text(name), reader.fields(box)))
        if progress is not None and number % 500 == 0:
            progress(number, len(names), "reading the boxes")
    return found


def _entry(name: str, fields: np.ndarray) -> Entry:
    if not name or name.startswith(".") or any(c in name for c in "/\\\0:"):
        raise ValueError(f"the picture name {name!r}")
    if fields.shape[1] == 0 or not np.isfinite(fields).all():
        raise ValueError(f"boxes of '{name}' that are no numbers")
    labels = fields[4]
    if not all(label in range(11) for label in labels.tolist()):
        raise ValueError(f"the labels {labels.tolist()} of '{name}', not 1 to 10")
    if (fields[2:4] <= 0).any():
        raise ValueError(f"an empty box of '{name}'")
    return Entry(name, tuple(int(label) % 10 for label in labels), fields[:4].T.copy())


class _Reader:
    """Follows references with h5py's low-level calls, which take half the time."""

    def __init__(self, h5py: Any, file: Any) -> None:
        self.id, self.everything = file.id, h5py.h5s.ALL
        self.open, self.follow = h5py.h5d.open, h5py.h5r.dereference
        self.one, self.double = np.empty((1, 1)), h5py.h5t.NATIVE_DOUBLE

    def references(self, path: bytes) -> np.ndarray:
        return self._objects(self._read(self.open(self.id, path), _MOST_PICTURES))

    def text(self, reference: Any) -> str:
        codes = self._read(self.follow(reference, self.id), _LONGEST_NAME)
        return "".join(chr(int(code)) for code in codes)

    def fields(self, reference: Any) -> np.ndarray:
        """Return (5, n): left, top, width, height and label of each digit."""
        group = self.follow(reference, self.id)
        return np.array([self._numbers(self.open(group, key)) for key in _FIELDS], dtype=np.float64)

    def _numbers(self, dataset: Any) -> list[float]:
        values = self._read(dataset, _MOST_DIGITS)
        if values.dtype.kind != "O":
            return [float(value) for value in values]
        return [self._number(self.follow(reference, self.id)) for reference in values]

    def _number(self, dataset: Any) -> float:
        # Most of the time goes here: neither the type is asked for nor an array made.
        if math.prod(dataset.shape) != 1:
            raise ValueError("lists where numbers should be")
        dataset.read(self.everything, self.everything, self.one, self.double)
        return float(self.one[0, 0])

    def _read(self, dataset: Any, most: int) -> np.ndarray:
        count = math.prod(dataset.shape)
        if not 1 <= count <= most:  # before memory is taken for what a header claims
            raise ValueError(f"a list of {count} values")
        values = np.empty(dataset.shape, dataset.dtype)
        dataset.read(self.everything, self.everything, values)
        return values.reshape(-1)

    def _objects(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind != "O":
            raise ValueError("numbers where references should be")
        return values
