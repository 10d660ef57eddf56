"""PlanktonSet from folders written here: pixels, split, augmentation, messages."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.data.examples.plankton import plankton_examples, plankton_transforms
from invariance_probe.geometry import angle_of, scale_of, warp_each

COUNTS = {"acantharia": 20, "copepod": 11, "shrimp_zoea": 4, "single": 1}


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        for i in range(count):
            height, width = rng.integers(20, 140, 2)
            pixels = np.full((height, width), 255, dtype=np.uint8)
            pixels[height // 4 : height // 2, width // 4 : width // 2] = rng.integers(0, 200)
            save(tmp_path / "train" / name / f"{i + 1}.jpg", pixels)
    return tmp_path


def test_classes_are_folders_and_every_picture_is_used_once(root: Path) -> None:
    train, test = plankton_examples(root), plankton_examples(root, train=False)
    assert train.classes == test.classes == 4
    assert train.class_names == tuple(sorted(COUNTS))
    assert (train.canvas, train.channels, train.positions) == ((95, 95), 1, 1)
    assert (train.fresh, test.fresh) == (True, False)
    assert torch.bincount(test.targets, minlength=4).tolist() == [2, 1, 1, 0]
    assert torch.bincount(train.targets).tolist() == [18, 10, 3, 1]
    every = {f"{name}/{i + 1}.jpg" for name, count in COUNTS.items() for i in range(count)}
    assert set(train.names) | set(test.names) == every
    assert not set(train.names) & set(test.names)
    for name, label in zip(train.names, train.targets.tolist(), strict=True):
        assert name.startswith(train.class_names[label] + "/")
    assert (
        train.description == "PlanktonSet, training part: 32 images of 4 classes, split with seed 0"
    )


def test_the_split_depends_on_the_seed_and_the_share(root: Path) -> None:
    names = {plankton_examples(root, False, seed=seed).names for seed in range(5)}
    assert len(names) > 1
    assert (
        plankton_examples(root, False, seed=3).names == plankton_examples(root, False, seed=3).names
    )
    half = plankton_examples(root, False, test_share=0.5)
    assert torch.bincount(half.targets).tolist() == [10, 6, 2]
    with pytest.raises(ProbeError, match="test_share=1; give a share between 0 and 1"):
        plankton_examples(root, test_share=1)


def test_a_number_is_a_seeded_draw(root: Path) -> None:
    some = plankton_examples(root, number=10)
    assert len(some) == len(set(some.names)) == 10
    assert len(set(some.targets.tolist())) > 1
    assert some.mean == plankton_examples(root).mean
    with pytest.raises(ProbeError, match=r"training part: 33 images asked for, 32 there"):
        plankton_examples(root, number=33)


@pytest.mark.parametrize(("size", "inner"), [((190, 100), (95, 50)), ((30, 95), (30, 95))])
def test_inverted_resized_and_padded(
    tmp_path: Path, size: tuple[int, int], inner: tuple[int, int]
) -> None:
    for i in range(10):
        save(tmp_path / "train" / "a" / f"{i}.png", np.full(size, 55 + i, dtype=np.uint8))
    save(tmp_path / "train" / "b" / "0.png", np.full(size, 255, dtype=np.uint8))
    test = plankton_examples(tmp_path, train=False)
    batch = test.draw(0).batch([0])
    pixels = (batch.images[0, 0] * test.std[0] + test.mean[0]) * 255
    value = 200 - int(test.names[0].split("/")[1][:-4])
    top, left = (95 - inner[0]) // 2, (95 - inner[1]) // 2
    expected = torch.zeros(95, 95)
    expected[top : top + inner[0], left : left + inner[1]] = value
    torch.testing.assert_close(pixels, expected, atol=1e-3, rtol=0)
    water = batch.images[0, 0, expected == 0]
    torch.testing.assert_close(water, torch.full_like(water, test.background[0]))


def test_the_test_set_never_changes(root: Path) -> None:
    test = plankton_examples(root, train=False)
    first, again = test.draw(0).batch([2, 0]), test.draw(1).batch([0, 2])
    assert torch.equal(first.images, again.images.flip(0))
    assert first.transforms is not None
    assert torch.equal(first.transforms, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


def test_training_images_are_the_pictures_moved_by_what_a_batch_tells(root: Path) -> None:
    train = plankton_examples(root)
    batch = train.draw(5).batch([4, 9])
    assert batch.transforms is not None
    plain = train.pixels[torch.tensor([4, 9])].float() / 255
    moved = (warp_each(plain, batch.transforms) - train.mean[0]) / train.std[0]
    torch.testing.assert_close(batch.images, moved)
    corner = (batch.images[:, 0, 0, 0] - train.background[0]).abs()
    assert corner.max() < 1e-5 or plain[:, 0, 0, 0].max() > 0


def test_a_pass_depends_on_its_seed_alone(root: Path) -> None:
    train = plankton_examples(root)
    together = train.draw(1).batch(range(20)).images
    singly = torch.cat([train.draw(1).batch([i]).images for i in range(20)])
    torch.testing.assert_close(together, singly)
    assert not torch.equal(together, train.draw(2).batch(range(20)).images)
    assert train.sha256 == plankton_examples(root).sha256
    assert train.sha256 != plankton_examples(root, seed=1).sha256


def test_augmentations_have_the_stated_distribution() -> None:
    moves = plankton_transforms(20000, seed=0)
    shifts = moves[:, :2, 2]
    assert shifts.abs().max() <= 10
    assert shifts.abs().max() > 9.9
    zoom = torch.log(scale_of(moves)) / math.log(1.3)
    assert zoom.abs().max() <= 1
    torch.testing.assert_close(zoom.std(), torch.tensor(3**-0.5).double(), atol=0.01, rtol=0)
    flipped = moves[:, :2, :2].det() < 0
    assert abs(float(flipped.double().mean()) - 0.5) < 0.02
    upright = moves.clone()
    upright[flipped, :, 0] *= -1
    angles = angle_of(upright)
    assert angles.min() < -175
    assert angles.max() > 175
    counts = torch.histc(angles, 8, -180, 180)
    assert counts.min() > 2200
    # The angle between the moved axes tells the shear.
    x, y = upright[:, :2, 0], upright[:, :2, 1]
    along = (x * y).sum(1) / x.norm(dim=1) / y.norm(dim=1)
    shear = torch.rad2deg(torch.asin(along))
    assert shear.abs().max() <= 20 + 1e-9
    assert shear.abs().max() > 19.8


def test_missing_and_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(ProbeError) as caught:
        plankton_examples(tmp_path / "none")
    message = str(caught.value)
    assert "\n" not in message
    assert (
        f"expected '{tmp_path / 'none' / 'train'}' with a folder of pictures per class" in message
    )
    assert "download train.zip from https://www.kaggle.com/c/datasciencebowl/data" in message
    save(tmp_path / "one" / "a" / "1.png", np.zeros((9, 9), dtype=np.uint8))
    with pytest.raises(ProbeError, match=r"holds one class folder \('a'\); give at least two"):
        plankton_examples(tmp_path / "one")
    (tmp_path / "one" / "b").mkdir()
    with pytest.raises(ProbeError, match=r"class folder '.*b' holds no pictures"):
        plankton_examples(tmp_path / "one")
    save(tmp_path / "one" / "b" / "1.png", np.full((9, 9), 9, dtype=np.uint8))
    with pytest.raises(ProbeError, match=r"test part .*no class has two pictures"):
        plankton_examples(tmp_path / "one", train=False)
    assert len(plankton_examples(tmp_path / "one")) == 2


def test_a_damaged_picture_is_named(root: Path) -> None:
    (root / "train" / "copepod" / "3.jpg").write_bytes(b"no picture")
    with pytest.raises(ProbeError, match=r"copepod/3.jpg' cannot be read as an image \(no known"):
        train = plankton_examples(root)
        train.draw(0).batch(range(len(train)))
        test = plankton_examples(root, train=False)
        test.draw(0).batch(range(len(test)))
