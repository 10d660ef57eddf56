"""A certificate: the best of all linear operators on positions, shared by every channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError

RIDGE = 1e-6  # of the mean position energy
_RANK = 1e-12  # eigenvalues below this fraction of the largest count as none


class PositionMoments:
    """Streaming K_AA (P, P), K_BA (V, P) and ‖B‖² of maps with P cells, compared at V of them.

    No pivot is subtracted: the operators searched need not keep constants.
    """

    def __init__(self, cells: Tensor, weights: Tensor | None = None) -> None:
        self.cells, self.weights = cells.flatten() > 0, weights
        self.samples = 0
        self.auto, self.cross, self.target = (torch.zeros(0) for _ in range(3))

    def update(self, moved: Tensor, original: Tensor) -> None:
        """Add maps (N, C, rows, columns) of the transformed and the original images."""
        if moved.shape != original.shape or moved[0, 0].numel() != len(self.cells):
            raise ProbeError(
                f"maps of shape {tuple(moved.shape)} and {tuple(original.shape)} do not have "
                f"{len(self.cells)} cells each"
            )
        a, b = (self._rows(maps) for maps in (moved, original))
        b = b[:, self.cells]
        square = b.square().sum(0, dtype=torch.float64)
        for name, value in (("auto", a.T @ a), ("cross", b.T @ a), ("target", square)):
            old: Tensor = getattr(self, name)
            setattr(self, name, old.add_(value) if old.numel() else value.double())
        self.samples += len(a)

    def __add__(self, other: PositionMoments) -> PositionMoments:
        """Moments of both sets of images."""
        if not torch.equal(self.cells, other.cells):
            raise ProbeError("position moments of different cells do not add")
        if 0 in (self.samples, other.samples):
            return self if self.samples else other
        total = PositionMoments(self.cells, self.weights)
        for name in ("auto", "cross", "target"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        total.samples = self.samples + other.samples
        return total

    def _rows(self, maps: Tensor) -> Tensor:
        weighted = maps if self.weights is None else maps * self.weights.to(maps)[:, None, None]
        # float64: the inverse below would amplify the rounding of a float32 product.
        return weighted.flatten(2).flatten(0, 1).double()


@dataclass(frozen=True)
class SpatialBound:
    """The best linear operator on positions and what it leaves.

    `bound` is the exact in-sample minimum of the squared error over all operators: no sampler,
    kernel or warp of these maps goes below it. `operator` (V, P) is the ridge solution, which is
    what is tried on held-out images; `in_sample` is its error there. `rank` counts the directions
    of K_AA above 1e-12 of its largest eigenvalue. `determined` is False when there are no more
    samples (images x channels) than positions: the bound is then 0 by construction and says
    nothing.
    """

    bound: float
    in_sample: float
    operator: Tensor
    rank: int
    positions: int
    samples: int
    ridge: float
    determined: bool


def spatial_bound(moments: PositionMoments, *, ridge: float = RIDGE) -> SpatialBound:
    """Minimise ‖WA − B‖² over all operators W on positions, in closed form.

    `ridge` is a fraction of the mean position energy, used for `operator` only; the bound itself
    is unregularised, from the spectrum of K_AA. Raises ProbeError when nothing was accumulated.
    """
    if moments.samples == 0:
        raise ProbeError("no images were seen; update the position moments first")
    auto = moments.auto.double()
    values, vectors = torch.linalg.eigh((auto + auto.T) / 2)
    values = values.clamp(min=0)
    top = float(values[-1])
    kept = values > _RANK * top
    projected = moments.cross.double() @ vectors  # (V, P) in the eigenbasis
    total = float(moments.target.sum())
    inverse = torch.where(kept, 1 / values.clamp(min=1e-300), 0.0)
    bound = total - float((projected.square() * inverse).sum())
    weight = ridge * float(values.mean())
    damped = torch.where(kept, 1 / (values + weight).clamp(min=1e-300), 0.0)
    operator = (projected * damped) @ vectors.T
    in_sample = (
        total
        - 2 * float((projected.square() * damped).sum())
        + float((projected.square() * damped.square() * values).sum())
    )
    return SpatialBound(
        bound=float(np.clip(bound, 0.0, None)),
        in_sample=float(np.clip(in_sample, 0.0, None)),
        operator=operator,
        rank=int(kept.sum()),
        positions=len(values),
        samples=moments.samples,
        ridge=ridge,
        determined=moments.samples > len(values),
    )
