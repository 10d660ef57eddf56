"""Images in HDF5 files, read batch by batch; nothing outside the file is ever followed."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ProbeError
from ..decoding.budget import check_expansion
from ..decoding.photograph import plain
from ._keys import Layout, Shape, choose, labels_key, layout_of
from ._labels import check_labels
from .arrays import check_values, rows_images
from .image_set import ImageSet

# Filters of the library itself: deflate, shuffle, fletcher32, szip, n-bit, scale-offset; LZF is
# h5py's. Any other number would make the library load a plug-in.
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
_MOST_OBJECTS = 10_000
_MOST_IMAGES = 100_000_000
_LARGEST_CHUNK = 1 << 30
_CACHE = 64 << 20  # bytes of unpacked chunks that are kept


def hdf5_images(
    path: str | Path,
    dataset: str | None = None,
    canvas: int | Sequence[int] | None = None,
    *,
    channels: int | None = None,
    labels: str | None = None,
) -> ImageSet:
    """Return the images of an HDF5 file (.h5, .hdf5), read when they are asked for.

    Datasets, axes, types and labels as in `npz_images`, by their path in the file ("/images");
    needs h5py (the extra hdf5).

    Raises ProbeError where h5py is not installed, for damaged files, for datasets of another shape,
    type or range, and for what would read other files (external links and storage, virtual
    datasets), load plug-ins, or grow a hundredfold and beyond 1 GB.
    """
    path = Path(path)
    shown = plain(str(path))
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise ProbeError(f"'{shown}' is a folder, a device or a pipe; give a file")
    with _damage_named(shown):
        with _library(shown).File(path, "r") as file:
            shapes = _shapes(file)
            wanted = None if dataset is None else dataset.strip("/")
            key = choose(wanted, shapes, shown)
            where = f"'{shown}:/{plain(key)}'"
            layout = layout_of(shapes[key], where)
            kind = _checked(file[key], where)
            numbers = _labels(file, shapes, key, layout, labels, shown)
        rows = _Rows(path, key, layout, kind)
        notes = check_values(rows, f"{where}: ")
        return rows_images(
            rows,
            canvas,
            channels=channels,
            labels=numbers,
            description=f"{plain(path.name)}:/{plain(key)}",
            notes=notes,
        )


class _Rows:
    """A dataset as an array (N, C, H, W), of which only the asked images are read."""

    def __init__(self, path: Path, key: str, layout: Layout, kind: np.dtype[Any]) -> None:
        self.path, self.key, self.layout, self.dtype = path, key, layout, kind
        self.shape = layout.shape
        self._file: Any = None
        self._owner = 0

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        shown = plain(str(self.path))
        with _damage_named(shown):
            data = self._dataset(shown)
            if isinstance(rows, slice):
                return self.layout.first(data[rows])
            if not isinstance(rows, Sequence):
                return self.layout.first(data[rows : rows + 1])[0]
            # h5py reads increasing rows only, each once.
            kept, place = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
            return self.layout.first(data[kept.tolist()][place])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def _dataset(self, shown: str) -> Any:
        # A file opened by the parent process must not be read by its children.
        if self._file is None or self._owner != os.getpid():
            self._file = _library(shown).File(self.path, "r", rdcc_nbytes=_CACHE)
            self._owner = os.getpid()
        data = self._file[self.key]
        if data.shape[0] != self.shape[0] or data.dtype != self.dtype:
            raise ValueError("it changed since it was opened")
        return data


def _library(shown: str) -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise ProbeError(
            f"'{shown}' is an HDF5 file, and h5py is not installed; "
            "install the extra hdf5: pip install 'invariance-probe[hdf5]'"
        ) from None


def _shapes(file: Any) -> dict[str, Shape]:
    """Return the shape of every dataset, by its path; links are left alone."""
    shapes: dict[str, Shape] = {}
    hard = importlib.import_module("h5py").HardLink
    waiting = [("", file)]
    seen = {file.id}
    while waiting:
        place, group = waiting.pop()
        for name in group:
            if len(shapes) + len(seen) > _MOST_OBJECTS:
                raise ValueError(f"more than {_MOST_OBJECTS:,} objects")
            if not isinstance(group.get(name, getlink=True), hard):
                continue
            entry, path = group[name], f"{place}{name}"
            if hasattr(entry, "dtype") and hasattr(entry, "chunks"):
                shapes[path] = entry.shape or ()
            elif hasattr(entry, "keys") and entry.id not in seen:
                seen.add(entry.id)
                waiting.append((f"{path}/", entry))
    return shapes


def _checked(data: Any, where: str) -> np.dtype[Any]:
    """Refuse a dataset that is more than plain numbers in this file; return their type."""
    if data.is_virtual or data.external:
        raise ProbeError(
            f"{where} takes its content from other files; write the numbers into one file"
        )
    if not np.issubdtype(data.dtype, np.number):
        raise ProbeError(f"{where} has type {data.dtype}; images are uint8 or floats in [0, 1]")
    plist = data.id.get_create_plist()
    for number in range(plist.get_nfilters()):
        if (code := plist.get_filter(number)[0]) not in _FILTERS:
            raise ProbeError(
                f"{where} is packed by the plug-in {code}, which is not loaded; "
                "write it with gzip or without compression"
            )
    chunk = int(np.prod(data.chunks or (0,), dtype=object)) * data.dtype.itemsize
    if chunk > _LARGEST_CHUNK or data.shape[0] > _MOST_IMAGES:
        raise ProbeError(f"{where} declares shape {data.shape} in chunks of {chunk:,} bytes; "
                         "write it in smaller chunks")  # fmt: skip
    stored = data.id.get_storage_size()
    size = int(np.prod(data.shape, dtype=object)) * data.dtype.itemsize
    if stored == 0 and size:
        raise ProbeError(f"{where} declares shape {data.shape}, but nothing is stored in it")
    check_expansion(size, stored, where, "write it without compression")
    return data.dtype


def _labels(
    file: Any, shapes: dict[str, Shape], key: str, layout: Layout, labels: str | None, shown: str
) -> np.ndarray | None:
    if labels is not None:
        labels = choose(labels.strip("/"), shapes, shown)
    found = labels_key(key, layout.shape[0], shapes) if labels is None else labels
    if found is None:
        return None
    where = f"'{shown}:/{plain(found)}'"
    _checked(file[found], where)
    if math.prod(shapes[found]) > layout.shape[0]:
        raise ProbeError(
            f"{where} has labels of shape {shapes[found]} for {layout.shape[0]} images; give one "
            "each"
        )
    return check_labels(file[found][()], layout.shape[0], f"{where} has ")


@contextmanager
def _damage_named(shown: str) -> Iterator[None]:
    try:
        yield
    except (ProbeError, MemoryError):
        raise
    except FileNotFoundError:
        raise ProbeError(f"no file '{shown}'; check the path") from None
    except Exception as error:  # h5py raises nearly anything on damaged files
        detail = str(error.args[-1] if error.args else "") or type(error).__name__
        raise ProbeError(
            f"'{shown}' cannot be read as an HDF5 file ({plain(detail.splitlines()[0][:300])}); "
            "write it again"
        ) from error


__all__ = ["hdf5_images"]
