"""Data sets by name: the digits of the package, files on disk, folders, and what goes wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.data import (
    Examples,
    array_images,
    embedded_digits,
    example_names,
    load_examples,
    upright_examples,
)

EMBEDDED = [n for n in example_names() if n.startswith("mnist")]


def write_idx(path: Path, values: np.ndarray) -> None:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files of the true format: 30 training and 12 test images of every family."""
    drawn = np.random.default_rng(0)
    for title in ("MNIST", "FashionMNIST", "KMNIST"):
        raw = tmp_path / title / "raw"
        raw.mkdir(parents=True)
        for part, number in (("train", 30), ("t10k", 12)):
            write_idx(raw / f"{part}-images-idx3-ubyte", drawn.integers(0, 256, (number, 28, 28)))
            write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(number) % 10)
    return tmp_path


def write_photographs(folder: Path, classes: tuple[str, ...], number: int, size: int = 20) -> None:
    drawn = np.random.default_rng(len(classes))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(number):
            pixels = drawn.integers(0, 256, (size, size + 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.mark.parametrize("name", EMBEDDED)
def test_digits_of_the_package(name: str) -> None:
    training, testing = (load_examples(name, train=train) for train in (True, False))
    assert (len(training), len(testing)) == (8000, 2000)
    assert "the first 8,000 of the package's 10,000 MNIST test digits" in training.description
    assert "the last 2,000 of the package's 10,000 MNIST test digits" in testing.description
    assert training.classes == testing.classes == (19 if name == "mnist-addition" else 10)
    assert (training.mean, training.std) == (testing.mean, testing.std)
    assert training.sha256 != testing.sha256
    assert training.fresh == (name != "mnist")
    batch = testing.draw(0).batch([0, 1999])
    assert batch.images.shape == (2, training.channels, *training.canvas)
    if name != "mnist-addition":
        labels = embedded_digits().labels
        assert labels is not None
        assert batch.targets.tolist() == labels[[8000, 9999]].tolist()


def test_upright_digits() -> None:
    examples: Examples = load_examples("mnist", train=False)
    batch = examples.draw(0).batch([3, 1])
    expected = (embedded_digits().batch([8003, 8001]) - 0.1307) / 0.3081
    assert torch.allclose(batch.images, expected, atol=1e-6)
    assert batch.transforms is not None
    assert torch.equal(batch.transforms, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert torch.equal(batch.images, examples.draw(1).batch([3, 1]).images)


@pytest.mark.parametrize(("name", "mean"), [("r", 0.1307), ("t", 0.0363), ("s", 0.0414)])
def test_normalisation_of_the_reference(name: str, mean: float) -> None:
    assert load_examples(f"mnist-{name}").mean == (mean,)


def test_number() -> None:
    some = load_examples("mnist-r", number=20)
    again, other = load_examples("mnist-r", number=20), load_examples("mnist-r", number=20, seed=1)
    assert len(some) == 20
    assert some.sha256 == again.sha256 != other.sha256
    assert "20 of the first 8,000" in some.description
    first = load_examples("mnist", number=5, seed=None)
    labels = embedded_digits(5).labels
    assert labels is not None
    assert first.draw(0).batch(range(5)).targets.tolist() == labels.tolist()
    with pytest.raises(ProbeError, match="MNIST-R, testing: 2001 images asked for, 2000 there"):
        load_examples("mnist-r", train=False, number=2001)
    with pytest.raises(ProbeError, match="0 images asked for"):
        load_examples("mnist-addition", number=0)


@pytest.mark.parametrize("family", ["mnist", "fashion", "kmnist"])
@pytest.mark.parametrize("variant", ["", "-r", "-t", "-e"])
def test_files_on_disk(root: Path, family: str, variant: str) -> None:
    training = load_examples(family + variant, root)
    testing = load_examples(family + variant, str(root), train=False, number=7)
    assert (len(training), len(testing)) == (30, 7)
    assert (training.mean, training.std) == (testing.mean, testing.std)
    assert ("the 30" in training.description) and ("7 of the 12" in testing.description)
    batch = testing.draw(1).batch(range(7))
    assert torch.isfinite(batch.images).all()
    if family != "mnist":  # measured on the training images
        images = training.draw(0).batch(range(30)).images
        assert float(images.mean()) == pytest.approx(0, abs=2e-3)
        assert float(images.std()) == pytest.approx(1, abs=2e-3)


def test_clutter_is_cut_from_training_images(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    write_idx(raw / "t10k-images-idx3-ubyte", np.zeros((12, 28, 28)))
    write_idx(raw / "train-images-idx3-ubyte", np.full((30, 28, 28), 51))
    testing = load_examples("mnist-t", root, train=False)
    images = testing.draw(0).batch(range(12)).images * testing.std[0] + testing.mean[0]
    assert float(images.max()) >= 0.2
    levels = (images * 5).round()  # overlapping patches add up
    assert torch.allclose(images, levels / 5, atol=1e-5)


def test_files_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ProbeError) as caught:
        load_examples("mnist-r", tmp_path / "nowhere")
    assert "MNIST is not under" in str(caught.value)
    assert "train-images-idx3-ubyte" in str(caught.value)
    assert "download=True" in str(caught.value)
    with pytest.raises(ProbeError, match=r"Fashion-MNIST does not come with the package.*download"):
        load_examples("fashion-r")
    for name in ("svhn", "svhn-digits", "plankton"):
        with pytest.raises(ProbeError, match=f"{name} does not come with the package: download"):
            load_examples(name)
    with pytest.raises(ProbeError):
        load_examples("svhn", tmp_path)


def test_generated_street_numbers() -> None:
    street = load_examples("street", number=3, seed=2)
    assert len(street) == 3
    assert street.positions == 5


def test_names_that_are_not_there() -> None:
    with pytest.raises(ProbeError, match="unknown data set 'mnist-q'; did you mean mnist-"):
        load_examples("mnist-q")
    with pytest.raises(ProbeError, match="did you mean plankton"):
        load_examples("planktons")
    with pytest.raises(ProbeError, match=r"choose one of mnist, mnist-r, .* or folder:PATH"):
        load_examples("zebra")
    with pytest.raises(ProbeError, match="'folder:' names no folder; write folder:PATH"):
        load_examples("folder:")
    with pytest.raises(ProbeError, match="canvas given for mnist-r, whose images have a fixed"):
        load_examples("mnist-r", canvas=32)
    assert load_examples("MNIST-R", number=2).description.startswith("MNIST-R")


def test_folder_with_parts(tmp_path: Path) -> None:
    write_photographs(tmp_path / "train", ("cat", "dog"), 4)
    write_photographs(tmp_path / "val", ("cat", "dog"), 2)
    training = load_examples(f"folder:{tmp_path}", canvas=16)
    testing = load_examples(str(tmp_path), train=False, canvas=16, channels=3)
    assert (len(training), len(testing)) == (8, 4)
    assert training.classes == 2
    assert training.canvas == (16, 16)
    assert (training.mean, training.std) == (testing.mean, testing.std)
    batch = training.draw(0).batch(range(8))
    assert batch.targets.tolist() == [0] * 4 + [1] * 4
    assert float(batch.images.mean()) == pytest.approx(0, abs=1e-3)
    assert not training.fresh
    grey = load_examples(f"folder:{tmp_path}", canvas=16, channels=1, number=3)
    assert grey.draw(0).batch([0]).images.shape == (1, 1, 16, 16)
    assert len(grey) == 3


def test_folder_that_is_split(tmp_path: Path) -> None:
    write_photographs(tmp_path, ("a", "b"), 11)
    training, testing = (load_examples(f"folder:{tmp_path}", train=t) for t in (True, False))
    assert (len(training), len(testing)) == (18, 4)
    assert "every 5th image of a class is for testing" in training.description
    assert testing.draw(0).batch(range(4)).targets.tolist() == [0, 0, 1, 1]


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="no folder"):
        load_examples(f"folder:{tmp_path / 'none'}")
    write_photographs(tmp_path / "flat", ("only",), 6)
    with pytest.raises(ProbeError, match="no class sub-folders"):
        load_examples(f"folder:{tmp_path / 'flat' / 'only'}")
    write_photographs(tmp_path / "few", ("a", "b"), 2)
    with pytest.raises(ProbeError, match="no class has 5 images"):
        load_examples(f"folder:{tmp_path / 'few'}")
    write_photographs(tmp_path / "parts" / "train", ("a", "b"), 2)
    with pytest.raises(ProbeError, match="holds train but neither test nor val"):
        load_examples(f"folder:{tmp_path / 'parts'}")
    write_photographs(tmp_path / "parts" / "test", ("a", "c"), 2)
    with pytest.raises(ProbeError, match="'b' is in one only"):
        load_examples(f"folder:{tmp_path / 'parts'}")


def test_upright_sets() -> None:
    values = np.random.default_rng(0).integers(0, 256, (6, 3, 9, 9), dtype=np.uint8)
    images = array_images(values, canvas=7, labels=[0, 1, 2, 0, 1, 2])
    examples = upright_examples(images)
    batch = examples.draw(0).batch(torch.tensor([5, 0]))
    shown = torch.from_numpy(values[[5, 0], :, 1:8, 1:8]) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (examples.mean, examples.std))
    assert torch.allclose(batch.images, (shown - mean) / std, atol=1e-6)
    assert examples.background == (0.0, 0.0, 0.0)  # the reflected border counts as mean brightness
    assert examples.classes == 3
    black = array_images(values, labels=[0] * 6, background=0.0)
    given = upright_examples(black, [0.5] * 3, [0.25] * 3)
    assert given.background == (-2.0, -2.0, -2.0)
    with pytest.raises(ProbeError, match="2 values of mean for 3 channels"):
        upright_examples(images, mean=[0.1, 0.2])
    with pytest.raises(ProbeError, match="no labels"):
        upright_examples(array_images(values))
    flat = array_images(np.zeros((2, 5, 5), np.uint8), labels=[0, 1])
    with pytest.raises(ProbeError, match="all pixels are alike"):
        upright_examples(flat)
