"""A certificate: the best of all linear operators on positions, shared by every channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError

_RANK = 1e-12  # eigenvalues below this fraction of the largest count as none


class PositionMoments:
    """Streaming K_AA (P, P), K_BA (V, P) and ‖B‖² of maps with P cells, compared at V of them.

    Sums are taken about a `pivot` (C), such as the channel means of one image, and moved to the
    means of all originals at the end.
    """

    SUMS: ClassVar[tuple[str, ...]] = (
        "samples", "images", "auto", "cross", "target", "moved", "original",
    )  # fmt: skip

    def __init__(
        self, cells: Tensor, weights: Tensor | None = None, pivot: Tensor | None = None
    ) -> None:
        self.cells, self.weights, self.pivot = cells.flatten() > 0, weights, pivot
        self.samples = self.images = 0
        self.auto, self.cross, self.target = (torch.zeros(0) for _ in range(3))
        self.moved, self.original = torch.zeros(0), torch.zeros(0)  # (C, P), (C, V): Σ over images

    def update(self, moved: Tensor, original: Tensor) -> None:
        """Add maps (N, C, rows, columns) of the transformed and the original images."""
        if moved.shape != original.shape or moved[0, 0].numel() != len(self.cells):
            raise ProbeError(
                f"maps of shape {tuple(moved.shape)} and {tuple(original.shape)} do not have "
                f"{len(self.cells)} cells each"
            )
        a, b = (self._rows(maps) for maps in (moved, original))
        b = b[:, self.cells]
        channels = moved.shape[1]
        values = {
            "auto": a.T @ a, "cross": b.T @ a, "target": b.square().sum(0),
            "moved": a.unflatten(0, (-1, channels)).sum(0),
            "original": b.unflatten(0, (-1, channels)).sum(0),
        }  # fmt: skip
        for name, value in values.items():
            old: Tensor = getattr(self, name)
            setattr(self, name, old.add_(value) if old.numel() else value)
        self.samples += len(a)
        self.images += len(moved)

    def about_means(self) -> tuple[Tensor, Tensor, float, Tensor]:
        """K_AA, K_BA and ‖B‖² about the originals' channel means, and these (C), weighted."""
        off = self.original.mean(1) / self.images  # of the means from the pivot
        a, b = off @ self.moved, off @ self.original
        square = self.images * off.square().sum()
        auto = self.auto - a[:, None] - a[None, :] + square
        cross = self.cross - b[:, None] - a[None, :] + square
        target = float(self.target.sum() - (2 * b - square).sum())
        return auto, cross, target, off + self._pivot(off)

    def __add__(self, other: PositionMoments) -> PositionMoments:
        """Moments of both sets of images."""
        if not torch.equal(self.cells, other.cells):
            raise ProbeError("position moments of different cells do not add")
        if 0 in (self.samples, other.samples):
            return self if self.samples else other
        total = PositionMoments(self.cells, self.weights, self.pivot)
        for name in self.SUMS:
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def _pivot(self, like: Tensor) -> Tensor:
        """The pivot (C), weighted."""
        if self.pivot is None:
            return torch.zeros_like(like)
        wide = self.pivot.to(like.device).double()
        return wide if self.weights is None else wide * self.weights.to(wide)

    def _rows(self, maps: Tensor) -> Tensor:
        # float64: the inverse below would amplify the rounding of a float32 product.
        wide = maps.flatten(2).double()
        if self.weights is not None:
            wide = wide * self.weights.to(wide)[:, None]
        if self.pivot is not None:
            wide = wide - self._pivot(wide)[:, None]
        return wide.flatten(0, 1)


