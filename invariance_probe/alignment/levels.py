"""Moments at two resolutions, for maps too large to compare all cells with all others."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from ..geometry import Frame
from .moments import SpatialMoments

COMPARED = 784  # cells of a level at most, spread over the map beyond that
EXACT_SIDE = 56  # cells a side up to which "auto" searches the map itself
_COARSE_SIDE = 28  # cells a side of the coarse level
_ENTRIES = 5_000_000  # of K_AB of the fine level: 40 MB
_FEWEST = 64  # compared cells of the fine level at least

Search = str  # "auto", "exact", "pyramid"


class PyramidMoments:
    """Moments of block averages and of the maps themselves, from one pass.

    `coarse` averages blocks of `pool` x `pool` cells to at most 28 a side, where all angles and
    scales are tried. `fine` is the map at full resolution with fewer compared cells, spread over
    the map: so many that K_AB stays below 5 million entries, but 64 at least. Refinement there
    is exact for these cells.
    """

    SUMS: ClassVar[tuple[str, ...]] = ("coarse", "fine")

    def __init__(self, coarse: SpatialMoments, fine: SpatialMoments, pool: int) -> None:
        self.coarse, self.fine, self.pool = coarse, fine, pool

    def update(self, moved: Tensor, original: Tensor) -> None:
        """Add a batch: maps of the transformed and of the original images, both (N, C, H, W)."""
        self.fine.update(moved, original)
        self.coarse.update(*(F.avg_pool2d(maps, self.pool) for maps in (moved, original)))

    def __add__(self, other: PyramidMoments) -> PyramidMoments:
        """Moments of both sets of images."""
        if self.pool != other.pool:
            raise ProbeError("moments of different block sizes do not add")
        return PyramidMoments(self.coarse + other.coarse, self.fine + other.fine, self.pool)


Moments = SpatialMoments | PyramidMoments
"""What the search of one layer and transformation reads, at one level or several."""


class SearchPlan:
    """How the best alignment of one layer is searched: on which grids, at which cells.

    `search` is "exact" (moments of the map itself), "pyramid" (two levels), or "auto": exact on
    maps of at most 56 cells a side. A pyramid of a map of 28 cells a side or less is the map
    itself. `pooled_cells` are asked for with the frame of the coarse level, and say where that
    can be compared.

    Raises ProbeError where no cell can be.
    """

    def __init__(self, frame: Frame, cells: NDArray[np.bool_], search: Search = "auto") -> None:
        self.frame, self.pool = frame, 1
        side = max(frame.size)
        if search == "pyramid" or (search == "auto" and side > EXACT_SIDE):
            self.pool = -(-side // _COARSE_SIDE)
        most = COMPARED
        if self.pool > 1:
            most = min(COMPARED, max(_FEWEST, _ENTRIES // (frame.size[0] * frame.size[1])))
        self.cells = thinned(cells, most)
        self.coarse_cells: NDArray[np.bool_] | None = None

    @property
    def coarse_frame(self) -> Frame:
        """The grid of the coarse level; the map's own where there is none."""
        return self.frame.pooled(self.pool) if self.pool > 1 else self.frame

    @property
    def method(self) -> str:
        """The plan in words: "exact", or "pyramid 4x4" with the size of the averaged blocks."""
        return f"pyramid {self.pool}x{self.pool}" if self.pool > 1 else "exact"

    def compare_coarse(self, cells: NDArray[np.bool_]) -> None:
        """Say which cells of the coarse level can be compared."""
        self.coarse_cells = thinned(cells, COMPARED)

    def moments(
        self, *, reach: int = 1, pivot: Tensor | None = None, weights: Tensor | None = None
    ) -> Moments:
        """Empty moments, as SpatialMoments takes them."""
        fine = SpatialMoments(self.frame, self.cells, reach=reach, pivot=pivot, weights=weights)
        if self.pool == 1:
            return fine
        if self.coarse_cells is None:
            raise ProbeError("say first which cells of the coarse level are compared")
        coarse = SpatialMoments(
            self.coarse_frame, self.coarse_cells, reach=reach, pivot=pivot, weights=weights
        )
        return PyramidMoments(coarse, fine, self.pool)


def thinned(cells: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """At most `limit` of the cells, spread evenly: one drawn from each block of a grid.

    Cells in step would be sampled in step too, all between cells at a scale of 3/2 for one, where
    interpolation smooths most. The draw is the same every time.
    """
    if cells.sum() <= limit:
        return cells.copy()
    rows, columns = cells.shape
    step = 2
    while True:
        draw = np.random.default_rng(0)
        shape = (-(-rows // step), -(-columns // step))
        row, column = np.indices(shape) * step + draw.integers(step, size=(2, *shape))
        kept = np.zeros_like(cells)
        inside = (row < rows) & (column < columns)
        kept[row[inside], column[inside]] = True
        kept &= cells
        if 0 < kept.sum() <= limit:
            return kept
        if not kept.any():  # a thin region that the draw has missed
            flat = np.flatnonzero(cells)
            kept.flat[flat[:: -(-len(flat) // limit)]] = True
            return kept
        step += 1
