"""The certificate bounds every sampler from below, in-sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import PositionMoments, spatial_bound
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    image_frame,
    rotation,
    sampling_operator,
    scaling,
    shear,
    translation,
    warp,
)

FRAME = image_frame(8, 8)


def pair(seed: int = 0, number: int = 6, channels: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    original = torch.randn(number, channels, 8, 8, generator=generator, dtype=torch.float64)
    moved = warp(original, rotation(40), frame=FRAME, beyond="nearest")
    noise = torch.randn(original.shape, generator=generator, dtype=torch.float64)
    return moved + 0.5 * noise + 0.3, original


def filled(moved: torch.Tensor, original: torch.Tensor, cells: torch.Tensor) -> PositionMoments:
    moments = PositionMoments(cells)
    moments.update(moved[:2], original[:2])
    moments.update(moved[2:], original[2:])
    return moments


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-180, 180), st.floats(0.3, 3), st.floats(-1, 1), st.floats(-3, 3),
    st.sampled_from(["bilinear", "bicubic"]), st.booleans(),
)  # fmt: skip
def test_no_warp_goes_below_the_bound(degrees, factor, slant, shift, interpolation, antialias):
    moved, original = pair()
    cells = torch.ones(8, 8)
    cells[0] = 0
    bound = spatial_bound(filled(moved, original, cells)).bound
    g = translation(shift, -shift) @ rotation(degrees) @ scaling(factor) @ shear(slant)
    warped = warp(moved, g, frame=FRAME, interpolation=interpolation, antialias=antialias,
                  beyond="nearest")  # fmt: skip
    error = ((warped - original) * cells).square().sum().item()
    assert bound <= error * (1 + 1e-9)


@pytest.mark.parametrize("mean", [0.0, 1.0, 1e4])
def test_it_is_least_squares_about_the_originals_channel_means(mean):
    moved, original = pair()
    shift = mean * torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None, None]
    cells = torch.ones(8, 8)
    cells[:, 0] = 0
    moments = PositionMoments(cells, pivot=(original + shift)[0].mean(dim=(1, 2)))
    for part in (slice(0, 2), slice(2, 6)):
        moments.update((moved + shift)[part], (original + shift)[part])
    found = spatial_bound(moments, ridge=0.0)
    inside = cells.flatten() > 0
    centre = original.flatten(2)[..., inside].mean(dim=(0, 2))[:, None]
    a = (moved.flatten(2) - centre).flatten(0, 1).numpy()
    b = (original.flatten(2)[..., inside] - centre).flatten(0, 1).numpy()
    solution, residual, rank, _ = np.linalg.lstsq(a, b, rcond=None)
    assert found.bound == pytest.approx(residual.sum(), rel=1e-6)
    assert found.in_sample == pytest.approx(residual.sum(), rel=1e-6)
    assert found.operator.numpy() == pytest.approx(solution.T, abs=1e-6)
    expected = (centre + shift.flatten(1))[:, 0]
    np.testing.assert_allclose(found.centre, expected, atol=1e-9 * (1 + mean))
    assert (found.rank, found.positions, found.samples) == (rank, 64, 120)
    assert found.determined


def test_a_large_mean_lets_no_warp_below_the_bound():
    moved, original = pair()
    moved, original = 1000 + 0.01 * moved, 1000 + 0.01 * original
    moments = PositionMoments(torch.ones(8, 8), pivot=original[0].mean(dim=(1, 2)))
    moments.update(moved, original)
    bound = spatial_bound(moments).bound
    small = spatial_bound(filled(*pair(), torch.ones(8, 8))).bound
    assert bound == pytest.approx(1e-4 * small, rel=1e-4)
    back = warp(moved, rotation(-40), frame=FRAME, beyond="nearest", antialias=False)
    assert 0 < bound <= (back - original).square().sum().item()


def test_the_ridge_costs_in_sample():
    moments = filled(*pair(), torch.ones(8, 8))
    errors = [spatial_bound(moments, ridge=ridge) for ridge in (1e-6, 1e-2, 1.0)]
    assert errors[0].bound == errors[2].bound
    in_sample = [found.in_sample for found in errors]
    assert in_sample == sorted(in_sample)
    assert in_sample[0] >= errors[0].bound


def test_without_samples_to_decide_the_prior_stays():
    moved, original = pair(number=3, channels=4)
    moments = PositionMoments(torch.ones(8, 8))
    moments.update(moved, original)
    about = sampling_operator(rotation(-40), FRAME)
    found = spatial_bound(moments, about=about, ridge=1e9)
    assert found.operator.numpy() == pytest.approx(about.numpy(), abs=1e-6)
    expected = warp(moved, rotation(-40), frame=FRAME, beyond="nearest", antialias=False)
    error = (expected - original).square().sum().item()
    assert found.in_sample == pytest.approx(error, rel=1e-6)


def test_fewer_samples_than_positions_say_nothing():
    moved, original = pair(number=3, channels=10)
    moments = PositionMoments(torch.ones(8, 8))
    moments.update(moved, original)
    found = spatial_bound(moments)
    assert not found.determined
    assert found.bound == pytest.approx(0, abs=1e-6 * original.square().sum().item())
    assert found.rank == 30


def test_moments_add():
    moved, original = pair()
    cells = torch.ones(8, 8)
    halves = [PositionMoments(cells), PositionMoments(cells)]
    halves[0].update(moved[:3], original[:3])
    halves[1].update(moved[3:], original[3:])
    both, whole = halves[0] + halves[1], filled(moved, original, cells)
    torch.testing.assert_close(both.auto, whole.auto)
    torch.testing.assert_close(both.cross, whole.cross)
    assert (both.samples, both.images) == (whole.samples, whole.images)
    assert spatial_bound(both).bound == pytest.approx(spatial_bound(whole).bound)


def test_messages():
    with pytest.raises(ProbeError, match="no images were seen"):
        spatial_bound(PositionMoments(torch.ones(4, 4)))
    with pytest.raises(ProbeError, match="do not have 16 cells each"):
        PositionMoments(torch.ones(4, 4)).update(torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5))
