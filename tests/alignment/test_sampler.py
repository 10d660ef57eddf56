"""The search reads maps with the very kernels of `geometry.warp`: values and slopes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invariance_probe.alignment.moments import SpatialMoments
from invariance_probe.alignment.quadratic import ErrorSurface
from invariance_probe.geometry import (
    Frame,
    Transform,
    rotation,
    scaling,
    source_matrix,
    translation,
    warp,
)

FRAME = Frame(jump=(2, 2), start=(-10.5, -7.5), size=(9, 11))
CANDIDATES = [
    rotation(33),
    translation(0.7, -3.1),
    translation(1.4, 0.6) @ rotation(-100) @ scaling(1.3),
    rotation(12) @ scaling(0.8),
    translation(30, -2),  # mostly beyond the edge
]
REACH = {"bilinear": 1, "bicubic": 3}


def surface(interpolation: str) -> tuple[ErrorSurface, torch.Tensor, torch.Tensor, np.ndarray]:
    random = np.random.default_rng(0)
    moved, original = torch.from_numpy(random.normal(size=(2, 4, 3, *FRAME.size)))
    cells = random.random(FRAME.size) < 0.6
    moments = SpatialMoments(FRAME, cells, reach=REACH[interpolation])
    moments.update(moved, original)
    return ErrorSurface(moments, interpolation), moved, original, cells


def by_warp(
    moved: torch.Tensor, original: torch.Tensor, cells: np.ndarray, g: Transform, interpolation: str
) -> float:
    options = {"interpolation": interpolation, "antialias": False, "beyond": "nearest"}
    aligned = warp(moved, g, frame=FRAME, **options)
    return float((aligned - original)[..., torch.from_numpy(cells)].square().sum())


@pytest.mark.parametrize("interpolation", REACH)
@pytest.mark.parametrize("g", CANDIDATES, ids=str)
def test_error_is_that_of_the_warp(g: Transform, interpolation: str) -> None:
    errors, moved, original, cells = surface(interpolation)
    found = errors.error(source_matrix(g, FRAME)[None])
    expected = by_warp(moved, original, cells, g, interpolation)
    assert float(found) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("interpolation", REACH)
@pytest.mark.parametrize("g", CANDIDATES[:4], ids=str)
def test_slope_is_that_of_the_warp(g: Transform, interpolation: str) -> None:
    errors, moved, original, cells = surface(interpolation)
    matrix = torch.from_numpy(source_matrix(g, FRAME)[None])
    _, gradient, _ = errors.derivatives(matrix)
    step = 1e-5  # pixels
    for axis, jump in enumerate(FRAME.jump):
        ends = []
        for sign in (-1, 1):
            back = translation(*(sign * step * np.eye(2)[axis]))  # h⁻¹ moves every sample alike
            h = (back @ g.inverse()).inverse()
            ends.append(by_warp(moved, original, cells, h, interpolation))
        expected = (ends[1] - ends[0]) / (2 * step) * jump
        assert float(gradient[0, :, axis].sum()) == pytest.approx(expected, rel=1e-6, abs=1e-5)