@dataclass(frozen=True)
class SpatialBound:
    """The best linear operator on positions and what it leaves.

    Operators act on maps about the originals' channel means `centre` (C), so that constants in
    channels change nothing. `bound` is the exact in-sample minimum of the squared error over all
    of them: no sampler, kernel or warp of these maps that keeps constants goes below it.
    `operator` (V, P) is a regularised solution, which is what is tried on held-out images;
    `in_sample` is its error there, `ridge` its weight as a fraction of the mean position energy.
    `rank` counts the directions of K_AA above 1e-12 of its largest eigenvalue. `determined` is
    False when there are no more samples (images x channels) than positions: the bound is then 0
    by construction and says nothing.
    """

    bound: float
    in_sample: float
    operator: Tensor
    rank: int
    positions: int
    samples: int
    ridge: float
    determined: bool
    centre: Tensor


def spatial_bound(
    moments: PositionMoments, *, about: Tensor | None = None, ridge: float | None = None
) -> SpatialBound:
    """Minimise ‖WA − B‖² over all operators W on positions, in closed form.

    The bound itself is unregularised, from the factors of K_AA, or from its spectrum where it is
    near to singular. `operator` is ridge regression
    about the operator `about` (V, P), such as the warp by h⁻¹, or about 0; `ridge` is a fraction
    of the mean position energy, by default positions / samples, so that what few samples cannot
    decide stays as it was. Raises ProbeError when nothing was accumulated.
    """
    if moments.samples == 0:
        raise ProbeError("no images were seen; update the position moments first")
    auto, cross, total, centre = moments.about_means()
    auto = (auto + auto.T) / 2
    share = len(auto) / moments.samples if ridge is None else ridge
    weight = share * float(auto.diagonal().mean())
    pulled = cross if about is None else cross + weight * about.to(cross)
    solved = _by_factors(auto, cross, pulled, weight) or _by_spectrum(auto, cross, pulled, weight)
    explained, operator, rank = solved
    bound = total - explained
    in_sample = total - 2 * (operator * cross).sum() + ((operator @ auto) * operator).sum()
    return SpatialBound(
        bound=float(np.clip(bound, 0.0, None)),
        in_sample=float(np.clip(float(in_sample), 0.0, None)),
        operator=operator,
        rank=rank,
        positions=len(auto),
        samples=moments.samples,
        ridge=share,
        determined=moments.samples > len(auto),
        centre=centre,
    )


def _by_factors(
    auto: Tensor, cross: Tensor, pulled: Tensor, weight: float
) -> tuple[float, Tensor, int] | None:
    """tr K_BA K_AA⁻¹ K_AB, the ridge operator and the rank, if K_AA has full rank beyond doubt.

    1/tr K⁻¹ is at most the smallest eigenvalue, the largest row sum at least the largest one.
    """
    factor, failed = torch.linalg.cholesky_ex(auto)
    if int(failed):
        return None
    inverse = torch.linalg.solve_triangular(
        factor, torch.eye(len(auto), dtype=auto.dtype, device=auto.device), upper=False
    )
    largest = float(torch.linalg.matrix_norm(auto, torch.inf))
    if not float(inverse.square().sum()) * largest < 1 / _RANK:
        return None
    explained = float((inverse @ cross.T).square().sum())
    if weight > 0:
        factor = torch.linalg.cholesky(auto + weight * torch.eye(len(auto)).to(auto))
    return explained, torch.cholesky_solve(pulled.T, factor).T, len(auto)


def _by_spectrum(
    auto: Tensor, cross: Tensor, pulled: Tensor, weight: float
) -> tuple[float, Tensor, int]:
    """The same from the eigenvalues of K_AA, of which those below 1e-12 of the largest are 0."""
    values, vectors = torch.linalg.eigh(auto)
    values = values.clamp(min=0)
    kept = values > _RANK * float(values[-1])
    inverse = torch.where(kept, 1 / values.clamp(min=1e-300), 0.0)
    explained = float(((cross @ vectors).square() * inverse).sum())
    shift = weight if weight > 0 else 1e-300
    damped = torch.where(kept | (weight > 0), 1 / (values + shift), 0.0)
    return explained, ((pulled @ vectors) * damped) @ vectors.T, int(kept.sum())
