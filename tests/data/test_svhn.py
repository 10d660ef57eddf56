"""SVHN from files of the published form, written here: boxes, crops, cache, parts."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from svhn_files import (
    FIVE,
    NUMBERS,
    ONE,
    SIX,
    TWO,
    Box,
    members,
    picture,
    png,
    struct_bytes,
    write_folder,
    write_tar,
)

from invariance_probe import ProbeError
from invariance_probe.data.svhn import svhn_digits, svhn_examples
from invariance_probe.data.svhn.crops import number_box, number_crop
from invariance_probe.data.svhn.digit_struct import read_digit_struct


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tar(tmp_path / "train.tar.gz", members(NUMBERS))
    write_tar(tmp_path / "test.tar.gz", members((TWO, ONE), "test"))
    return tmp_path


def test_boxes_and_labels_are_read_through_their_references() -> None:
    entries = read_digit_struct(struct_bytes(NUMBERS), "d")
    assert [e.name for e in entries] == ["1.png", "2.png", "3.png", "4.png"]
    assert [e.digits for e in entries] == [(5,), (1, 0), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5)]
    for entry, (_, digits) in zip(entries, NUMBERS, strict=True):
        np.testing.assert_array_equal(entry.boxes, [box for box, _ in digits])


def test_numbers_become_five_positions_of_eleven_classes(root: Path) -> None:
    numbers = svhn_examples(root)
    assert (len(numbers), numbers.canvas, numbers.channels) == (3, (64, 64), 3)
    assert (numbers.positions, numbers.classes, numbers.fresh) == (5, 11, False)
    none = [10]
    assert numbers.targets.tolist() == [[5, *none * 4], [1, 0, *none * 3], [1, 2, 3, 4, 5]]
    assert numbers.description == (
        "SVHN numbers, train: 3 of 3 images, 1 of more than five digits left out"
    )
    batch = numbers.draw(0).batch([2, 0])
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.targets.tolist() == numbers.targets[[2, 0]].tolist()


def test_normalised_by_the_training_part(root: Path) -> None:
    train, test = svhn_examples(root), svhn_examples(root, train=False)
    assert train.mean == test.mean
    assert train.std == test.std
    images = train.batch(range(3)).images
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(3))
    assert test.targets[:, 0].tolist() == [1, 5]
    # The same picture, normalised in the same way.
    torch.testing.assert_close(test.batch([1]).images, images[:1])
    assert train.sha256 != test.sha256


@given(
    st.lists(st.tuples(*[st.floats(0, 50)] * 2, *[st.floats(1, 50)] * 2), min_size=1, max_size=5)
)
def test_the_box_around_all_digits_grows_by_thirty_per_cent(boxes: list[Box]) -> None:
    left, top, right, bottom = number_box(np.array(boxes))
    x0, x1 = min(b[0] for b in boxes), max(b[0] + b[2] for b in boxes)
    y0, y1 = min(b[1] for b in boxes), max(b[1] + b[3] for b in boxes)
    np.testing.assert_allclose([right - left, bottom - top], [1.3 * (x1 - x0), 1.3 * (y1 - y0)])
    np.testing.assert_allclose([left + right, top + bottom], [x0 + x1, y0 + y1], atol=1e-9)


def test_the_crop_of_a_ramp_is_a_ramp() -> None:
    # Red is 2 x column, green 3 x row; a bilinear kernel keeps ramps where it stays inside.
    y, x = np.mgrid[:80, :100]
    pixels = np.stack([2 * x, 3 * y, 0 * x], -1).astype(np.uint8)
    box = np.array([[30.0, 20.0, 20.0, 40.0], [50.0, 20.0, 20.0, 40.0]])
    crop = number_crop(png(pixels), box).astype(float)
    left, top, right, bottom = number_box(box)
    at = (np.arange(64) + 0.5) / 64
    # Pixel centres lie at half numbers when 0 is the edge of the first pixel.
    expected_x = 2 * (left + at * (right - left) - 0.5)
    expected_y = 3 * (top + at * (bottom - top) - 0.5)
    assert np.abs(crop[0] - expected_x[None]).max() <= 1
    assert np.abs(crop[1] - expected_y[:, None]).max() <= 1


def test_a_planted_digit_fills_the_middle_of_its_crop() -> None:
    # Box and picture agree: 64 / 1.3 = 49.2 pixels of the crop show the digit, centred.
    crop = number_crop(picture(ONE), np.array([ONE[1][0][0]]))
    assert crop[:, 9:55, 9:55].min() == 100
    for border in (crop[:, :5], crop[:, -5:], crop[:, :, :5], crop[:, :, -5:]):
        assert border.max() == 0
    edge = (64 - 64 / 1.3) / 2
    assert abs(np.argmax(crop[0, 32] > 50) - edge) <= 1
    assert abs(np.argmax(crop[0, :, 32] > 50) - edge) <= 1


def test_beyond_the_picture_its_edge_continues() -> None:
    pixels = np.full((20, 20, 3), 90, dtype=np.uint8)
    pixels[:, 0] = 200
    crop = number_crop(png(pixels), np.array([[-1.0, 0.0, 20.0, 20.0]]))
    # Left of the picture lie 4 of the 26 columns cut out.
    assert (crop[:, :, :8] == 200).all()
    assert (crop[:, :, 20:] == 90).all()


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((400, 400, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    crop = number_crop(png(stripes), np.array([[50.0, 50.0, 300.0, 300.0]])).astype(int)
    assert np.abs(crop - 127.5).max() < 8


def test_archive_and_folder_hold_the_same(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "extracted"
    write_folder(other, members(NUMBERS))
    archive, folder = svhn_examples(root), svhn_examples(other)
    assert torch.equal(archive.batch(range(3)).images, folder.batch(range(3)).images)
    assert torch.equal(archive.targets, folder.targets)


def test_decoded_once_and_again_when_the_archive_changes(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "kept"
    said: list[tuple[int, int, str]] = []
    first = svhn_examples(root, cache=cache, progress=lambda *step: said.append(step))
    assert said[-1] == (3, 3, "decoding SVHN train")
    (file,) = cache.iterdir()
    assert file.name.startswith("svhn-train-")
    said.clear()
    again = svhn_examples(root, cache=cache, progress=lambda *step: said.append(step))
    assert not said
    assert again.sha256 == first.sha256
    assert torch.equal(again.batch(range(3)).images, first.batch(range(3)).images)
    write_tar(root / "train.tar.gz", members((TWO, FIVE)))
    changed = svhn_examples(root, cache=cache)
    assert len(changed) == 2
    assert changed.sha256 != first.sha256
    assert not list(cache.glob(".*"))


def test_the_kept_crops_serve_where_the_archive_is_gone(root: Path) -> None:
    first = svhn_examples(root)
    (root / "train.tar.gz").unlink()
    assert svhn_examples(root).sha256 == first.sha256
    file = next(root.glob("svhn-train-*"))
    file.unlink()
    file.write_bytes(b"damaged")
    with pytest.raises(ProbeError, match="are not under"):
        svhn_examples(root)


def test_a_damaged_cache_is_written_again(root: Path) -> None:
    first = svhn_examples(root).batch([0])
    file = next(root.glob("svhn-train-*"))
    content = file.read_bytes()
    file.unlink()  # the old one is still mapped
    file.write_bytes(content[:100])
    assert torch.equal(svhn_examples(root).batch([0]).images, first.images)
    assert file.stat().st_size == len(content)


def test_train_and_extra_together(root: Path) -> None:
    write_tar(root / "extra.tar.gz", members((FIVE, SIX), "extra"))
    both = svhn_examples(root, extra=True)
    assert both.targets[:, 0].tolist() == [5, 1, 1, 1]
    assert both.description.startswith("SVHN numbers, train and extra: 4 of 4 images, 2 of more")
    assert both.mean == svhn_examples(root).mean
    assert len(svhn_examples(root, extra=True, number=2)) == 2


def test_numbers_asked_for(root: Path) -> None:
    assert len(svhn_examples(root, number=2)) == 2
    with pytest.raises(ProbeError, match=r"4 images asked for, 3 there; ask for 1 to 3"):
        svhn_examples(root, number=4)
    with pytest.raises(ProbeError, match=r"no image 3; indices run from 0 to 2"):
        svhn_examples(root).batch([3])


def test_missing_files_are_named_with_their_address(tmp_path: Path) -> None:
    with pytest.raises(ProbeError) as caught:
        svhn_examples(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"not under '{tmp_path}': expected 'train.tar.gz' or the folder 'train'" in message
    assert "download http://ufldl.stanford.edu/housenumbers/train.tar.gz and put it" in message
    write_tar(tmp_path / "train.tar.gz", members(NUMBERS))
    with pytest.raises(ProbeError, match=r"\(test part\).*test\.tar\.gz"):
        svhn_examples(tmp_path, train=False)
    with pytest.raises(ProbeError, match=r"\(extra part\).*extra\.tar\.gz"):
        svhn_examples(tmp_path, extra=True)


def test_without_h5py_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name == "h5py":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ProbeError, match=r"train.tar.gz:digitStruct.mat' .*invariance-probe\[svhn"):
        svhn_examples(root)


def test_single_digits_of_the_cropped_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
    labels = np.array([[1], [10], [3], [9], [10]], dtype=np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": pixels, "y": labels})
    digits = svhn_digits(tmp_path)
    assert (len(digits), digits.classes, digits.positions) == (5, 10, 1)
    assert digits.targets.tolist() == [1, 0, 3, 9, 0]
    image = digits.batch([2]).images[0].permute(1, 2, 0).numpy()
    mean, std = np.array(digits.mean), np.array(digits.std)
    np.testing.assert_allclose(image * std + mean, pixels[..., 2] / 255, atol=1e-6)
    assert len(svhn_digits(tmp_path, number=2)) == 2
    with pytest.raises(ProbeError, match=r"SVHN is not under .*test_32x32.mat"):
        svhn_digits(tmp_path, train=False)
