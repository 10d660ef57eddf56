"""Distorted digits: what they show, and that they can be repeated."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from invariance_probe import ProbeError
from invariance_probe.data import AddedDigits, DistortedDigits, Examples, embedded_digits
from invariance_probe.data.distortions import VARIANTS, Variant, measured_normalisation
from invariance_probe.data.distortions.poses import ShiftPoses, by_matrix
from invariance_probe.geometry import angle_of, control_points, rotations_of, scale_of, warp_each

MATRICES = ("r", "s", "rts", "p")


def noise(number: int, seed: int = 0) -> torch.Tensor:
    by = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, 28, 28), dtype=torch.uint8, generator=by)


def blobs(number: int, sigma: float) -> torch.Tensor:
    x = torch.arange(28) - 13.5
    blob = torch.exp(-(x[:, None] ** 2 + x**2) / (2 * sigma**2))
    return (255 * blob).round().to(torch.uint8).expand(number, 28, 28).clone()


def made(
    name: str | Variant, pixels: torch.Tensor, cut: torch.Tensor | None = None
) -> DistortedDigits:
    """Examples without normalisation; clutter is cut from black digits unless `cut` is given."""
    variant = VARIANTS[name] if isinstance(name, str) else name
    targets = torch.arange(len(pixels)) % 10
    black = torch.zeros(3, 28, 28, dtype=torch.uint8)
    return DistortedDigits(pixels, targets, variant, "planted", black if cut is None else cut)


def points(size: tuple[int, int]) -> np.ndarray:
    x, y = np.arange(size[1]) - (size[1] - 1) / 2, np.arange(size[0]) - (size[0] - 1) / 2
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def read_at(image: torch.Tensor, where: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear values of an image at points (x, y), 0 beyond: SciPy as the oracle."""
    rows_columns = where[:, ::-1].T + 13.5
    values = map_coordinates(image.double().numpy(), rows_columns, order=1, mode="grid-constant")
    return values.reshape(size)


def test_rotation_is_that_of_torchvision() -> None:
    pixels = noise(20)
    batch = made("r", pixels).draw(4).batch(range(20))
    assert batch.transforms is not None
    for image, moved, transform in zip(pixels, batch.images, batch.transforms, strict=True):
        angle = float(angle_of(transform[None])[0])
        expected = rotate(image[None].float() / 255, angle, InterpolationMode.BILINEAR)
        assert torch.allclose(moved, expected, atol=2e-4)


@pytest.mark.parametrize("name", [*MATRICES, "t", "tc"])
def test_images_are_moved_as_their_transforms_say(name: str) -> None:
    pixels = noise(12)
    examples = made(name, pixels)
    batch = examples.draw(1).batch(range(12))
    assert batch.transforms is not None
    assert batch.displacements is None
    assert batch.transforms.dtype == torch.float64
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (12, 1, *examples.canvas)
    for image, moved, transform in zip(pixels, batch.images, batch.transforms, strict=True):
        # Where an output pixel looks, by SciPy and NumPy alone.
        out = np.c_[points(examples.canvas), np.ones(math.prod(examples.canvas))]
        seen = out @ np.linalg.inv(transform.numpy()).T
        where = np.where(seen[:, 2:] > 1e-6, seen[:, :2] / seen[:, 2:], 1e4)
        # Beyond the vanishing line nothing of the digit is visible, nor far away from it.
        expected = read_at(image / 255, np.clip(where, -1e4, 1e4), examples.canvas)
        error = np.abs(moved[0].numpy() - expected)
        steep = np.abs(where).reshape(*examples.canvas, 2).max(-1) < 30
        assert error[steep].max() < 5e-4
        assert error[~steep].max(initial=0) == 0


def test_elastic_distortion_is_that_of_scipy() -> None:
    pixels = noise(6)
    batch = made("e", pixels).draw(1).batch(range(6))
    assert batch.transforms is None
    assert batch.displacements is not None
    assert batch.displacements.shape == (6, 16, 2)
    fixed = control_points((28, 28))
    for image, moved, shift in zip(pixels, batch.images, batch.displacements, strict=True):
        spline = RBFInterpolator(fixed, fixed + shift.numpy(), kernel="thin_plate_spline")
        expected = read_at(image / 255, spline(points((28, 28))), (28, 28))
        assert np.abs(moved[0].numpy() - expected).max() < 5e-4


