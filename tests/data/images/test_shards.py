"""Tar archives in the layout of WebDataset: order, labels, and archives that mean harm."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.data import image_folder, open_images, shard_images
from invariance_probe.data.images.shards import expand_braces


def photo(seed: int, size: tuple[int, int] = (40, 44)) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def pack(path: Path, files: dict[str, bytes], **changes: object) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in changes.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def line(path: object, *args: object, **options: object) -> str:
    """The one line that archives are refused with."""
    with pytest.raises(ProbeError) as caught:
        shard_images(path, *args, **{"canvas": 20, **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def shards(tmp_path: Path) -> str:
    for number, keys in enumerate([("10", "9"), ("c/1",)]):
        files: dict[str, bytes] = {}
        for key in keys:
            files[f"{key}.cls"] = f"{len(key)}\n".encode()
            files[f"{key}.png"] = photo(int(key[-1]))
            files[f"{key}.txt"] = b"beside"
        pack(tmp_path / f"s-{number:03d}.tar", files)
    return str(tmp_path / "s-{000..001}.tar")


def test_images_and_labels_in_the_order_of_names(shards: str, tmp_path: Path) -> None:
    images = open_images(shards, canvas=20)
    assert images.names == ("s-000/9.png", "s-000/10.png", "s-001/c/1.png")
    assert images.labels is not None
    assert images.labels.tolist() == [1, 2, 3]
    (tmp_path / "same").mkdir()
    for name, seed in {"1": 9, "2": 0, "3": 1}.items():
        (tmp_path / "same" / f"{name}.png").write_bytes(photo(seed))
    same = image_folder(tmp_path / "same", canvas=20)
    assert torch.equal(images.batch([2, 0, 1]), same.batch([2, 0, 1]))
    assert images.source_size == same.source_size
    assert images.take([1]).batch([0]).shape == (1, 3, 32, 32)
    assert torch.equal(pickle.loads(pickle.dumps(images)).batch([1]), images.batch([1]))


def test_the_hash_is_of_names_and_contents(shards: str, tmp_path: Path) -> None:
    first = shard_images(shards, canvas=20).sha256
    other = tmp_path / "other"
    other.mkdir()
    pack(
        other / "s-000.tar", {"9.png": photo(9), "9.cls": b"1", "10.png": photo(0), "10.cls": b"2"}
    )
    pack(other / "s-001.tar", {"c/1.png": photo(1), "c/1.cls": b"3"})
    assert shard_images(other / "s-{001,000}.tar", canvas=20).sha256 == first
    pack(other / "s-001.tar", {"c/1.png": photo(2), "c/1.cls": b"3"})
    assert shard_images(other / "s-{000..001}.tar", canvas=20).sha256 != first


def test_labels_in_json(tmp_path: Path) -> None:
    file = pack(tmp_path / "a.tar", {
        "1.png": photo(1), "1.json": json.dumps({"label": 4, "caption": "x"}).encode(),
        "2.png": photo(2), "2.json": b'{"cls": 7}',
    })  # fmt: skip
    labels = shard_images(file, canvas=20).labels
    assert labels is not None
    assert labels.tolist() == [4, 7]
    for wrong in (b'{"cls": "dog"}', b"{", b"[" * 10**5, b'{"cls": 1e9}', b"\xff\xfe"):
        pack(file, {"1.png": photo(1), "1.json": wrong})
        assert "a.tar:1.json' is no label; give a whole number" in line(file)
    pack(file, {"1.png": photo(1), "1.json": b'["cls"]'})
    assert shard_images(file, canvas=20).labels is None
    pack(file, {"1.png": photo(1), "1.cls": b"9" * 99})
    assert "is no label" in line(file)
    pack(file, {"1.png": photo(1), "1.cls": b"1", "2.png": photo(2)})
    assert "a.tar:2.png' has no label and others have; add its .cls file" in line(file)


def test_several_images_of_one_name(tmp_path: Path) -> None:
    file = pack(tmp_path / "a.tar", {"1.left.png": photo(1), "1.right.png": photo(2)})
    message = line(file)
    assert "several images of one name ('1.left.png', left.png and right.png)" in message
    assert f"choose one as '{file}:left.png'" in message
    images = open_images(f"{file}:right.png", canvas=20)
    assert images.names == ("a/1.right.png",)
    assert "holds no images .jpg" in line(file, "jpg")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_format(tmp_path: Path, form: int) -> None:
    name = f"{'d' * 90}/{'n' * 60}.png"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        for entry in ("first.png", name):
            info = tarfile.TarInfo(entry)
            info.size = len(photo(0))
            archive.addfile(info, io.BytesIO(photo(0)))
    assert shard_images(tmp_path / "a.tar", canvas=20).names[0] == f"a/{name}"


def test_braces() -> None:
    assert expand_braces("a{0..2}b{x,y}") == ["a0bx", "a0by", "a1bx", "a1by", "a2bx", "a2by"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    assert expand_braces("{odd}.tar") == ["{odd}.tar"]
    for wrong in ("{3..1}.tar", "{0..999999999}.tar"):
        with pytest.raises(ProbeError, match=r"stands for .* archives; give from 1 to 100,000"):
            expand_braces(wrong)
    with pytest.raises(ProbeError, match="more than 100,000"):
        expand_braces("{0..9999}{0..9999}{0..9999}")


def test_members_that_no_honest_archive_holds(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    for name in ("../out.png", "/etc/out.png", "a/../../out.png", "..\\out.png"):
        pack(file, {name: photo(0)})
        assert "out.png': a path outside its archive" in line(file)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        pack(file, {"1.png": b""}, type=kind, linkname="/etc/passwd")
        assert "holds '1.png': a link or a device, not a file" in line(file)
    with tarfile.open(file, "w") as archive:
        for _ in range(2):
            info = tarfile.TarInfo("1.png")
            archive.addfile(info)
    assert "holds '1.png' twice" in line(file)
    pack(file, {"[bold]\x1b[31m\n.png": b"no picture"})
    assert r"[bold]\x1b[31m\n.png' cannot be read as an image (no known image format)" in line(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


@pytest.mark.parametrize("key", ["size", "mtime", "uid", "path", "GNU.sparse.map"])
@pytest.mark.parametrize("digits", [1_000, 60_000, 1_000_000])
def test_long_numbers_before_a_member_take_no_time(tmp_path: Path, key: str, digits: int) -> None:
    info = tarfile.TarInfo("a.png")
    info.pax_headers = {key: "9" * digits}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    began = time.process_time()
    with pytest.raises(ProbeError, match=r"of [\d,]+ bytes|of more than 300 digits"):
        shard_images(tmp_path / "a.tar", canvas=28)
    assert time.process_time() - began < 1


def test_damaged_archives(tmp_path: Path) -> None:
    file = pack(tmp_path / "a.tar", {"1.png": photo(1), "2.png": photo(2)})
    whole = file.read_bytes()
    second = whole.index(b"2.png")
    file.write_bytes(whole[: second + 600])
    assert "a.tar" in line(file)
    file.write_bytes(whole[:second] + b"garbage" + whole[second + 7 :])
    assert f"cannot be read as a tar archive (damaged {second:,} bytes from its" in line(file)
    file.write_bytes(whole[:124] + b"77777777777\0" + whole[136:])
    assert "a.tar" in line(file)
    file.write_bytes(b"")
    assert "cannot be read as a tar archive" in line(file)
    file.write_bytes(gzip.compress(whole))
    assert "is compressed, and images are read from it in any order; unpack it" in line(file)
    with pytest.raises(ProbeError, match="is compressed"):
        open_images("a.tar.gz")
    assert "no archive" in line(tmp_path / "b-{0..1}.tar")
    (tmp_path / "x").mkdir()
    for place in ("s.tar", "x/s.tar"):
        pack(tmp_path / place, {"1.png": photo(1)})
    assert "have the same name; rename one" in line(f"{tmp_path}/{{s,x/s}}.tar")
    assert "holds no images; give an archive" in line(pack(file, {"readme.txt": b""}))


def test_damaged_images_are_left_out_only_when_asked(tmp_path: Path) -> None:
    file = pack(tmp_path / "a.tar", {
        "1.png": photo(1), "1.cls": b"1", "2.png": photo(2)[:900], "2.cls": b"2",
        "3.png": photo(3), "3.cls": b"3",
    })  # fmt: skip
    with pytest.raises(ProbeError, match=r"a.tar:2.png' cannot be read .*out of the archive"):
        shard_images(file, canvas=20).batch([1])
    images = shard_images(file, canvas=20, skip_damaged=True)
    assert images.names == ("a/1.png", "a/3.png")
    assert images.labels is not None
    assert images.labels.tolist() == [1, 3]
    assert images.notes[0].startswith("1 of 3 images are damaged and were left out: 'a/2.png' (")
    assert images.batch([1]).shape[0] == 1


WHOLE = {"1.png": photo(1, (20, 20)), "1.cls": b"3", "2.png": photo(2, (20, 20)), "2.cls": b"4"}


@settings(
    deadline=None, derandomize=True, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
)
def test_any_damage_ends_in_one_line(
    tmp_path: Path, cut: int, edits: list[tuple[int, int]]
) -> None:
    file = pack(tmp_path / "a.tar", WHOLE)
    content = bytearray(file.read_bytes())
    content = content[: cut % len(content)] if cut % 3 == 0 else content
    for place, value in edits:
        if content:
            content[place % min(len(content), 600)] = value
    file.write_bytes(bytes(content))
    try:
        shard_images(file, canvas=8).batch([0])
    except ProbeError as error:
        assert "\n" not in str(error)
