"""The squared error of every candidate warp, and its derivatives, as a quadratic in the moments.

Between four neighbouring cells a sampler's weights are polynomials of the two fractions of a cell
by which a sample lies beyond the first, so the part of the error that is quadratic in the map is
one too. Its coefficients are tabulated once per block of cells; a sample then costs one look-up.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from ..geometry.kernels import CUBIC
from .moments import SpatialMoments

EDGE = 1e-6  # cells beyond the footprint of a map that still lie on it
_CHUNK = 32_768  # sample points in flight: their coefficients stay in cache
_SQUARES, _CROSS = 4, 2  # nodes a cell of the tables for ranking; bilinear K_AB needs but one

# Weights of the taps of a block along one axis: a row a tap, a column a power of the fraction.
_WEIGHTS = {
    "bilinear": ((1.0, -1.0), (0.0, 1.0)),
    "bicubic": (
        (0.0, CUBIC, -2 * CUBIC, CUBIC),
        (1.0, 0.0, -(CUBIC + 3), CUBIC + 2),
        (0.0, -CUBIC, 2 * CUBIC + 3, -(CUBIC + 2)),
        (0.0, 0.0, CUBIC, -CUBIC),
    ),
}


class ErrorSurface:
    """Squared error of sampling maps, evaluated from moments alone.

    Samples beyond the outermost cells read the nearest cell, as `geometry.warp` does with
    "nearest".

    Convention: a candidate is a 3x3 matrix from cells (column, row, 1) of the original's grid to
    cells of the transformed image's map, as `geometry.source_matrix` gives it for T_g.

    Raises ProbeError for moments without images, and for a sampler wider than their reach.
    """

    def __init__(self, moments: SpatialMoments, interpolation: str = "bilinear") -> None:
        if interpolation not in _WEIGHTS:
            raise ProbeError(
                f"unknown interpolation {interpolation!r}; use 'bilinear' or 'bicubic'"
            )
        if not moments.images:
            raise ProbeError("the moments hold no images yet; update them before a search")
        self._taps = len(_WEIGHTS[interpolation])
        if moments.reach < self._taps - 1:
            raise ProbeError(
                f"{interpolation} sampling needs moments of reach {self._taps - 1}, "
                f"not {moments.reach}; build them with SpatialMoments(..., reach={self._taps - 1})"
            )
        self.size = moments.frame.size
        self.interpolation = interpolation
        self._reach = moments.reach
        chosen = np.flatnonzero(moments.cells.ravel())
        rows, columns = np.divmod(chosen, self.size[1])
        points = np.stack([columns, rows, np.ones(len(chosen))], 1)
        self.points = torch.from_numpy(points).to(moments.cross)
        self._targets = moments.target
        self.target = float(moments.target.sum())
        self._weights = torch.tensor(_WEIGHTS[interpolation], dtype=torch.float64).to(self.points)
        self._slopes = self._weights[:, 1:] * torch.arange(1, self._taps).to(self.points)
        # Cells repeat beyond the edges, so that every sample has all its taps.
        cross = moments.cross.reshape(-1, 1, *self.size)
        self._cross = F.pad(cross, (self._taps // 2,) * 4, mode="replicate")
        self._blocks = self._pairs(moments.auto)
        w = self._weights
        self._square = self._table((w, w), (w, w))

    def thinned(self, every: int) -> ErrorSurface:
        """The surface of each n-th compared cell only: a cheaper one for coarse searches."""
        other = copy(self)
        other.points, other._cross = self.points[::every], self._cross[::every].contiguous()
        other._targets = self._targets[::every]
        other.__dict__.pop("_rough", None)
        other.target = float(other._targets.sum())
        return other

    def error(self, matrices: NDArray[np.float64] | Tensor) -> Tensor:
        """Sum of squared errors (K) of candidates (K, 3, 3), in float64."""
        candidates = torch.as_tensor(matrices).to(self.points)
        total = self.points.new_full((len(candidates),), self.target)
        # Cell by cell, so that all candidates read the same row of K_AB while it is in cache.
        step = max(1, _CHUNK // max(1, len(candidates)))
        for first in range(0, len(self.points), step):
            cells = slice(first, first + step)
            block, x, y = self._locate(candidates, cells)
            square = _polynomial(_look_up(self._square, block), x, y)
            (pull,) = self._pull(cells, block, (self._powers(x), self._powers(y)))
            total += square.sub_(pull, alpha=2).sum(0)
        return total

    def rough(self, matrices: NDArray[np.float64]) -> Tensor:
        """`error` (K) of candidates (K, 3, 3), read off tables in single precision: for ranking."""
        cross, squares = self._rough
        spans = np.maximum(1, np.array(self.size[::-1]) - 1)[:, None]
        # The sampler counts from -1 to 1 between the outermost cells.
        scaled = matrices[:, :2] * (2 / spans) - [0, 0, 1]
        candidates = torch.from_numpy(scaled.reshape(-1, 3).T).to(cross)
        points = self.points.to(cross)
        total = cross.new_empty(len(matrices))
        step = max(1, 2 * _CHUNK // len(points))
        for first in range(0, len(total), step):
            places = points @ candidates[:, 2 * first : 2 * (first + step)]
            places = places.view(len(points), 1, -1, 2)
            pull = F.grid_sample(cross, places, padding_mode="border", align_corners=True)
            places = places.transpose(0, 1)
            square = F.grid_sample(squares, places, padding_mode="border", align_corners=True)
            total[first : first + step] = square[0, 0].sum(0) - 2 * pull[:, 0, 0].sum(0)
        return total.add_(self.target)

    @cached_property
    def _rough(self) -> tuple[Tensor, Tensor]:
        """K_AB (V, 1, ...) and squares (1, 1, ...) at nodes, nearly linear between them."""
        x, y = (self._nodes(cells, _SQUARES) for cells in reversed(self.size))
        squares = self._squares(x, y)[None, None].float()
        if self._taps == 2:
            return self._cross[..., 1:-1, 1:-1].float().contiguous(), squares
        x, y = (self._nodes(cells, _CROSS) for cells in reversed(self.size))
        return self._pulls(x, y)[:, None].float(), squares

    def _nodes(self, cells: int, steps: int) -> Tensor:
        return torch.arange((cells - 1) * steps + 1).to(self.points) / steps

    def coverage(self, matrices: NDArray[np.float64] | Tensor) -> NDArray[np.float64]:
        """Share (K) of the compared cells that candidates (K, 3, 3) read on the map."""
        candidates = torch.as_tensor(matrices).to(self.points)
        rows, columns = self.size
        inside = self.points.new_ones((len(self.points), len(candidates)), dtype=torch.bool)
        for axis, cells in enumerate((columns, rows)):
            middle = (cells - 1) / 2
            places = self.points @ candidates[:, axis].T
            inside &= places.sub_(middle).abs_() <= middle + 0.5 + EDGE
        return np.asarray(inside.double().mean(0).cpu())

    def nodes(self, columns: Tensor, rows: Tensor) -> Tensor:
        """Error (V, Y, X) of reading each compared cell at each place of a grid of cells."""
        x, y = (v.to(self.points) for v in (columns, rows))
        return (
            self._pulls(x, y).mul_(-2).add_(self._squares(x, y)).add_(self._targets[:, None, None])
        )

    def _squares(self, x: Tensor, y: Tensor) -> Tensor:
        """Squares (Y, X) of the map at a grid of places."""
        block, across, down = self._place(*torch.meshgrid(x, y, indexing="xy"))
        return _polynomial(_look_up(self._square, block), across, down)

    def _pulls(self, x: Tensor, y: Tensor) -> Tensor:
        """K_AB (V, Y, X) between compared cells and a grid of places."""
        across, down = self._resampler(x, self.size[1]), self._resampler(y, self.size[0])
        return down @ self._cross[:, 0] @ across.T

    def _resampler(self, places: Tensor, cells: int) -> Tensor:
        """Weights (places, padded cells) of the taps along one axis."""
        first = places.floor().clamp_(0, cells - 1)
        weights = torch.stack(self._powers(places - first), 1)
        taps = first.long()[:, None] + 1 + torch.arange(self._taps, device=places.device)
        result = places.new_zeros(len(places), cells + 2 * (self._taps // 2))
        return result.scatter_(1, taps, weights)

    def derivatives(self, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Errors (K), gradients (K, V, 2) and Gauss-Newton curvatures (K, V, 2, 2) per sample.

        Gradient and curvature are with respect to every sample's column and row; the chain rule
        to the parameters of a family is the caller's.
        """
        everywhere = slice(None)
        block, x, y = self._locate(matrices, everywhere)
        wx, wy = self._powers(x), self._powers(y)
        dx, dy = self._powers(x, slopes=True), self._powers(y, slopes=True)
        square = _look_up(self._square, block)
        powers = torch.arange(1, len(square), device=x.device, dtype=x.dtype)[:, None, None]
        pull, pull_across, pull_down = self._pull(everywhere, block, (wx, wy), (dx, wy), (wx, dy))
        values = _polynomial(square, x, y) - 2 * pull
        across = _polynomial(square[:, 1:] * powers, x, y)
        down = _polynomial(square[1:] * powers[:, None], x, y)
        gradient = [
            across - 2 * pull_across,
            down - 2 * pull_down,
        ]
        xx, xy, yy = (_polynomial(_look_up(table, block), x, y) for table in self._curvatures)
        curvature = torch.stack([xx, xy, xy, yy], -1).mul_(2).unflatten(-1, (2, 2))
        return (
            values.sum(0) + self.target,
            torch.stack(gradient, -1).transpose(0, 1),
            curvature.transpose(0, 1),
        )

    def _locate(self, candidates: Tensor, cells: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Block and fractions of a cell, each (V, K), of the samples of some compared cells."""
        points = self.points[cells]
        return self._place(points @ candidates[:, 0].T, points @ candidates[:, 1].T)

    def _place(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Block and fractions of a cell of places given in cells."""
        rows, columns = self.size
        x, y = x.clamp(-1, columns), y.clamp(-1, rows)
        column, row = x.floor().clamp_(max=columns - 1), y.floor().clamp_(max=rows - 1)
        block = torch.add(column, row, alpha=columns + 1).add_(columns + 2).long()
        return block, x.sub_(column), y.sub_(row)

    def _powers(self, fraction: Tensor, *, slopes: bool = False) -> list[Tensor]:
        """Weights of the taps along one axis, or their derivatives, each (V, K)."""
        table = (self._slopes if slopes else self._weights).tolist()
        result = []
        for *lower, highest in table:
            value = torch.full_like(fraction, highest)
            for coefficient in reversed(lower):
                value = value.mul_(fraction).add_(coefficient)
            result.append(value)
        return result

    def _pull(
        self, cells: slice, block: Tensor, *samplers: tuple[list[Tensor], list[Tensor]]
    ) -> list[Tensor]:
        """K_AB between compared cells and their samples, (V, K) for each pair of weights of taps
        across and down."""
        cross = self._cross[cells]
        rows, columns = cross.shape[-2:]
        # Blocks are numbered by their upper left cell on a grid one cell wider than the map.
        row = block.div(self.size[1] + 1, rounding_mode="floor")
        start = torch.arange(len(cross), device=block.device)[:, None] * (rows * columns)
        first = (block + row * (columns - self.size[1] - 1) + start).flatten()
        flat = cross.flatten()
        totals = [torch.zeros_like(across[0]) for across, _ in samplers]
        for y in range(self._taps):
            lines = [torch.zeros_like(total) for total in totals]
            for x in range(self._taps):
                read = flat.index_select(0, first + (y * columns + x)).view_as(block)
                for line, (across, _) in zip(lines, samplers, strict=True):
                    line.addcmul_(read, across[x])
            for total, line, (_, down) in zip(totals, lines, samplers, strict=True):
                total.addcmul_(line, down[y])
        return totals

    @cached_property
    def _curvatures(self) -> tuple[Tensor, Tensor, Tensor]:
        """Tables of K_AA between slopes of the sampler: both across, across and down, both down."""
        across, down = (self._weights, self._slopes), (self._slopes, self._weights)
        return self._table(across, across), self._table(across, down), self._table(down, down)

    def _pairs(self, auto: Tensor) -> Tensor:
        """K_AA between the taps of every block, (T, T, T, T, blocks): row, column, row, column."""
        rows, columns = self.size
        offsets = torch.arange(self._taps, device=auto.device) - self._taps // 2
        y = (torch.arange(rows + 1, device=auto.device) + offsets[:, None]).clamp_(0, rows - 1)
        x = torch.arange(columns + 1, device=auto.device) + offsets[:, None]
        x = x.clamp_(0, columns - 1)
        side, r = 2 * self._reach + 1, self._reach
        lag_y = ((y - y[:, None]) + r)[:, None, :, None, :, None] * side  # [first, second]
        lag_x = ((x - x[:, None]) + r)[None, :, None, :, None, :]
        cell = (y[:, None, :, None] * columns + x[None, :, None, :])[:, :, None, None]
        return auto.take((lag_y + lag_x) * (rows * columns) + cell).flatten(4)

    def _table(self, left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
        """Coefficients (powers of y, powers of x, blocks) of the product of two samplers.

        Each sampler is its tables of weights (taps, powers) down and across.
        """
        product = torch.einsum(
            "ijklb,ip,jq,kr,ls->pqrsb", self._blocks, left[0], left[1], right[0], right[1]
        )
        p, q, r, s, blocks = product.shape
        table = product.new_zeros(p + r - 1, q + s - 1, blocks)
        for i in range(p):
            for j in range(q):
                table[i : i + r, j : j + s] += product[i, j]
        return table


def _look_up(table: Tensor, block: Tensor) -> Tensor:
    """Coefficients (powers of y, powers of x, V, K) of the samples' blocks."""
    rows = table.flatten(0, 1).index_select(1, block.flatten())
    return rows.reshape(*table.shape[:2], *block.shape)


def _polynomial(coefficients: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values of polynomials with coefficients (powers of y, powers of x, ...), by Horner's rule."""
    inner = coefficients[:, -1].clone()
    for index in range(coefficients.shape[1] - 2, -1, -1):
        inner = inner.mul_(x).add_(coefficients[:, index])
    value = inner[-1]
    for index in range(len(inner) - 2, -1, -1):
        value = value.mul_(y).add_(inner[index])
    return value
