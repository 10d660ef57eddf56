"""Images in NumPy's files, .npy and .npz; pickled objects in them are never read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy

from ...errors import ProbeError
from ..decoding.budget import check_expansion
from ..decoding.photograph import plain
from ._keys import Shape, choose, labels_key, layout_of
from ._labels import check_labels
from .arrays import check_values, rows_images
from .image_set import ImageSet

_BLOCK = 1 << 22
_MOST_ARRAYS, _LONGEST_HEADER = 10_000, 1 << 16


def npz_images(
    path: str | Path,
    key: str | None = None,
    canvas: int | Sequence[int] | None = None,
    *,
    channels: int | None = None,
    labels: str | None = None,
) -> ImageSet:
    """Return the images of a .npz or .npy file: uint8, uint16, or floats in [0, 1].

    The array is (N, H, W), (N, C, H, W) or (N, H, W, C). `key` names it in a .npz; left out, it is
    the only one that can be images, or the one called images, x, data or arr_0. `labels` names
    theirs; left out, whole numbers called like them are taken (labels, y, targets; y_test for
    x_test). An .npy file is mapped, not read; canvas and channels as in `array_images`.

    Raises ProbeError for another shape, type or range, for objects (which are pickles and could
    run code), for damaged files, and for arrays that would grow a hundredfold and beyond 1 GB.
    """
    path = Path(path)
    shown = plain(str(path))
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise ProbeError(f"'{shown}' is a folder, a device or a pipe; give a file")
    with _damage_named(shown):
        if _is_archive(path):
            pixels, where, numbers = _archive(path, shown, key, labels)
        else:
            if key is not None or labels is not None:
                raise ProbeError(f"'{shown}' is a single array without keys; give only its path")
            pixels, where, numbers = _mapped(path, shown), f"'{shown}'", None
        layout = layout_of(pixels.shape, where)
        images = layout.first(pixels)
        notes = check_values(images, f"{where}: ")
        return rows_images(
            images,
            canvas,
            channels=channels,
            labels=numbers,
            description=where.strip("'").rpartition("/")[2],
            notes=notes,
        )


def _is_archive(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


def _mapped(path: Path, shown: str) -> np.ndarray:
    size = path.stat().st_size
    with path.open("rb") as stream:
        shape, order, kind = _header(stream, shown)
        start = stream.tell()
    if math.prod(shape) * kind.itemsize != size - start:
        raise ValueError(f"it declares shape {shape} of {kind}, but has {size - start} bytes")
    if 0 in shape:
        raise ValueError(f"it is empty, of shape {shape}")
    return np.memmap(path, kind, mode="r", offset=start, shape=shape, order=order)


def _archive(
    path: Path, shown: str, key: str | None, labels: str | None
) -> tuple[np.ndarray, str, np.ndarray | None]:
    with zipfile.ZipFile(path) as archive:
        entries = [e for e in archive.infolist() if e.filename.endswith(".npy")]
        names = [entry.filename.removesuffix(".npy") for entry in entries]
        if len(set(names)) != len(names) or len(names) > _MOST_ARRAYS:
            raise ValueError("entries of the same name, or far too many")
        members = dict(zip(names, entries, strict=True))
        shapes: dict[str, Shape] = {}
        for name, entry in members.items():
            with archive.open(entry) as stream:
                # What is not asked for may hold objects: it is left alone.
                shapes[name] = _shape(stream, shown, name == key or len(members) == 1)
        chosen = choose(key, shapes, shown)
        pixels = _member(archive, members[chosen], f"{shown}:{plain(chosen)}")
        if labels is not None and labels not in members:
            choose(labels, shapes, shown)
        count = len(pixels) if pixels.ndim else 0
        found = labels_key(chosen, count, shapes) if labels is None else labels
        if found is None:
            return pixels, f"'{shown}:{plain(chosen)}'", None
        where = f"{shown}:{plain(found)}"
        numbers = check_labels(_member(archive, members[found], where), count, f"'{where}' has ")
        return pixels, f"'{shown}:{plain(chosen)}'", numbers


def _shape(stream: IO[bytes], shown: str, needed: bool) -> Shape:
    try:
        return _header(stream, shown)[0]
    except ProbeError:
        if needed:
            raise
        return ()


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shown: str) -> np.ndarray:
    """Return one array; its declared size is compared with the archive's before it is allocated."""
    check_expansion(
        entry.file_size, entry.compress_size, f"'{shown}'",
        "give a file written by numpy.savez, without compression",
    )  # fmt: skip
    with archive.open(entry) as stream:
        shape, order, kind = _header(stream, shown)
        size = math.prod(shape) * kind.itemsize
        if size != entry.file_size - stream.tell():
            raise ValueError(
                f"'{plain(entry.filename)}' declares shape {shape} of {kind}, which is not the "
                "size of its content"
            )
        # bytearray grows with what really comes, whatever the archive declares.
        content = bytearray()
        while block := stream.read(min(_BLOCK, size - len(content) + 1)):
            content += block
            if len(content) > size:
                raise ValueError(f"'{plain(entry.filename)}' is longer than it declares")
    if len(content) != size:
        raise EOFError(f"'{plain(entry.filename)}' ends too early")
    return np.frombuffer(content, kind).reshape(shape, order=order)


def _header(stream: IO[bytes], shown: str) -> tuple[Shape, Literal["C", "F"], np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format is for structured arrays")
    first = version == (1, 0)
    length = stream.read(2 if first else 4)
    # NumPy reads what is announced, up to 4 GB, before it looks at it.
    if int.from_bytes(length, "little") > _LONGEST_HEADER:
        raise ValueError("a header of an impossible length")
    head = io.BytesIO(length + stream.read(int.from_bytes(length, "little")))
    read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
    shape, fortran, kind = read(head)
    if kind.hasobject:
        raise ProbeError(
            f"'{shown}' holds Python objects, which are pickles and could run code; "
            "save a plain array of numbers"
        )
    if kind.itemsize == 0 or kind.names is not None or any(n < 0 for n in shape):
        raise ValueError(f"an array of {kind} and shape {shape}")
    return shape, "F" if fortran else "C", kind


@contextmanager
def _damage_named(shown: str) -> Iterator[None]:
    try:
        yield
    except (ProbeError, MemoryError):
        raise
    except FileNotFoundError:
        raise ProbeError(f"no file '{shown}'; check the path") from None
    # zipfile and NumPy raise nearly any exception on damaged files.
    except Exception as error:
        detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ProbeError(
            f"'{shown}' cannot be read as NumPy's .npy or .npz "
            f"({plain((detail or type(error).__name__).splitlines()[0][:300])}); write it again"
        ) from error


__all__ = ["npz_images"]
