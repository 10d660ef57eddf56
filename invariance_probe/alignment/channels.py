"""Channel maps between aligned features: permutation, orthogonal, linear, all from C x C moments.

On maps aligned by h⁻¹, with X the aligned features of the transformed images and Y those of the
originals (C x samples, a sample being a compared cell of an image), every linear channel map M has
‖MX − Y‖² = tr M S_XX Mᵀ − 2 tr M S_XY + tr S_YY. The moments add over batches and machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..errors import ProbeError

Array = NDArray[np.float64]


class ChannelMoments:
    """Streaming C x C moments of aligned and original maps over the compared cells.

    `cells` (rows, columns) is 1 where maps are compared. `weights` (C) multiplies channels first.
    `chance` also pairs every original with the image before it: the null of the permutation.
    """

    def __init__(
        self, cells: Tensor, weights: Tensor | None = None, *, chance: bool = True
    ) -> None:
        self.cells, self.weights, self._paired = cells, weights, chance
        self.samples = self.images = 0
        self.auto = torch.zeros(0)  # (C, C): Σ x xᵀ
        self.cross = torch.zeros(0)  # (C, C): Σ y xᵀ, rows of the original
        self.target = torch.zeros(0)  # (C): Σ y²
        self.chance = torch.zeros(0)  # (C, C): Σ y xᵀ with x of the image before
        self.sums = torch.zeros(0)  # (2, C): Σ x and Σ y
        self._previous: Tensor | None = None

    def update(self, aligned: Tensor, original: Tensor) -> None:
        """Add maps (N, C, rows, columns) aligned by h⁻¹, and of the originals."""
        if aligned.shape != original.shape or aligned.shape[-2:] != self.cells.shape:
            raise ProbeError(
                f"maps of shape {tuple(aligned.shape)} and {tuple(original.shape)} do not belong "
                f"to {tuple(self.cells.shape)} cells; both must be (N, C, rows, columns) of it"
            )
        x, y = (self._chosen(maps) for maps in (aligned, original))
        self._add("auto", _products(x, x))
        self._add("cross", _products(y, x))
        self._add("target", y.square().sum(dim=(0, 2), dtype=torch.float64))
        self._add("sums", torch.stack([m.sum(dim=(0, 2), dtype=torch.float64) for m in (x, y)]))
        if self._paired:
            before = x[:-1] if self._previous is None else torch.cat([self._previous, x[:-1]])
            self._previous = x[-1:].clone()
            self._add("chance", _products(y[len(y) - len(before) :], before))
        self.images += len(x)
        self.samples += len(x) * x.shape[2]

    def __add__(self, other: ChannelMoments) -> ChannelMoments:
        """Moments of both sets of images."""
        if not torch.equal(self.cells, other.cells):
            raise ProbeError("channel moments of different cells do not add")
        if 0 in (self.images, other.images):
            return self if self.images else other
        total = ChannelMoments(self.cells, self.weights, chance=self._paired)
        for name in ("auto", "cross", "target", "chance", "sums"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        total.images, total.samples = self.images + other.images, self.samples + other.samples
        return total

    def error(self, channel_map: Array) -> float:
        """‖MX − Y‖² of a linear channel map (C, C), from the moments alone."""
        m = torch.from_numpy(channel_map).to(self.auto)
        own = ((m @ self.auto) * m).sum() - 2 * (m * self.cross).sum()
        return float(own + self.target.sum())

    def _add(self, name: str, value: Tensor) -> None:
        old: Tensor = getattr(self, name)
        setattr(self, name, old.add_(value) if old.numel() else value)

    def _chosen(self, maps: Tensor) -> Tensor:
        chosen = maps.flatten(2)[:, :, self.cells.flatten() > 0]
        return chosen if self.weights is None else chosen * self.weights.to(maps)[:, None]


@dataclass(frozen=True)
class ChannelMaps:
    """Channel maps that minimise the raw residual of aligned maps on the fit half.

    `permutation[c]` is the aligned channel that stands in for original channel c. `orthogonal` and
    `linear` are (C, C), acting on aligned features. `determined` is False when there are too few
    samples for C channels; then the maps would flatter, and no number should be reported.
    `errors` are in-sample sums of squares of "inverse" (no channel map) and of each map.
    `moved` is the share of the original's variance in channels whose stand-in is another channel,
    `moved_by_chance` the same for a permutation fitted to unrelated images; `diagonal` is the
    share of the linear map's squared entries on its diagonal. `correlation` (C, C) is between
    original (rows) and aligned (columns) channels; 0 where a channel never varies.
    """

    permutation: NDArray[np.int64]
    orthogonal: Array
    linear: Array
    determined: bool
    samples: int
    errors: dict[str, float]
    moved: float
    moved_by_chance: float
    diagonal: float
    correlation: Array


def fit_channel_maps(moments: ChannelMoments, *, ridge: float | None = None) -> ChannelMaps:
    """Best permutation (Hungarian), orthogonal map (Procrustes) and linear map from the moments.

    The linear map is ridge regression about the orthogonal one, so that in-sample inverse ≥
    permutation ≥ orthogonal ≥ linear, whatever the `ridge`: a fraction of the mean channel energy,
    by default channels / samples, so that what few samples cannot decide stays orthogonal.
    Raises ProbeError when no images were seen.
    """
    if moments.images == 0:
        raise ProbeError("no images were seen; update the channel moments first")
    auto, cross, target = (
        np.asarray(m.double().cpu()) for m in (moments.auto, moments.cross, moments.target)
    )
    channels = len(auto)
    permutation = _assign(auto, cross, target)
    left, _, right = np.linalg.svd(cross)
    orthogonal = left @ right
    share = channels / moments.samples if ridge is None else ridge
    weight = share * np.trace(auto) / channels
    if weight > 0:
        system = auto + weight * np.eye(channels)
        linear = np.linalg.solve(system, (cross + weight * orthogonal).T).T
    else:
        linear = orthogonal
    eye = np.eye(channels)
    maps = {
        "inverse": eye,
        "inverse_permuted": eye[permutation],
        "inverse_orthogonal": orthogonal,
        "inverse_linear": linear,
    }
    errors = {name: moments.error(m) for name, m in maps.items()}
    variance, correlation = _statistics(moments)
    chance = np.asarray(moments.chance.double().cpu())
    by_chance = _assign(auto, chance, target) if chance.size else permutation
    squares = float(np.sum(linear**2))
    return ChannelMaps(
        permutation=permutation,
        orthogonal=orthogonal,
        linear=linear,
        determined=moments.samples > channels and moments.images > 1,
        samples=moments.samples,
        errors=errors,
        moved=_share(variance, permutation),
        moved_by_chance=_share(variance, by_chance),
        diagonal=float(np.sum(np.diag(linear) ** 2) / squares) if squares > 0 else float("nan"),
        correlation=correlation,
    )


def _assign(auto: Array, cross: Array, target: Array) -> NDArray[np.int64]:
    """The one-to-one choice of aligned channels with the least squared error."""
    cost = target[:, None] + np.diag(auto)[None, :] - 2 * cross
    return np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64)


def _share(variance: Array, permutation: NDArray[np.int64]) -> float:
    moved = permutation != np.arange(len(permutation))
    total = float(variance.sum())
    return float(variance[moved].sum() / total) if total > 0 else float("nan")


def _statistics(moments: ChannelMoments) -> tuple[Array, Array]:
    """Variance (C) of the originals, correlation (C, C) of originals with aligned channels."""
    auto, cross, target = (
        np.asarray(m.double().cpu()) / moments.samples
        for m in (moments.auto, moments.cross, moments.target)
    )
    mean_x, mean_y = np.asarray(moments.sums.cpu()) / moments.samples
    var_x = np.clip(np.diag(auto) - mean_x**2, 0, None)
    var_y = np.clip(target - mean_y**2, 0, None)
    scale = np.sqrt(np.outer(var_y, var_x))
    covariance = cross - np.outer(mean_y, mean_x)
    alive = scale > 1e-12 * max(float(scale.max()), 1e-300)
    correlation = np.divide(covariance, scale, out=np.zeros_like(scale), where=alive)
    return var_y, np.clip(correlation, -1, 1)


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Σ over images and cells of a bᵀ, (C, C); in float64, so that batches leave no trace."""
    rows_a, rows_b = (m.transpose(0, 1).flatten(1).double() for m in (a, b))
    return rows_a @ rows_b.T
