"""Images in .npy and .npz files: keys, labels, axes, types, and files that mean harm."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invariance_probe import ProbeError
from invariance_probe.data import array_images, npz_images, open_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 3, 6, 7), dtype=np.uint8)
quiet = settings(
    deadline=None, derandomize=True, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def line(call: object, *args: object, **options: object) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(ProbeError) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_keys_and_labels(tmp_path: Path, save: object) -> None:
    file = tmp_path / "data.npz"
    arrays = {
        "x_train": GREY[:2],
        "y_train": [8, 9],
        "x_test": GREY,
        "y_test": np.arange(5)[:, None],
    }
    save(file, **arrays)  # type: ignore[operator]
    images = open_images(f"{file}:x_test", canvas=4)
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(images.batch([3, 1]), array_images(GREY, canvas=4).batch([3, 1]))
    assert open_images(f"{file}:x_train").labels.tolist() == [8, 9]  # type: ignore[union-attr]
    assert "holds several arrays of images (x_train (2, 6, 7), " in line(npz_images, file)
    assert "choose one as" in line(npz_images, file)
    assert "no array 'x_tst'; did you mean 'x_test'?" in line(npz_images, file, "x_tst")
    assert "no array 'nowhere'; it holds x_train (2, 6, 7)" in line(npz_images, file, "nowhere")
    chosen = npz_images(file, "x_train", labels="y_train")
    assert chosen.labels is not None
    assert images.description == "data.npz:x_test"
    assert "no array 'z'" in line(npz_images, file, "x_test", labels="z")


def test_the_usual_name_or_the_only_array(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, images=GREY, masks=GREY // 2, labels=np.arange(5), scores=np.zeros(5))
    images = npz_images(file)
    assert images.labels is not None
    assert torch.equal(images.batch([4]), array_images(GREY).batch([4]))
    np.savez(file, anything=GREY)
    assert len(npz_images(file)) == 5
    assert npz_images(file).labels is None
    np.savez(file, anything=np.zeros(3))
    assert line(npz_images, file).endswith("holds no array of images; it holds anything (3,)")
    np.savez(file, images=GREY, labels=np.linspace(0, 1, 5))
    assert "has labels of type float64; labels are whole numbers" in line(npz_images, file)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_mapped_and_equal_to_the_array(tmp_path: Path, order: str) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.asarray(COLOUR, order=order))  # type: ignore[call-overload]
    images = open_images(file, canvas=None)
    assert isinstance(images.source.array, np.memmap)  # type: ignore[attr-defined]
    same = array_images(COLOUR)
    assert torch.equal(images.batch([4, 0]), same.batch([4, 0]))
    assert images.sha256 == same.sha256
    assert torch.equal(pickle.loads(pickle.dumps(images)).batch([2]), same.batch([2]))
    assert "single array without keys" in line(open_images, f"{file}:images")


def test_channels_last_are_found(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", COLOUR.transpose(0, 2, 3, 1))
    images = npz_images(tmp_path / "a.npy")
    assert torch.equal(images.batch([1, 3]), array_images(COLOUR).batch([1, 3]))


@pytest.mark.parametrize("kind", [">f4", "<f8", "<f2"])
def test_floats_of_any_kind(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "a.npy", (GREY / 255).astype(kind))
    found = npz_images(tmp_path / "a.npy").batch([2])[0, 0]
    np.testing.assert_allclose(found.numpy(), GREY[2] / 255, atol=1e-3)
    np.save(tmp_path / "a.npy", GREY.astype(kind))
    assert "image 0 has values from" in line(npz_images, tmp_path / "a.npy")


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_sixteen_bits_by_their_full_range(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "a.npy", (GREY.astype(np.uint16) * 257).astype(kind))
    found = npz_images(tmp_path / "a.npy").batch([2])[0, 0]
    np.testing.assert_allclose(found.numpy(), GREY[2] / 255, atol=1e-6)
    np.save(tmp_path / "a.npy", GREY.astype(kind))
    assert f"values up to {GREY.max()} only; give uint8" in line(npz_images, tmp_path / "a.npy")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


def test_pickles_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    held = np.array([Bomb()], dtype=object)
    np.save("a.npy", held, allow_pickle=True)
    assert "holds Python objects, which are pickles" in line(npz_images, "a.npy")
    np.savez("a.npz", images=held)
    assert "holds Python objects" in line(npz_images, "a.npz", "images")
    np.savez("a.npz", images=GREY, extra=held)  # not asked for, not read
    assert len(npz_images("a.npz")) == 5
    Path("b.npz").write_bytes(pickle.dumps(Bomb()))
    assert "cannot be read as NumPy's" in line(npz_images, "b.npz")
    assert not Path("pwned").exists()


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    stream = io.BytesIO()
    values = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, values)
    return stream.getvalue()


def test_absurd_sizes_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(header((10**9, 64, 64)) + b"12")
    assert "declares shape (1000000000, 64, 64)" in line(npz_images, tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", header((10**9, 64, 64)) + b"12")
    assert "not the size of its content" in line(npz_images, tmp_path / "a.npz")
    (tmp_path / "b.npy").write_bytes(header((1, 10**5, 10**5)))
    assert "but has 0 bytes" in line(npz_images, tmp_path / "b.npy")
    (tmp_path / "c.npy").write_bytes(header((0, 8, 8)))
    assert "it is empty" in line(npz_images, tmp_path / "c.npy")


def test_zip_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invariance_probe.data.decoding.budget.LARGE", 1 << 16)
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((500, 32, 32), np.uint8))
    assert "would grow from 0.0 to 0 MB; give a file written by numpy.savez" in line(
        npz_images, tmp_path / "a.npz"
    )


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "no file" in line(npz_images, tmp_path / "absent.npz")
    assert "is a folder, a device or a pipe" in line(npz_images, tmp_path)
    (tmp_path / "a.npz").write_bytes(b"")
    assert "cannot be read as NumPy's .npy or .npz" in line(npz_images, tmp_path / "a.npz")
    np.save(tmp_path / "s.npy", np.zeros(3, dtype=[("a", "f4")]))
    assert "cannot be read" in line(npz_images, tmp_path / "s.npy")
    np.save(tmp_path / "w.npy", GREY.astype(np.int64))
    assert "images of type int64; give uint8" in line(npz_images, tmp_path / "w.npy")


def made(name: str) -> bytes:
    stream = io.BytesIO()
    if name == "npy":
        np.save(stream, GREY)
    else:
        np.savez(stream, images=GREY, labels=np.arange(5))
    return stream.getvalue()


WHOLE = {name: made(name) for name in ("npy", "npz")}


@quiet
@given(
    st.sampled_from(["npy", "npz"]),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
)
def test_damaged_files_end_in_one_line(
    tmp_path: Path, name: str, cut: int, edits: list[tuple[int, int]]
) -> None:
    content = bytearray(WHOLE[name][: cut % len(WHOLE[name])] if cut % 3 == 0 else WHOLE[name])
    for place, value in edits:
        if content:
            content[place % min(len(content), 400)] = value
    file = tmp_path / f"a.{name}"
    file.write_bytes(bytes(content))
    try:
        npz_images(file).batch([0])
    except ProbeError as error:
        assert "\n" not in str(error)
