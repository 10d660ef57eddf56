"""SVHN files that are hostile, damaged or something else: refused in one line."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from svhn_files import NUMBERS, ONE, SIX, TWO, members, struct_bytes, write_tar

from invariance_probe import ProbeError
from invariance_probe.data.svhn import svhn_examples
from invariance_probe.data.svhn.digit_struct import read_digit_struct


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tar(tmp_path / "train.tar.gz", members(NUMBERS))
    return tmp_path


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../../etc/1.png", tarfile.REGTYPE, r"'\.\./\.\./etc/1\.png': a path outside its folder"),
        ("/etc/1.png", tarfile.REGTYPE, "'/etc/1.png': a path outside"),
        ("train\\..\\1.png", tarfile.REGTYPE, "a path outside"),
        ("train/5.png", tarfile.SYMTYPE, "'train/5.png': a link or a device"),
        ("train/5.png", tarfile.LNKTYPE, "a link or a device"),
        ("train/5.png", tarfile.FIFOTYPE, "a link or a device"),
    ],
)
def test_hostile_members_are_refused(root: Path, name: str, kind: bytes, message: str) -> None:
    write_tar(root / "train.tar.gz", members(NUMBERS), link(name, kind, "/etc/passwd"))
    before = sorted(p.name for p in root.iterdir())
    with pytest.raises(ProbeError, match=message + ".*do not use this file") as caught:
        svhn_examples(root)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in root.iterdir()) == before


def test_a_long_number_before_a_member_takes_no_time(root: Path) -> None:
    info = tarfile.TarInfo("train/1.png")
    info.pax_headers = {"mtime": "9" * 1_000_000}
    write_tar(root / "train.tar.gz", members(NUMBERS), info)
    with pytest.raises(ProbeError, match=r"names or times of 1,000,\d+ bytes"):
        svhn_examples(root)


def test_a_member_of_absurd_size_is_refused(root: Path) -> None:
    huge = tarfile.TarInfo("train/1.png")
    huge.size = 1 << 40
    (root / "train.tar.gz").write_bytes(gzip.compress(huge.tobuf() + bytes(1024)))
    with pytest.raises(ProbeError, match=r"'train/1\.png': 1,048,576 MB, far more"):
        svhn_examples(root)


def broken(held: dict[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    return {**held, name: content}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"train/1.png": b"x"}, r"holds no digitStruct.mat; fetch .*train.tar.gz again"),
        (broken(members(NUMBERS), "train/2.png", b"text"), r"'2.png' of .*no known image format"),
        (
            {k: v for k, v in members(NUMBERS).items() if k != "train/4.png"},
            r"lacks 1 of the 3 pictures .*such as '4.png'",
        ),
        (
            broken(members(NUMBERS), "train/digitStruct.mat", b"no hdf5"),
            r"train.tar.gz:digitStruct.mat' is no digitStruct.mat of SVHN \(.*fetch it again",
        ),
        (members((ONE, ONE)), "lists no pictures, or one twice"),
        (members((SIX,)), "lists no pictures"),
        (members((("a.png", [((30, 20, 5, 5), 12)]),)), r"the labels \[12.0\] of 'a.png'"),
        (members((("a.png", [((30, 20, 0, 5), 1)]),)), "an empty box of 'a.png'"),
        (members((("a.png", [((30, 20, 0, 5), 1), ((9, 9, 5, 5), 2)]),)), "an empty box"),
        (members((("a.png", [((300, 20, 5, 5), 1)]),)), r"'a.png' of .*boxes from .* on a picture"),
    ],
)
def test_damaged_content_is_named(root: Path, held: dict[str, bytes], message: str) -> None:
    write_tar(root / "train.tar.gz", held)
    with pytest.raises(ProbeError, match=message) as caught:
        svhn_examples(root)
    assert "\n" not in str(caught.value)
    assert str(root / "train.tar.gz") in str(caught.value)
    assert not list(root.glob("*.part")) and not list(root.glob(".*"))


def test_boxes_must_be_numbers() -> None:
    content = struct_bytes([ONE, ("2.png", [((np.nan, 0, 5, 5), 1)])])
    with pytest.raises(ProbeError, match=r"boxes of '2.png' that are no numbers"):
        read_digit_struct(content, "d")


@pytest.mark.parametrize("name", ["../1.png", "/etc/passwd", ".hidden", "a\\b", ""])
def test_names_that_are_paths_are_refused(name: str) -> None:
    content = struct_bytes([(name or "\0", ONE[1])])
    with pytest.raises(ProbeError, match="the picture name"):
        read_digit_struct(content, "d")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_archive_is_named(root: Path, share: float) -> None:
    path = root / "train.tar.gz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ProbeError, match=r"train.tar.gz' cannot be read \(.*fetch it again"):
        svhn_examples(root)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", Image.new("L", (9, 9)).tobytes()])
def test_what_is_no_archive_is_named(root: Path, content: bytes) -> None:
    (root / "train.tar.gz").write_bytes(content)
    with pytest.raises(ProbeError, match=r"train.tar.gz' is not compressed with gzip; fetch it"):
        svhn_examples(root)


def edit_refs(change: Callable[[h5py.File], None]) -> bytes:
    held = io.BytesIO(struct_bytes((ONE, TWO)))
    with h5py.File(held, "r+") as file:
        change(file)
    return held.getvalue()


def claim(file: h5py.File) -> None:
    del file["digitStruct/name"]
    file.create_dataset("digitStruct/name", (1 << 40, 1), "u1", chunks=(1 << 20, 1))


def drop(file: h5py.File) -> None:
    del file["digitStruct/bbox"]


def flatten(file: h5py.File) -> None:
    del file["digitStruct/bbox"]
    file["digitStruct/bbox"] = np.zeros((2, 1))


def shorten(file: h5py.File) -> None:
    del file["#refs#/b1/label"]
    file["#refs#/b1/label"] = np.zeros((1, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (claim, "a list of 1099511627776 values"),
        (drop, r"is no digitStruct.mat of SVHN \("),
        (flatten, "numbers where references should be"),
        (shorten, r"is no digitStruct.mat of SVHN \("),
    ],
)
def test_hdf5_of_another_form_is_refused(change: Callable[[h5py.File], None], message: str) -> None:
    with pytest.raises(ProbeError, match=message) as caught:
        read_digit_struct(edit_refs(change), "place/digitStruct.mat")
    assert str(caught.value).startswith("'place/digitStruct.mat' is no")
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_told_first(root: Path) -> None:
    (root / "file").write_bytes(b"")
    said: list[int] = []
    with pytest.raises(ProbeError, match=r"cannot write .*give cache=, a folder with room"):
        svhn_examples(root, cache=root / "file", progress=lambda *step: said.append(1))
    assert not said
