"""Shrinking: anti-aliasing against PyTorch's and against what waves must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from invariance_probe.geometry import Transform, image_frame, rotation, scaling, shear, warp

PADS = ("fill", "nearest", "reflect")
DTYPES = [torch.float32, torch.float64]


def images(rows: int, columns: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Two images of three channels, with both signs and no regularity."""
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.randn(2, 3, rows, columns, generator=generator, dtype=dtype)


@pytest.mark.parametrize(
    ("rows", "columns", "small"),
    [(30, 40, (15, 20)), (30, 39, (10, 13)), (30, 40, (21, 28)), (35, 21, (20, 12))],
    ids=["1/2", "1/3", "0.7", "4/7"],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pytorchs_antialiasing_agrees(
    interpolation: str, dtype: torch.dtype, rows: int, columns: int, small: tuple[int, int]
) -> None:
    still = images(rows, columns, dtype)
    factor = small[0] / rows
    expected = F.interpolate(still, size=small, mode=interpolation, antialias=True)
    options = {"size": small, "interpolation": interpolation}
    moved = warp(still, scaling(factor), **options)
    # PyTorch leaves out what lies beyond the edge and divides by the weight that is left
    weight = warp(torch.ones_like(still), scaling(factor), **options)
    torch.testing.assert_close(moved / weight, expected, atol=1e-5, rtol=0)
    nearest = warp(still, scaling(factor), beyond="nearest", **options)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(nearest[inner], expected[inner], atol=1e-5, rtol=0)


@pytest.mark.parametrize("small", [(15, 20), (10, 13), (39, 52)], ids=str)
def test_pillow_agrees(small: tuple[int, int]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    rows, columns = 30, small[1] * 30 // small[0]
    still = images(rows, columns, torch.float32)
    picture = image_module.fromarray(still[1, 2].numpy())
    expected = np.asarray(picture.resize(small[::-1], image_module.Resampling.BICUBIC))
    options = {"size": small, "interpolation": "bicubic"}
    moved = warp(still, scaling(small[0] / rows), **options)
    weight = warp(torch.ones_like(still), scaling(small[0] / rows), **options)
    np.testing.assert_allclose((moved / weight)[1, 2], expected, atol=1e-5)


def test_bands_of_a_large_sparse_operator_join_without_a_seam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still, transform = images(23, 18), rotation(33) @ scaling(0.6)
    whole = warp(still, transform)
    monkeypatch.setattr("invariance_probe.geometry.resampling._TAPS", 3_000)
    torch.testing.assert_close(warp(still, transform), whole, atol=1e-12, rtol=0)


SHRINKING = [
    scaling(0.5),
    scaling(0.37),
    scaling(0.4, 1.2),
    rotation(90) @ scaling(0.5),
    rotation(33) @ scaling(0.3),
    shear(0.8) @ scaling(0.6),
]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("beyond", ["nearest", "reflect"])
@pytest.mark.parametrize("transform", SHRINKING, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constant_stays_constant(
    dtype: torch.dtype, transform: Transform, beyond: str, interpolation: str
) -> None:
    still = torch.full((1, 2, 17, 20), 0.7, dtype=dtype)
    moved = warp(still, transform, beyond=beyond, interpolation=interpolation)
    torch.testing.assert_close(moved, still, atol=1e-6, rtol=0)
    filled = warp(still, transform, fill=0.7, interpolation=interpolation)
    torch.testing.assert_close(filled, still, atol=1e-6, rtol=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("shrink", [scaling(0.5), scaling(0.31), scaling(0.4, 0.7)], ids=str)
def test_separable_and_sparse_shrinking_agree(
    shrink: Transform, beyond: str, interpolation: str
) -> None:
    still = images(18, 23)
    options = {"beyond": beyond, "interpolation": interpolation}
    separable = warp(still, shrink, **options)
    almost = warp(still, rotation(1e-9) @ shrink, **options)
    torch.testing.assert_close(almost, separable, atol=1e-8, rtol=0)
    turned = warp(still, rotation(90) @ shrink, size=(23, 18), **options)
    torch.testing.assert_close(turned, separable.rot90(1, (2, 3)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("turn", [0.0, 30.0, 90.0])
def test_fine_grating_vanishes_when_shrunk(turn: float) -> None:
    """A wave of period 3 px has no place on a grid 4 times as coarse; it must not alias."""
    x = torch.arange(96, dtype=torch.float64)
    still = torch.cos(2 * torch.pi * x / 3 + 0.4).expand(1, 1, 96, 96)
    transform = rotation(turn) @ scaling(0.25)
    centre = (slice(None), slice(None), slice(40, 56), slice(40, 56))
    power = still.square().mean()
    kept = warp(still, transform)[centre].square().mean()
    aliased = warp(still, transform, antialias=False)[centre].square().mean()
    # a triangle 4 px wide passes sinc²(4/3) = 0.043 of the amplitude
    assert kept < 0.005 * power
    assert aliased > 0.1 * power


def test_slow_wave_survives_shrinking() -> None:
    x = torch.arange(96, dtype=torch.float64) - 47.5
    still = torch.cos(2 * torch.pi * x / 48).expand(1, 1, 96, 96)
    moved = warp(still, scaling(0.25), size=(24, 24))[0, 0, 12]
    expected = torch.cos(2 * torch.pi * (torch.arange(24) - 11.5) / 12)
    # sinc²(4/48) = 0.977 by theory for the continuous triangle
    torch.testing.assert_close(
        moved[2:-2], np.sinc(4 / 48) ** 2 * expected[2:-2].double(), atol=3e-3, rtol=0
    )


def test_there_is_no_seam_between_shrinking_and_sampling(make_scene: type) -> None:
    still = make_scene(wavelength=8.0).on(image_frame(20, 24))
    for turn in (0, 30):
        for interpolation in ("bilinear", "bicubic"):
            just_below, just_above = (
                warp(still, rotation(turn) @ scaling(factor), interpolation=interpolation)
                for factor in (1 - 3e-6, 1 + 3e-6)
            )
            assert (just_below - just_above).abs().max() < 5e-4