@pytest.mark.parametrize("name", ["t", "tc"])
def test_whole_shifts_are_copies_and_undone_exactly(name: str) -> None:
    pixels = noise(30)
    batch = made(name, pixels).draw(2).batch(range(30))
    assert batch.transforms is not None
    for image, moved, transform in zip(pixels, batch.images, batch.transforms, strict=True):
        left, top = (16 + transform[:2, 2]).int().tolist()
        assert torch.equal(moved[0, top : top + 28, left : left + 28], image / 255)
        assert moved.count_nonzero() == image.count_nonzero()
    back = warp_each(batch.images, torch.linalg.inv(batch.transforms), (28, 28))
    assert torch.allclose(back[:, 0], pixels / 255, atol=2e-5)


def test_quarter_turns_are_undone_exactly() -> None:
    def law(count: int, generator: torch.Generator) -> object:
        return by_matrix(rotations_of(90.0 * (torch.arange(count) % 4)))

    quarter = Variant("quarter", (28, 28), law, "quarter turns", 0.0, 1.0)  # type: ignore[arg-type]
    pixels = noise(8)
    batch = made(quarter, pixels).draw(0).batch(range(8))
    for k in range(8):
        assert torch.allclose(batch.images[k, 0], torch.rot90(pixels[k] / 255, k), atol=1e-5)
    assert batch.transforms is not None
    back = warp_each(batch.images, torch.linalg.inv(batch.transforms))
    assert torch.allclose(back[:, 0], pixels / 255, atol=1e-5)


@pytest.mark.parametrize("name", ["r", "s", "rts"])
def test_undone_within_the_error_of_interpolation(name: str) -> None:
    sigma = 3.0
    pixels = blobs(60, sigma)
    batch = made(name, pixels).draw(3).batch(range(60))
    assert batch.transforms is not None
    back = warp_each(batch.images, torch.linalg.inv(batch.transforms), (28, 28))
    error = (back[:, 0] - pixels / 255).abs().flatten(1).amax(1)
    # Bilinear interpolation errs by at most (|f_xx| + |f_yy|) / 8 times the squared spacing of the
    # pixels, here 1 on the way there and 1 / s on the way back; and bytes are rounded.
    once = 2 / sigma**2 / 8
    assert (error <= once * (1 + scale_of(batch.transforms) ** -2) + 1 / 255).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_same_seed_same_bits(name: str) -> None:
    examples = made(name, noise(9), noise(5, 1))
    before = torch.random.get_rng_state()
    first, again, other = (examples.draw(seed).batch(range(9)) for seed in (7, 7, 8))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(first.targets, examples.targets)
    told, told_other = (
        b.transforms if b.displacements is None else b.displacements for b in (first, other)
    )
    assert told is not None
    assert told_other is not None
    assert not torch.equal(told, told_other)


def addition(number: int) -> AddedDigits:
    return AddedDigits(noise(number), torch.arange(number) % 10, "planted")


SETS: dict[str, Callable[[], Examples]] = {
    **{name: lambda name=name: made(name, noise(20), noise(5, 1)) for name in VARIANTS},
    "addition": lambda: addition(20),
}


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=10)
@given(asked=st.lists(st.integers(0, 19), min_size=1, max_size=30), seed=st.integers(0, 2**40))
def test_an_image_does_not_depend_on_its_batch(name: str, asked: list[int], seed: int) -> None:
    examples = SETS[name]()
    whole = examples.draw(seed).batch(range(20))
    some = examples.draw(seed).batch(torch.tensor(asked))
    assert len(some) == len(asked)
    for part in ("images", "targets", "transforms", "displacements"):
        all_of, some_of = getattr(whole, part), getattr(some, part)
        assert (all_of is None) == (some_of is None)
        if all_of is not None:
            assert torch.equal(all_of[asked], some_of)


def test_large_canvases_in_parts_are_the_same() -> None:
    examples = made("s", noise(150), noise(5, 1))
    drawn = examples.draw(0)
    whole = drawn.batch(range(150)).images  # more than one part
    assert torch.equal(whole[100:], drawn.batch(range(100, 150)).images)


