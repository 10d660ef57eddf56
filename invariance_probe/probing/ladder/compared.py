"""The part of a layer's maps that is compared: a window around the valid cells, 0 elsewhere."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...geometry import Frame, Transform, warp
from ...geometry.resampling import Interpolation

MOST_CELLS = 65_536  # compared cells; a regular sub-grid beyond that
_TAPS = 2  # cells that the widest sampler reads to either side of a sample


class Compared:
    """Maps at the compared cells only: their bounding window, with 0 at the other cells in it.

    `cells` (rows, columns) are the valid cells of the frame. Of more than 65,536 of them every
    `step`-th along both axes is compared, from the middle of the first `step` on; `step` is 1
    otherwise. Maps that are moved lie on a grid `dense` times finer, `source`. `weights` (C),
    where set, multiplies channels. Sums of squares and products over the window are sums over the
    compared cells.
    """

    def __init__(
        self,
        frame: Frame,
        cells: NDArray[np.bool_],
        interpolation: Interpolation,
        dense: int = 1,
    ) -> None:
        self.frame, self.interpolation = frame, interpolation
        self.dense, self.source = dense, frame.finer(dense)
        self.weights: Tensor | None = None
        self.step = max(1, math.ceil(math.sqrt(int(cells.sum()) / MOST_CELLS)))
        lines = (np.flatnonzero(cells.any(axis)) for axis in (1, 0))
        self._ends = tuple(
            (int(some[0]) + min(self.step // 2, len(some) - 1), int(some[-1]) + 1) for some in lines
        )
        self.grid = frame.part(self.rows, self.columns)
        self.cells = cells[self.rows, self.columns]
        self.number = int(self.cells.sum())
        self._mask = None if self.cells.all() else torch.from_numpy(self.cells)

    @property
    def rows(self) -> slice:
        """Rows of the map in the window."""
        return slice(*self._ends[0], self.step)

    @property
    def columns(self) -> slice:
        """Columns of the map in the window."""
        return slice(*self._ends[1], self.step)

    def mask(self, like: Tensor) -> Tensor:
        """1 at the compared cells of the window, 0 elsewhere, as `like`."""
        return torch.from_numpy(self.cells).to(like)

    def own(self, maps: Tensor) -> Tensor:
        """The layer's own cells of maps on the source grid."""
        first, step = self.dense // 2, self.dense
        return maps if step == 1 else maps[..., first::step, first::step]

    def take(self, maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) as they are, in the window."""
        return self._weighed(
            maps[..., self.rows, self.columns].clone(memory_format=torch.contiguous_format)
        )

    def moved(self, maps: Tensor, g: Transform) -> Tensor:
        """T_g on maps of the source grid, in the window; sampled, as a spatial transformer does."""
        return self._weighed(self._sampled(maps, self.source, g))

    def there_and_back(self, maps: Tensor, h: Transform) -> Tensor:
        """T_{h⁻¹} T_h on maps of the source grid, in the window.

        The first leg is anti-aliased like an image's.
        """
        rows, columns = self._read_by(h)
        read = self.source.part(rows, columns)
        there = warp(
            maps, h, frame=self.source, onto=read, interpolation=self.interpolation,
            beyond="nearest",
        )  # fmt: skip
        return self._weighed(self._sampled(there, read, h.inverse()))

    def _sampled(self, maps: Tensor, frame: Frame, g: Transform) -> Tensor:
        return warp(
            maps, g, frame=frame, onto=self.grid, interpolation=self.interpolation,
            antialias=False, beyond="nearest",
        )  # fmt: skip

    def _read_by(self, h: Transform) -> tuple[slice, slice]:
        """Rows and columns of the source grid that T_{h⁻¹} reads for the window."""
        corners = self.grid.positions()
        ends = np.c_[corners, np.ones(len(corners))] @ (self.source.inverse_matrix @ h.matrix).T
        slices = []
        for axis, size in ((1, self.source.size[0]), (0, self.source.size[1])):
            low = math.floor(ends[:, axis].min()) - _TAPS
            high = math.ceil(ends[:, axis].max()) + _TAPS + 1
            first = min(max(low, 0), size - 1)
            slices.append(slice(first, max(first + 1, min(high, size))))
        return slices[0], slices[1]

    def _weighed(self, window: Tensor) -> Tensor:
        """Weights, and 0 where nothing is compared; works on what it is given."""
        if self.weights is not None:
            window.mul_(self.weights.to(window)[:, None, None])
        return window if self._mask is None else window.mul_(self._mask.to(window.device))
