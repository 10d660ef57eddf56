"""Images in HDF5 files: read lazily, in any order, and never from outside the file."""

from __future__ import annotations

import importlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from invariance_probe import ProbeError
from invariance_probe.data import array_images, hdf5_images, open_images

h5py = pytest.importorskip("h5py")

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 3, 6, 7), dtype=np.uint8)


def line(*args: object) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(ProbeError) as caught:
        hdf5_images(*args)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as held:
        held["test/images"] = COLOUR
        held["test/labels"] = np.arange(9)
        held["train/images"] = COLOUR.transpose(0, 2, 3, 1)
        held["note"] = "text"
    return path


def test_the_same_as_an_array(file: Path) -> None:
    images = open_images(f"{file}:/test/images", canvas=(4, 5))
    same = array_images(COLOUR, canvas=(4, 5), labels=np.arange(9))
    assert images.labels is not None
    assert images.labels.tolist() == list(range(9))
    assert torch.equal(images.batch([7, 0, 7, 3]), same.batch([7, 0, 7, 3]))
    assert images.sha256 == same.sha256
    assert torch.equal(pickle.loads(pickle.dumps(images)).batch([2]), same.batch([2]))
    assert images.description == "data.h5:/test/images"
    last = hdf5_images(file, "train/images", (4, 5))
    assert torch.equal(last.batch([1]), same.batch([1]))
    assert last.labels is None


def test_threads_read_the_same(file: Path) -> None:
    images = hdf5_images(file, "/test/images")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: images.batch([i % 9]), range(36)))
    assert all(torch.equal(f, images.batch([i % 9])) for i, f in enumerate(found))


def test_choice_of_the_dataset(file: Path) -> None:
    assert "holds several arrays of images (" in line(file)
    assert "no array 'test/imags'; did you mean 'test/images'?" in line(file, "/test/imags")
    assert "note' has shape ()" in line(file, "note")
    with h5py.File(file, "a") as held:
        del held["train"]
    assert len(hdf5_images(file)) == 9


@pytest.mark.parametrize(
    "packing", [{"compression": "gzip"}, {"compression": "lzf"}, {"shuffle": True}]
)
def test_packed_floats(tmp_path: Path, packing: dict[str, object]) -> None:
    values = (COLOUR / 255).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as held:
        held.create_dataset("x", data=values, chunks=(2, 3, 6, 7), **packing)
    np.testing.assert_array_equal(hdf5_images(tmp_path / "a.h5").batch([5])[0].numpy(), values[5])
    with h5py.File(tmp_path / "a.h5", "a") as held:
        held["x"][8, 0, 0, 0] = np.nan
    assert "x': image 8 has values from nan" in line(tmp_path / "a.h5")


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(200)))
    with h5py.File(tmp_path / "other.h5", "w") as held:
        held["x"] = COLOUR
    with h5py.File(tmp_path / "a.h5", "w") as held:
        held["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        held["soft"] = h5py.SoftLink("/nowhere")
        held.create_dataset("raw", (2, 10, 10), "u1", external=[(str(tmp_path / "secret"), 0, 200)])
        layout = h5py.VirtualLayout(shape=COLOUR.shape, dtype="u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=COLOUR.shape)
        held.create_virtual_dataset("virtual", layout)
        held["group/self"] = held["/"]
    assert "has no array 'linked'" in line(tmp_path / "a.h5", "linked")
    assert "has no array 'soft'" in line(tmp_path / "a.h5", "soft")
    for name in ("raw", "virtual"):
        assert "takes its content from other files" in line(tmp_path / "a.h5", name)


def test_declared_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as held:
        held.create_dataset("empty", (10**7, 32, 32), "u1", chunks=(1, 32, 32))
        held.create_dataset("wide", (1, 10**5, 10**5), "u1", chunks=(1, 100, 100))
        held.create_dataset("chunk", (2, 40000, 1000, 30), "u1", chunks=(1, 40000, 1000, 30))
        packed = held.create_dataset("packed", (64, 64, 64), "u1", chunks=(64, 64, 64),
                                     compression="gzip")  # fmt: skip
        packed[:] = 1
        held["words"] = np.array([[[b"ab"]]])
    path = tmp_path / "a.h5"
    assert "declares shape (10000000, 32, 32), but nothing is stored in it" in line(path, "empty")
    assert "declares images of 100000x100000 pixels, more than the limit" in line(path, "wide")
    assert "write it in smaller chunks" in line(path, "chunk")
    assert "has type |S2" in line(path, "words")
    monkeypatch.setattr("invariance_probe.data.decoding.budget.LARGE", 1 << 16)
    assert "write it without compression" in line(path, "packed")


def test_without_h5py_the_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name == "h5py":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    assert "install the extra hdf5: pip install 'invariance-probe[hdf5]'" in line(file)


def test_files_that_are_none(file: Path) -> None:
    assert "no file" in line(file.parent / "absent.h5")
    content = file.read_bytes()
    for damaged in (b"", b"no HDF5", content[: len(content) // 2], b"\0" * 600 + content[600:]):
        file.write_bytes(damaged)
        assert "cannot be read as an HDF5 file" in line(file)


def test_a_file_that_changes_meanwhile(file: Path) -> None:
    images = hdf5_images(file, "test/images")
    file.unlink()
    with h5py.File(file, "w") as held:
        held["test/images"] = COLOUR[:2]
    with pytest.raises(ProbeError, match=r"data.h5' cannot be read as an HDF5 file"):
        pickle.loads(pickle.dumps(images)).batch([8])
