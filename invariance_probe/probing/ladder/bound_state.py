"""The certificate of one layer: the best linear operator on positions, in-sample and held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from ...alignment import PositionMoments, SpatialBound, Variance, spatial_bound, squared_errors
from ...geometry import Frame, Transform, sampling_operator, valid_cells
from ..options import Options

_SIDE = 28  # larger maps are averaged in blocks: operators on them, not on single cells


class BoundState:
    """Moments between all positions of one layer's maps, and the bound they give.

    Maps of more than 28 cells a side are averaged in blocks first; the bound then holds for warps
    of the averaged maps, and `pool` says so. Residuals are fractions of those maps' own variance.
    """

    SUMS: ClassVar[tuple[str, ...]] = ("moments", "_energy", "variance")

    def __init__(
        self,
        frame: Frame,
        transforms: Sequence[Transform],
        canvas: tuple[int, int],
        options: Options,
        like: Tensor,
        pivot: Tensor,
        weights: Tensor | None,
    ) -> None:
        self.pool = -(-max(frame.size) // _SIDE)
        own = frame.pooled(self.pool) if self.pool > 1 else frame
        self.transforms, self.frame = transforms, own
        self.interpolation = options.map_interpolation
        self.cells = valid_cells(own, transforms, canvas)
        self.mask = torch.from_numpy(self.cells).to(like)
        self.weights = weights
        self.pivot = pivot
        self.moments = [PositionMoments(self.mask, weights, pivot) for _ in transforms]
        self.bounds: list[SpatialBound] = []
        self._target = torch.zeros(0)
        self._energy = Variance(pivot, weights)
        self.variance = Variance(pivot, weights)

    def see(self, original: Tensor) -> None:
        """Add originals of the fit half: what the in-sample bound is a fraction of."""
        self._energy.update(self._pooled(original), self.mask)

    def fit(self, which: int, moved: Tensor, original: Tensor) -> None:
        """Add maps of the fit half."""
        self.moments[which].update(self._pooled(moved), self._pooled(original))

    def solve(self, which: int) -> None:
        """Minimise over all operators for transformation number `which`, free its moments."""
        # What few samples cannot decide stays the warp by h⁻¹.
        warp = sampling_operator(self.transforms[which].inverse(), self.frame, self.interpolation)
        chosen = warp[self.mask.flatten().cpu() > 0]
        self.bounds.append(spatial_bound(self.moments[which], about=chosen))
        self.moments[which] = PositionMoments(self.mask, self.weights, self.pivot)

    def start_batch(self, original: Tensor) -> None:
        """Begin a batch of the evaluation half."""
        self.variance.update(self._pooled(original), self.mask)
        self._target = self._rows(original)[..., self.mask.flatten() > 0]

    def evaluate(self, which: int, moved: Tensor) -> Tensor:
        """Errors (N) of the fitted operator on held-out images; NaN where undetermined."""
        found = self.bounds[which]
        if not found.determined:
            return torch.full((len(moved),), torch.nan, dtype=torch.float64)
        rows = self._rows(moved).double()
        centre = found.centre.to(rows)[:, None]
        return squared_errors((rows - centre) @ found.operator.to(rows).T, self._target - centre)

    def table(self, layer: str, keys: Sequence[dict[str, Any]]) -> pd.DataFrame:
        """One row per transformation: the in-sample bound, its rank, its regularisation."""
        energy = float(self._energy.compute()[0].sum()) or np.nan
        rows = [
            {
                "layer": layer,
                **about,
                "bound": found.bound / energy if found.determined else np.nan,
                "fit_ridge": found.in_sample / energy if found.determined else np.nan,
                "determined": found.determined,
                "rank": found.rank,
                "positions": found.positions,
                "samples": found.samples,
                "ridge": found.ridge,
                "pool": self.pool,
            }
            for about, found in zip(keys, self.bounds, strict=True)
        ]
        return pd.DataFrame(rows)

    def _pooled(self, maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, self.pool) if self.pool > 1 else maps

    def _rows(self, maps: Tensor) -> Tensor:
        pooled = self._pooled(maps)
        if self.weights is not None:
            pooled = pooled * self.weights.to(pooled)[:, None, None]
        return pooled.flatten(2)
