"""Thin plate splines on a 4x4 grid of control points: smooth warps beyond matrices."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from .grids import full_precision

POINTS = 16


def control_points(canvas: tuple[int, int]) -> NDArray[np.float64]:
    """Return the 16 control points (16, 2) of a canvas (rows, columns), row by row.

    Convention: image coordinates; the outer points lie on the edge of the canvas.
    """
    x = np.linspace(-canvas[1] / 2, canvas[1] / 2, 4)
    y = np.linspace(-canvas[0] / 2, canvas[0] / 2, 4)
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def thin_plate_grid(
    displacements: Tensor, size: tuple[int, int], canvas: tuple[int, int]
) -> Tensor:
    """Return the sampling grid (N, h, w, 2) of thin plate splines.

    At control point c of the output the input is read at c + d, d its displacement (N, 16, 2) in
    pixels of the input; between the points the field of displacements has the least bending energy.
    An output of `size` (h, w) shows the same field of view as the `canvas` (H, W). Raises
    ProbeError for another number of control points.

    Convention: image coordinates of the canvas; the grid's values are those of grid_sample with
    align_corners=False. Source: Bookstein 1989; Jaderberg et al. 2015, section 3.2.
    """
    if displacements.shape[1:] != (POINTS, 2):
        raise ProbeError(
            f"displacements of shape {tuple(displacements.shape)}; give (N, {POINTS}, 2)"
        )
    base, basis = (torch.from_numpy(part).to(displacements) for part in _spline(size, canvas))
    half = displacements.new_tensor([canvas[1] / 2, canvas[0] / 2])
    with full_precision(displacements.device):
        seen = base + basis @ displacements
    return (seen / half).reshape(len(displacements), *size, 2)


@lru_cache(maxsize=16)
def _spline(
    size: tuple[int, int], canvas: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Output pixels as points of the canvas (h w, 2), and what each point adds there (h w, 16)."""
    x = ((np.arange(size[1]) + 0.5) / size[1] - 0.5) * canvas[1]
    y = ((np.arange(size[0]) + 0.5) / size[0] - 0.5) * canvas[0]
    pixels = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    points = control_points(canvas)
    affine = np.concatenate([np.ones((POINTS, 1)), points], 1)
    system = np.zeros((POINTS + 3, POINTS + 3))
    system[:POINTS, :POINTS] = _bending(points, points)
    system[:POINTS, POINTS:] = affine
    system[POINTS:, :POINTS] = affine.T
    right = np.concatenate([np.eye(POINTS), np.zeros((3, POINTS))])
    weights = np.linalg.solve(system, right)
    at = np.concatenate([_bending(pixels, points), np.ones((len(pixels), 1)), pixels], 1)
    return pixels, at @ weights


def _bending(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = ((a[:, None] - b[None]) ** 2).sum(-1)
    return np.where(squared > 0, squared * np.log(np.where(squared > 0, squared, 1.0)), 0.0)
