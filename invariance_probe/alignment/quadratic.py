"""The squared error of every candidate warp, and its derivatives, as a quadratic in the moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .moments import SpatialMoments

_CUBIC = -0.75
_CHUNK = 400_000  # sample points in flight: bounds memory, and stays in cache


@dataclass(frozen=True)
class Sampling:
    """Taps of an interpolating sampler at P points: flat cells (P, K), weights and slopes (P, K).

    Convention: slopes are derivatives with respect to the sample's column and row; beyond the
    outermost cell centres the position is clamped, so the nearest cell repeats and slopes are 0.
    """

    cells: Tensor
    weights: Tensor
    slope_x: Tensor
    slope_y: Tensor


def sampling(
    x: Tensor, y: Tensor, size: tuple[int, int], interpolation: str, *, slopes: bool = True
) -> Sampling:
    """Taps of samples at columns `x` and rows `y` (P) of a map of `size` (rows, columns)."""
    rows, columns = size
    cx, wx, dx = _axis(x, columns, interpolation)
    cy, wy, dy = _axis(y, rows, interpolation)

    def plane(down: Tensor, across: Tensor) -> Tensor:
        return (down[:, :, None] * across[:, None, :]).flatten(1)

    cells = (cy[:, :, None] * columns + cx[:, None, :]).flatten(1)
    weights = plane(wy, wx)
    if not slopes:
        return Sampling(cells, weights, weights[:0], weights[:0])
    return Sampling(cells, weights, plane(wy, dx), plane(dy, wx))


def _axis(position: Tensor, number: int, interpolation: str) -> tuple[Tensor, Tensor, Tensor]:
    """Taps (P, K) along one axis: cells, weights, derivatives of the weights."""
    if number == 1:
        zero = torch.zeros_like(position)[:, None]
        return zero.long(), zero + 1, zero
    inside = (position > 0) & (position < number - 1)
    clamped = position.clamp(0, number - 1)
    first = clamped.floor().clamp(max=number - 2)
    f = (clamped - first)[:, None]
    cells = first.long()[:, None]
    if interpolation == "bilinear":
        cells = torch.cat([cells, cells + 1], 1)
        weights = torch.cat([1 - f, f], 1)
        slopes = torch.cat([-torch.ones_like(f), torch.ones_like(f)], 1)
    else:
        cells = (cells + torch.arange(-1, 3, device=cells.device)).clamp(0, number - 1)
        a = _CUBIC
        outer, inner = torch.cat([1 + f, 2 - f], 1), torch.cat([f, 1 - f], 1)
        far = a * (((outer - 5) * outer + 8) * outer - 4)
        near = ((a + 2) * inner - (a + 3)) * inner * inner + 1
        far_slope = a * ((3 * outer - 10) * outer + 8)
        near_slope = (3 * (a + 2) * inner - 2 * (a + 3)) * inner
        weights = torch.cat([far[:, :1], near, far[:, 1:]], 1)
        slopes = torch.cat(
            [far_slope[:, :1], near_slope[:, :1], -near_slope[:, 1:], -far_slope[:, 1:]], 1
        )
    return cells, weights, slopes * inside[:, None]


class ErrorSurface:
    """Squared error of sampling maps, evaluated from moments alone.

    `every` keeps each n-th compared cell only: a cheaper surface for coarse searches.

    Convention: a candidate is a 3x3 matrix from cells (column, row, 1) of the original's grid to
    cells of the transformed image's map, as `geometry.source_matrix` gives it for T_g.
    """

    def __init__(
        self, moments: SpatialMoments, interpolation: str = "bilinear", *, every: int = 1
    ) -> None:
        self.size = moments.frame.size
        self.interpolation = interpolation
        self._reach = moments.reach
        chosen = np.flatnonzero(moments.cells.ravel())[::every]
        rows, columns = np.divmod(chosen, self.size[1])
        points = np.stack([columns, rows, np.ones(len(chosen))], 1)
        self.points = torch.from_numpy(points).double().to(moments.cross.device)
        self.target = float(moments.target[::every].sum())
        self._cross = moments.cross[::every].flatten()
        self._auto = moments.auto
        self._blocks = self._tabulate() if interpolation == "bilinear" else None

    def error(self, matrices: NDArray[np.float64] | Tensor) -> Tensor:
        """Sum of squared errors (K) of candidates (K, 3, 3), in float64."""
        candidates = torch.as_tensor(np.asarray(matrices)).to(self.points)
        step = max(1, _CHUNK // len(self.points))
        parts = []
        for first in range(0, len(candidates), step):
            part = candidates[first : first + step]
            taps, gram, pull = self._look_up(part, slopes=False)
            outer = (taps.weights[:, :, None] * taps.weights[:, None, :]).flatten(1)
            value = (outer * gram.flatten(1)).sum(1) - 2 * (taps.weights * pull).sum(1)
            parts.append(value.reshape(len(part), -1).sum(1))
        return torch.cat(parts) + self.target

    def derivatives(self, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Errors (K), gradients (K, V, 2) and Gauss-Newton curvatures (K, V, 2, 2) per sample.

        Gradient and curvature are with respect to every sample's column and row; the chain rule
        to the parameters of a family is the caller's.
        """
        taps, gram, pull = self._look_up(matrices)
        pushed = (gram @ taps.weights[:, :, None])[:, :, 0]
        error = (taps.weights * (pushed - 2 * pull)).sum(1)
        slopes = torch.stack([taps.slope_x, taps.slope_y], 1)  # (P, 2, K)
        gradient = 2 * (slopes @ (pushed - pull)[:, :, None])[:, :, 0]
        curvature = 2 * slopes @ gram @ slopes.transpose(1, 2)
        shape = (len(matrices), len(self.points))
        return (
            error.reshape(shape).sum(1) + self.target,
            gradient.reshape(*shape, 2),
            curvature.reshape(*shape, 2, 2),
        )

    def _look_up(
        self, candidates: Tensor, *, slopes: bool = True
    ) -> tuple[Sampling, Tensor, Tensor]:
        """Taps of all samples, K_AA between them (P, K, K) and K_AB of them (P, K)."""
        rows, columns = self.size
        positions = torch.einsum("kij,vj->kvi", candidates[:, :2], self.points).reshape(-1, 2)
        x, y = positions.unbind(1)
        taps = sampling(x, y, self.size, self.interpolation, slopes=slopes)
        number = taps.cells.shape[1]
        v = torch.arange(len(self.points), device=taps.cells.device).repeat(len(candidates))
        pull = self._cross.take(v[:, None] * (rows * columns) + taps.cells)
        if self._blocks is not None:  # the first tap is the corner of the block
            gram = self._blocks.index_select(0, taps.cells[:, 0])
        else:
            gram = self._pairs(taps.cells)
        return taps, gram.reshape(-1, number, number), pull

    def _pairs(self, cells: Tensor) -> Tensor:
        """K_AA between all pairs of taps (P, K) of each point, as (P, K, K)."""
        rows, columns = self.size
        row, column = cells.div(columns, rounding_mode="floor"), cells % columns
        side = 2 * self._reach + 1
        lag_y = row[:, None, :] - row[:, :, None] + self._reach
        lag_x = column[:, None, :] - column[:, :, None] + self._reach
        return self._auto.take((lag_y * side + lag_x) * (rows * columns) + cells[:, :, None])

    def _tabulate(self) -> Tensor:
        """K_AA between the taps of every bilinear block, (P, 16): one row a look-up."""
        rows, columns = self.size
        down = torch.arange(rows, device=self._cross.device)[:, None, None]
        across = torch.arange(columns, device=self._cross.device)[None, :, None]
        step_y = torch.tensor([0, 0, 1, 1][: 4 if rows > 1 else 2], device=down.device)
        step_x = torch.tensor([0, 1, 0, 1], device=down.device)
        if rows == 1:
            step_x = step_x[:2]
        if columns == 1:
            step_y, step_x = step_y.unique(), step_x[: len(step_y.unique())] * 0
        y = (down + step_y).clamp(max=rows - 1)
        x = (across + step_x).clamp(max=columns - 1)
        return self._pairs((y * columns + x).flatten(0, 1)).flatten(1)
