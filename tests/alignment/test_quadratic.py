"""The error surface: the same numbers as warping every map, and true derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import ErrorSurface, SpatialMoments
from invariance_probe.alignment.search import ANGLES, SCALES, grid_samplings
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import Frame, affine, image_frame, source_matrix, translation, warp

MODES = ("bilinear", "bicubic")
FRAMES = [
    image_frame(1, 1),
    image_frame(1, 6),
    image_frame(6, 1),
    image_frame(2, 2),
    image_frame(7, 5),
    Frame((2.0, 3.0), (-7.0, 1.0), (7, 5)),  # anisotropic and off-centre
    Frame((-2.0, 4.0), (5.0, -20.0), (4, 9)),  # mirrored
]


def candidates(random: np.random.Generator, number: int, reach: float = 1.0):
    """Affine maps, the later ones far outside the map."""
    for index in range(number):
        size = np.array([1, 1, 4, 1, 1, 4]) * (reach if index < number // 2 else 20 * reach)
        yield affine(*(random.normal(size=6) * size + [0.3, 0, 0, 0, 0.3, 0]))


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: f"{f.size[0]}x{f.size[1]}j{f.jump[0]:g}")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_those_of_warping_the_maps(
    fill, direct_error, frame, interpolation, dtype, tolerance, weighted
):
    random = np.random.default_rng(3)
    cells = random.random(frame.size) < 0.7
    cells.flat[-1] = True
    a, b = torch.from_numpy(random.normal(size=(2, 3, 4, *frame.size))).to(dtype)
    weights = torch.from_numpy(random.uniform(0, 2, 4)) if weighted else None
    moments = fill(a, b, frame=frame, cells=cells, interpolation=interpolation, weights=weights)
    surface = ErrorSurface(moments, interpolation)
    for g in candidates(random, 12):
        expected = direct_error(a, b, g, frame, cells, interpolation, weights)
        matrix = source_matrix(g, frame)[None]
        assert surface.error(matrix).item() == pytest.approx(expected, rel=tolerance)
        value, _, _ = surface.derivatives(torch.from_numpy(matrix))
        assert value.item() == pytest.approx(expected, rel=tolerance)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(MODES), st.floats(-100, 100))
def test_the_pivot_changes_no_error(fill, seed, interpolation, level):
    random = np.random.default_rng(seed)
    frame = image_frame(*random.integers(1, 7, 2))
    a, b = torch.from_numpy(random.normal(size=(2, 2, 3, *frame.size)))
    matrices = np.stack([source_matrix(g, frame) for g in candidates(random, 4)])
    plain, shifted = (
        ErrorSurface(fill(a, b, interpolation=interpolation, pivot=pivot), interpolation)
        for pivot in (torch.zeros(3), torch.full((3,), level))
    )
    scale = 1e-10 * (1 + level**2)  # the digits that a far pivot costs
    torch.testing.assert_close(
        plain.error(matrices), shifted.error(matrices), rtol=1e-9, atol=scale
    )


def test_a_pivot_saves_the_digits_of_large_channel_means(fill, direct_error):
    random = np.random.default_rng(0)
    frame = image_frame(6, 6)
    a, b = torch.from_numpy(random.normal(size=(2, 8, 4, 6, 6)) + 300).float()
    g = affine(0.9, 0.2, 0.3, -0.2, 0.9, 0.1)
    expected = direct_error(a.double(), b.double(), g, frame, np.ones((6, 6), dtype=bool))
    error = ErrorSurface(fill(a, b)).error(source_matrix(g, frame)[None]).item()
    assert error == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("interpolation", MODES)
def test_all_candidates_at_once_are_the_candidates_one_by_one(fill, monkeypatch, interpolation):
    random = np.random.default_rng(5)
    frame = image_frame(6, 8)
    a, b = torch.from_numpy(random.normal(size=(2, 3, 2, 6, 8)))
    surface = ErrorSurface(fill(a, b, interpolation=interpolation), interpolation)
    grid = frame.inverse_matrix @ grid_samplings(ANGLES[::9], SCALES[::3]) @ frame.matrix
    together = surface.error(grid)
    single = torch.cat([surface.error(matrix[None]) for matrix in grid])
    torch.testing.assert_close(together, single, rtol=1e-12, atol=0)
    monkeypatch.setattr("invariance_probe.alignment.quadratic._CHUNK", 7)
    torch.testing.assert_close(surface.error(grid), together, rtol=1e-12, atol=0)
    assert surface.error(grid[:0]).shape == (0,)


def test_a_thinned_surface_counts_every_nth_compared_cell(fill, direct_error):
    random = np.random.default_rng(6)
    frame = image_frame(5, 7)
    cells = random.random((5, 7)) < 0.8
    a, b = torch.from_numpy(random.normal(size=(2, 3, 2, 5, 7)))
    thin = np.zeros(35, dtype=bool)
    thin[np.flatnonzero(cells.ravel())[::3]] = True
    surface = ErrorSurface(fill(a, b, cells=cells)).thinned(3)
    for g in candidates(random, 6):
        expected = direct_error(a, b, g, frame, thin.reshape(5, 7))
        assert surface.error(source_matrix(g, frame)[None]).item() == pytest.approx(expected)


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("size", [(9, 8), (1, 9), (9, 1)])
def test_gradients_are_finite_differences(fill, interpolation, size):
    random = np.random.default_rng(7)
    a, b = torch.from_numpy(random.normal(size=(2, 3, 2, *size)))
    surface = ErrorSurface(fill(a, b, interpolation=interpolation), interpolation)
    # Bicubic surfaces are smooth; bilinear ones bend where samples cross from cell to cell.
    shifts = random.uniform(0.2, 0.8, (8, 2)) if interpolation == "bilinear" else None
    shifts = random.uniform(-3, 3, (8, 2)) if shifts is None else shifts
    matrices = np.tile(np.eye(3), (8, 1, 1))
    matrices[:, :2, 2] = shifts + random.integers(-2, 3, (8, 2)) * (interpolation == "bilinear")
    _, gradient, _ = surface.derivatives(torch.from_numpy(matrices))
    step = 1e-5
    for axis in range(2):
        ahead, behind = matrices.copy(), matrices.copy()
        ahead[:, axis, 2] += step
        behind[:, axis, 2] -= step
        difference = (surface.error(ahead) - surface.error(behind)) / (2 * step)
        torch.testing.assert_close(gradient[..., axis].sum(1), difference, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("interpolation", MODES)
def test_gradients_belong_to_single_samples(fill, interpolation):
    """Chain rule on a linear part: the sum over samples of gradient times position."""
    random = np.random.default_rng(8)
    a, b = torch.from_numpy(random.normal(size=(2, 3, 2, 7, 7)))
    surface = ErrorSurface(fill(a, b, interpolation=interpolation), interpolation)
    matrix = np.array([[[0.8317, 0.3141, 0.3713], [-0.2927, 0.9109, 0.7719], [0.0, 0.0, 1.0]]])
    _, gradient, _ = surface.derivatives(torch.from_numpy(matrix))
    by_entry = torch.einsum("vd,vj->dj", gradient[0], surface.points)
    step = 1e-6
    for row in range(2):
        for column in range(3):
            ahead, behind = matrix.copy(), matrix.copy()
            ahead[0, row, column] += step
            behind[0, row, column] -= step
            difference = (surface.error(ahead) - surface.error(behind)) / (2 * step)
            assert by_entry[row, column].item() == pytest.approx(difference.item(), rel=1e-4)


@pytest.mark.parametrize("interpolation", MODES)
def test_curvature_is_twice_the_product_of_the_maps_slopes(fill, interpolation):
    """Gauss-Newton by its definition: slopes of the warped map by finite differences."""
    random = np.random.default_rng(9)
    frame = image_frame(6, 7)
    a, b = torch.from_numpy(random.normal(size=(2, 3, 2, 6, 7)))
    surface = ErrorSurface(fill(a, b, interpolation=interpolation), interpolation)

    def read(dx: float, dy: float) -> torch.Tensor:  # samples at (0.3 + dx, 0.6 + dy)
        g = translation(-0.3 - dx, -0.6 - dy)
        return warp(a, g, frame=frame, interpolation=interpolation, beyond="nearest")

    step = 1e-5
    slopes = torch.stack(
        [
            (read(step, 0) - read(-step, 0)) / (2 * step),
            (read(0, step) - read(0, -step)) / (2 * step),
        ]
    ).flatten(3)
    expected = 2 * torch.einsum("dncv,encv->vde", slopes, slopes)
    matrix = torch.from_numpy(np.array([[[1.0, 0.0, 0.3], [0.0, 1.0, 0.6], [0.0, 0.0, 1.0]]]))
    _, _, curvature = surface.derivatives(matrix)
    torch.testing.assert_close(curvature[0], expected, rtol=1e-6, atol=1e-6)


def test_far_outside_nothing_pulls(fill):
    a, b = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 2, 2, 5, 5)))
    for interpolation in MODES:
        surface = ErrorSurface(fill(a, b, interpolation=interpolation), interpolation)
        matrix = torch.eye(3).double()[None].clone()
        matrix[0, :2, 2] = torch.tensor([50.0, -50.0])
        _, gradient, curvature = surface.derivatives(matrix)
        assert gradient.abs().max() < 1e-10
        assert curvature.abs().max() < 1e-10


def test_refusals_name_the_remedy(fill):
    maps = torch.zeros(1, 1, 3, 3)
    with pytest.raises(
        ProbeError, match=r"bicubic sampling needs moments of reach 3, not 1; build"
    ):
        ErrorSurface(fill(maps, maps), "bicubic")
    with pytest.raises(ProbeError, match="unknown interpolation 'cubic'; use 'bilinear'"):
        ErrorSurface(fill(maps, maps), "cubic")
    empty = SpatialMoments(image_frame(3, 3), np.ones((3, 3), dtype=bool))
    with pytest.raises(ProbeError, match="hold no images yet; update them"):
        ErrorSurface(empty)