@pytest.mark.parametrize("name", SETS)
def test_empty_batches(name: str) -> None:
    batch = SETS[name]().draw(0).batch([])
    assert len(batch) == 0
    assert batch.images.shape[0] == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_normalisation(name: str) -> None:
    digits = embedded_digits(2000, seed=0)
    pixels = (digits.batch(range(2000))[:, 0] * 255).round().to(torch.uint8)
    variant = VARIANTS[name]
    examples = DistortedDigits(
        pixels,
        torch.as_tensor(digits.labels),
        variant,
        "digits",
        pixels,
        mean=(variant.mean,),
        std=(variant.std,),
    )
    plain = DistortedDigits(pixels, torch.as_tensor(digits.labels), variant, "digits", pixels)
    images, values = (e.draw(0).batch(range(50)).images for e in (examples, plain))
    assert torch.allclose(images, (values - variant.mean) / variant.std, atol=1e-6)
    assert examples.background[0] == pytest.approx(-variant.mean / variant.std)
    assert values.min() == 0
    assert values.max() <= 1
    (mean,), (std,) = measured_normalisation(examples)
    # The reference's std is that of upright digits for r, and 0.007 above the empirical for t.
    assert mean == pytest.approx(variant.mean, abs=0.004)
    assert std == pytest.approx(variant.std, abs=0.02 if name in "rt" else 0.005)


def test_addition() -> None:
    # Digits that tell their label by their brightness, whatever the interpolation.
    labels = torch.arange(50) % 10
    pixels = (25 * labels[:, None, None]).to(torch.uint8).expand(50, 28, 28).clone()
    examples = AddedDigits(pixels, labels, "planted", (0.0, 0.0), (1.0, 1.0))
    assert (examples.classes, examples.channels, examples.canvas) == (19, 2, (42, 42))
    batch = examples.draw(3).batch(range(50))
    assert batch.transforms is None
    seen = (batch.images.amax((2, 3)) * 255 / 25).round().long()
    assert torch.equal(seen[:, 0], labels)
    assert torch.equal(seen.sum(1), batch.targets)
    other = examples.draw(4).batch(range(50))
    assert not torch.equal(other.targets, batch.targets)
    # The two channels are moved on their own.
    assert not torch.equal(batch.images[:, 0] > 0, batch.images[:, 1] > 0)
    many = AddedDigits(pixels.repeat(80, 1, 1), labels.repeat(80), "planted")
    sums = np.bincount(many.draw(0).batch(range(4000)).targets.numpy(), minlength=19)
    expected = 4000 * np.convolve(np.full(10, 0.1), np.full(10, 0.1))
    assert stats.chisquare(sums, expected).pvalue > 0.01


def test_hashes_name_content_and_distribution() -> None:
    pixels, cut = noise(4), noise(5, 1)
    sets = [
        made("r", pixels),
        made("rts", pixels),
        made("r", noise(4, 2)),
        made("t", pixels, cut),
        made("t", pixels, noise(5, 2)),
        AddedDigits(pixels, torch.arange(4), "planted"),
    ]
    assert len({examples.sha256 for examples in sets}) == len(sets)
    assert made("r", pixels).sha256 == made("r", pixels.clone()).sha256
    assert made("r", pixels).to("cpu").sha256 == sets[0].sha256
    assert all(examples.fresh and examples.positions == 1 for examples in sets)


def test_bad_input() -> None:
    with pytest.raises(ProbeError, match="planted: no image 4; indices run from 0 to 3"):
        made("r", noise(4)).draw(0).batch([0, 4])
    with pytest.raises(ProbeError, match="planted: no image -1"):
        addition(4).draw(0).batch([-1])
    with pytest.raises(ProbeError, match=r"pixels are torch.float32 of shape \(2, 28, 28\)"):
        made("r", torch.zeros(2, 28, 28))
    with pytest.raises(ProbeError, match=r"defined for uint8 images \(N, 28, 28\)"):
        made("r", torch.zeros(2, 32, 32, dtype=torch.uint8))
    with pytest.raises(ProbeError, match=r"targets of shape \(3,\) for 4 images"):
        AddedDigits(noise(4), torch.arange(3), "planted")
    with pytest.raises(ProbeError, match="clutter is cut from training digits"):
        DistortedDigits(noise(4), torch.arange(4), VARIANTS["t"], "planted")


def test_poses_go_to_a_device() -> None:
    shifts = ShiftPoses(torch.tensor([[1, 2]])).to(torch.device("meta"))
    assert shifts.shifts.device.type == "meta"
