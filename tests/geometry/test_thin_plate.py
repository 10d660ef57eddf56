"""Thin plate splines against SciPy's, and on displacements whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    control_points,
    rotations_of,
    sample,
    sampling_grid,
    thin_plate_grid,
)

CANVASES = [(28, 28), (20, 32), (15, 9)]


def displacements(number: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(number, 16, 2, generator=generator, dtype=torch.float64)


def pixels(size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Where the pixels of an output lie on the canvas whose field of view it shows."""
    y = (np.arange(size[0]) - (size[0] - 1) / 2) * canvas[0] / size[0]
    x = (np.arange(size[1]) - (size[1] - 1) / 2) * canvas[1] / size[1]
    return np.stack(np.meshgrid(x, y), -1)


@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("half", [False, True], ids=["same", "half"])
def test_as_scipy(canvas, half):
    size = (canvas[0] // 2, canvas[1] // 2) if half else canvas
    moves = displacements()
    grid = thin_plate_grid(moves, size, canvas)
    assert grid.shape == (3, *size, 2)
    where = pixels(size, canvas)
    for found, move in zip(grid.numpy(), moves.numpy(), strict=True):
        spline = RBFInterpolator(control_points(canvas), move, kernel="thin_plate_spline")
        expected = where + spline(where.reshape(-1, 2)).reshape(where.shape)
        np.testing.assert_allclose(found * [canvas[1] / 2, canvas[0] / 2], expected, atol=1e-9)


def test_control_points_lie_row_by_row():
    points = control_points((12, 24))
    assert points.shape == (16, 2)
    assert points[0].tolist() == [-12, -6] and points[3].tolist() == [12, -6]
    assert points[4].tolist() == [-12, -2] and points[15].tolist() == [12, 6]


@pytest.mark.parametrize("dtype, atol", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_no_displacement_is_the_identity(dtype, atol):
    grid = thin_plate_grid(torch.zeros(2, 16, 2, dtype=dtype), (28, 20), (28, 20))
    eye = torch.eye(3, dtype=dtype).expand(2, 3, 3)
    assert grid.dtype == dtype
    torch.testing.assert_close(grid, sampling_grid(eye, (28, 20), (28, 20)), atol=atol, rtol=0)


@pytest.mark.parametrize("canvas", CANVASES)
def test_displacements_of_an_affine_map_give_it_everywhere(canvas):
    source = rotations_of(torch.tensor([20.0])) @ torch.diag(torch.tensor([1.2, 0.9, 1.0]).double())
    source[0, :2, 2] = torch.tensor([2.0, -1.0])
    points = torch.from_numpy(control_points(canvas))
    moves = points @ source[0, :2, :2].T + source[0, :2, 2] - points
    grid = thin_plate_grid(moves[None], canvas, canvas)
    torch.testing.assert_close(grid, sampling_grid(source, canvas, canvas), atol=1e-10, rtol=0)


def test_content_at_a_point_is_read_where_it_was_displaced_to():
    """A shift of all control points to the right reads from the right: content moves left."""
    still = torch.arange(8.0, dtype=torch.float64).expand(1, 1, 8, 8)
    moves = torch.zeros(1, 16, 2, dtype=torch.float64)
    moves[..., 0] = 2
    seen = sample(still, thin_plate_grid(moves, (8, 8), (8, 8)), beyond="nearest")
    assert torch.allclose(seen[0, 0, 3], torch.tensor([2.0, 3, 4, 5, 6, 7, 7, 7]).double())


@pytest.mark.parametrize("beyond", ["fill", "nearest"])
def test_gradients(beyond):
    still = torch.randn(
        2, 1, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).requires_grad_()
    moves = (0.2 * displacements(2)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f, d: sample(f, thin_plate_grid(d, (4, 5), (5, 6)), beyond=beyond), (still, moves)
    )


def test_autocast_leaves_coordinates_alone():
    moves = displacements().float()
    with torch.autocast("cpu", torch.bfloat16):
        grid = thin_plate_grid(moves, (28, 28), (28, 28))
    assert torch.equal(grid, thin_plate_grid(moves, (28, 28), (28, 28)))


def test_bad_input():
    with pytest.raises(ProbeError, match=r"shape \(3, 9, 2\); give \(N, 16, 2\)"):
        thin_plate_grid(torch.zeros(3, 9, 2), (8, 8), (8, 8))
