"""The IDX reader against bytes written by hand, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe import ProbeError
from invariance_probe.data.decoding.idx import read_idx

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(array: np.ndarray, kind: str = "u1") -> bytes:
    head = bytes([0, 0, CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(kind).tobytes()


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_type_comes_back(tmp_path: Path, kind: str, packed: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    content = idx_bytes(array, kind)
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(content) if packed else content)
    back = read_idx(path, dimensions=3)
    assert back.dtype == np.dtype(kind).newbyteorder("=")
    np.testing.assert_array_equal(back, array)


@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(0, 4), min_size=1, max_size=4), cut=st.integers(1, 200))
def test_a_file_cut_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], cut: int
) -> None:
    content = idx_bytes(np.ones(shape))
    path = tmp_path_factory.mktemp("cut") / "a"
    path.write_bytes(content[: max(0, len(content) - cut)])
    with pytest.raises(ProbeError, match=r"ends|no IDX"):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file .*begins with nothing"),
        (b"PK\x03\x04rest", "is no IDX file .*504b0304.*fetch the original"),
        (bytes([0, 0, 0x07, 1, 0, 0, 0, 0]), "is no IDX file"),
        (bytes([0, 0, 0x08, 3, 0, 0]), "ends within its header"),
        (idx_bytes(np.ones((2, 2, 2))) + b"x", "longer than its header says"),
        (bytes([0, 0, 0x08, 3]) + b"\xff" * 12, "ends too early"),
        (idx_bytes(np.ones(3)), r"has 1 dimension\(s\), not 3.*exchanged"),
        (idx_bytes(np.ones((1, 1, 1)), ">i4"), "holds int32, not uint8"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "digits"
    path.write_bytes(content)
    with pytest.raises(ProbeError, match=message) as caught:
        read_idx(path, dimensions=3, dtype="uint8")
    assert str(path) in str(caught.value)


def test_damaged_compression_and_missing_file(tmp_path: Path) -> None:
    packed = gzip.compress(idx_bytes(np.arange(1000)))
    for name, content in {"cut.gz": packed[:-20], "bad.gz": b"no gzip at all"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ProbeError, match=r"cannot be read .*fetch it again"):
            read_idx(tmp_path / name)
    with pytest.raises(ProbeError, match=r"no file .*none.gz"):
        read_idx(tmp_path / "none.gz")
