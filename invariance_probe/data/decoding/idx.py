"""The IDX format of the MNIST family, plain or gzip-compressed, read strictly."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from ..._foreign import check_regular
from ...errors import ProbeError
from .budget import check_expansion

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(
    path: str | Path, dimensions: int | None = None, dtype: str | None = None
) -> np.ndarray:
    """Return the array of an IDX file; a name that ends in .gz is decompressed.

    `dimensions` and `dtype` ("uint8") are what the caller expects. Raises ProbeError, naming the
    file, for a wrong magic number, type or number of dimensions, and for missing or surplus bytes.
    Source: the description of the format by LeCun, Cortes and Burges with the MNIST data.
    """
    file = Path(path)
    try:
        check_regular(file)
        with file.open("rb") as raw:
            packed = file.suffix == ".gz"
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if packed else raw)
            return _parse(stream, file, packed, dimensions, dtype)
    except FileNotFoundError:
        raise ProbeError(f"no file '{file}'; check the path") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ProbeError(
            f"'{file}' cannot be read ({str(error) or type(error).__name__}); fetch it again"
        ) from error


def _parse(
    stream: IO[bytes], file: Path, packed: bool, dimensions: int | None, dtype: str | None
) -> np.ndarray:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or head[3] == 0:
        raise ProbeError(
            f"'{file}' is no IDX file (it begins with {head.hex() or 'nothing'}); "
            "fetch the original file again"
        )
    kind = np.dtype(_TYPES[head[2]])
    if dtype is not None and kind.newbyteorder("=") != np.dtype(dtype):
        raise ProbeError(f"'{file}' holds {kind.name}, not {dtype}; check which file this is")
    if dimensions is not None and head[3] != dimensions:
        raise ProbeError(
            f"'{file}' has {head[3]} dimension(s), not {dimensions}; "
            "check that images and labels are not exchanged"
        )
    sizes = stream.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise ProbeError(f"'{file}' ends within its header; fetch the file again")
    shape = struct.unpack(f">{head[3]}I", sizes)
    expected = math.prod(shape) * kind.itemsize
    if packed:
        check_expansion(expected, file.stat().st_size, f"'{file}'", "fetch the original file again")
    # Never more than the header announces, plus the byte that would betray a surplus: a small
    # compressed file cannot fill the memory.
    data = _read_at_most(stream, expected + 1)
    if len(data) != expected:
        fault = "ends too early" if len(data) < expected else "is longer than its header says"
        raise ProbeError(
            f"'{file}' {fault}: {shape} {kind.name} need {expected} bytes; fetch the file again"
        )
    return np.frombuffer(data, dtype=kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def _read_at_most(stream: IO[bytes], count: int) -> bytearray:
    """Return up to `count` bytes; grows with what is there, not with what a header claims."""
    content = bytearray()
    while len(content) < count and (part := stream.read(min(count - len(content), 1 << 24))):
        content += part
    return content
