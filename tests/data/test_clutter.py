"""Clutter: where patches lie, what they hold, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import interpolate

from invariance_probe.data import DistortedDigits
from invariance_probe.data.distortions import VARIANTS, clutter
from invariance_probe.data.distortions.clutter import Clutter, add_clutter

CLUTTERED = ("t", "tc", "s")


def noise(number: int, seed: int = 0) -> torch.Tensor:
    by = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (number, 28, 28), dtype=torch.uint8, generator=by)


def law_of(name: str, count: int = 2000, digits: int = 7, seed: int = 0) -> Clutter:
    law = VARIANTS[name].clutter
    assert law is not None
    return law(count, digits, torch.Generator().manual_seed(seed))


def patch_of(drawn: Clutter, image: int, number: int, digits: torch.Tensor) -> torch.Tensor:
    """One patch, cut and resized by PyTorch's own interpolation."""
    digit, row, column, side = (
        int(part[image, number]) for part in (drawn.digit, drawn.row, drawn.column, drawn.side)
    )
    crop = digits[digit, row : row + 6, column : column + 6].float() / 255
    return interpolate(
        crop[None, None], (side, side), mode="bilinear", align_corners=False, antialias=False
    )[0, 0]


@pytest.mark.parametrize("name", CLUTTERED)
def test_patches_are_crops_of_training_digits(name: str) -> None:
    canvas, digits = VARIANTS[name].canvas, noise(7)
    drawn = law_of(name, 25)
    images = torch.rand(25, 1, *canvas, generator=torch.Generator().manual_seed(1)) / 2
    expected = images.clone()
    for image in range(25):
        for number in range(6):
            patch = patch_of(drawn, image, number, digits)
            top, left = int(drawn.top[image, number]), int(drawn.left[image, number])
            side = len(patch)
            expected[image, 0, top : top + side, left : left + side] += patch
    covered = expected != images
    result = add_clutter(images.clone(), drawn, digits)
    assert torch.allclose(result, expected.clamp(max=1), atol=1e-6)
    # Pixels outside the patches keep their bits.
    assert torch.equal(result[~covered], images[~covered])
    assert (expected > 1).any()  # something was cut off
    assert result.max() == 1


@pytest.mark.parametrize("name", CLUTTERED)
def test_only_the_patches_differ_from_the_set_without_clutter(name: str) -> None:
    pixels, black = noise(10), torch.zeros(4, 28, 28, dtype=torch.uint8)
    targets = torch.arange(10)
    plain = DistortedDigits(pixels, targets, VARIANTS[name], "black clutter", black)
    full = DistortedDigits(pixels, targets, VARIANTS[name], "clutter", noise(4, 3))
    one, two = plain.draw(5), full.draw(5)
    assert two.clutter is not None
    before, after = one.batch(range(10)), two.batch(range(10))
    assert torch.equal(before.transforms, after.transforms)  # type: ignore[arg-type]
    area = torch.zeros(10, 1, *full.canvas, dtype=torch.bool)
    for image in range(10):
        for number in range(6):
            side = int(two.clutter.side[image, number])
            top, left = int(two.clutter.top[image, number]), int(two.clutter.left[image, number])
            area[image, 0, top : top + side, left : left + side] = True
    assert torch.equal(before.images[~area], after.images[~area])
    assert (after.images[area] > before.images[area]).float().mean() > 0.5
    assert (after.images[area] >= before.images[area]).all()


def uniform(values: torch.Tensor, low: int, high: int) -> bool:
    """Whether whole numbers are uniform from low to high, inclusive (chi squared)."""
    assert values.min() >= low
    assert values.max() <= high
    counts = np.bincount((values - low).flatten().numpy(), minlength=high - low + 1)
    return bool(stats.chisquare(counts).pvalue > 0.01)


@pytest.mark.parametrize(("name", "last"), [("t", 53), ("tc", 54)])
def test_laws_of_plain_crops(name: str, last: int) -> None:
    drawn = law_of(name)
    assert drawn.top.shape == (2000, 6)
    assert uniform(drawn.top, 0, last)
    assert uniform(drawn.left, 0, last)
    assert uniform(drawn.row, 0, 22)
    assert uniform(drawn.column, 0, 22)
    assert uniform(drawn.digit, 0, 6)
    assert (drawn.side == 6).all()


def test_laws_of_resized_crops() -> None:
    drawn = law_of("s", 5000)
    radius = drawn.side // 2
    x, y = drawn.left + radius, drawn.top + radius
    assert uniform(x, 2, 109)
    assert uniform(y, 2, 109)
    free = (x >= 9) & (x <= 103) & (y >= 9) & (y <= 103)
    assert uniform(radius[free], 1, 9)
    for start in (drawn.top, drawn.left):
        assert (start >= 0).all()
        assert (start + drawn.side <= 112).all()
    assert uniform(drawn.row, 0, 22)
    assert uniform(drawn.digit, 0, 6)


def test_selected_rows_and_devices() -> None:
    drawn = clutter.crops_anywhere(5, 3, torch.Generator().manual_seed(0))
    some = drawn[torch.tensor([4, 1])].to(torch.device("cpu"))
    assert torch.equal(some.row, drawn.row[[4, 1]])
    assert some.largest == 6
