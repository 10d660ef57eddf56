"""Channel maps between aligned features: permutation, orthogonal, linear, all from C x C moments.

On maps aligned by h⁻¹, with X the aligned features of the transformed images and Y those of the
originals (C x samples, a sample being a compared cell of an image), every linear channel map M has
‖MX − Y‖² = tr M S_XX Mᵀ − 2 tr M S_XY + tr S_YY. The moments add over batches and machines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from .residuals import varying
from .ridge import FOLDS, Centred, about_means, ridge_about

Array = NDArray[np.float64]

_DEAD = 1e-12  # of the largest energy or correlation: as good as none
_BATCH = 8_000_000  # map entries worked on at a time: 64 MB
_MANY = 1024  # channels: beyond, two folds, or four times C x C would be what a run has memory for


class ChannelMoments:
    """Streaming C x C moments of aligned and original maps over the compared cells.

    `cells` (rows, columns) is 1 where maps are compared. `weights` (C) multiplies channels first.
    `folds` parts of the images are kept apart, to choose a ridge by; two of more than 1,024
    channels. `chance` also sums maps by cell, from which follow the moments of all pairs of
    different images: the null of the permutation.
    """

    SUMS: ClassVar[tuple[str, ...]] = (
        "numbers",
        "autos",
        "crosses",
        "targets",
        "totals",
        "by_cell",
    )

    def __init__(
        self,
        cells: Tensor,
        weights: Tensor | None = None,
        *,
        folds: int = FOLDS,
        chance: bool = True,
    ) -> None:
        self.cells, self.weights, self.folds, self._paired = cells, weights, folds, chance
        # Nothing is held before the first image; then, by fold:
        self.numbers = torch.zeros(0)  # of images
        self.autos = torch.zeros(0)  # (C, C): Σ x xᵀ
        self.crosses = torch.zeros(0)  # (C, C): Σ y xᵀ, rows of the original
        self.targets = torch.zeros(0)  # (C): Σ y²
        self.totals = torch.zeros(0)  # (2, C): Σ x and Σ y
        self.by_cell = torch.zeros(0)  # (2, C, cells): Σ x and Σ y over all images
        inside = cells.flatten() > 0
        self._number = int(inside.sum())
        self._inside = None if bool(inside.all()) else inside

    @property
    def images(self) -> int:
        """How many images were seen."""
        return int(self.numbers.sum())

    @property
    def samples(self) -> int:
        """Compared cells of all images."""
        return self.images * self._number

    @property
    def auto(self) -> Tensor:
        """Σ x xᵀ (C, C)."""
        return self.autos.sum(0)

    @property
    def cross(self) -> Tensor:
        """Σ y xᵀ (C, C), rows of the original."""
        return self.crosses.sum(0)

    @property
    def target(self) -> Tensor:
        """Σ y² (C)."""
        return self.targets.sum(0)

    @property
    def sums(self) -> Tensor:
        """Σ x and Σ y (2, C)."""
        return self.totals.sum(0)

    def update(self, aligned: Tensor, original: Tensor, folds: Sequence[int] | None = None) -> None:
        """Add maps (N, C, rows, columns) aligned by h⁻¹, and of the originals.

        Each image belongs to its fold; by default, to the next in turn.
        """
        if aligned.shape != original.shape or aligned.shape[-2:] != self.cells.shape:
            raise ProbeError(
                f"maps of shape {tuple(aligned.shape)} and {tuple(original.shape)} do not belong "
                f"to {tuple(self.cells.shape)} cells; both must be (N, C, rows, columns) of it"
            )
        if not self.numbers.numel():
            self._allocate(aligned)
        if folds is None:
            folds = range(self.images, self.images + len(aligned))
        own = torch.tensor([fold % len(self.numbers) for fold in folds], device=aligned.device)
        step = max(1, _BATCH // max(1, aligned[:1].numel()))
        for fold in own.unique().tolist():
            chosen = own == fold
            whole = bool(chosen.all())
            x = aligned if whole else aligned[chosen]
            y = x if aligned is original else original if whole else original[chosen]
            for a, b in zip(x.split(step), y.split(step), strict=True):
                self._update(fold, a, a if x is y else b)

    def _allocate(self, maps: Tensor) -> None:
        c, folds = maps.shape[1], min(self.folds, 2) if maps.shape[1] > _MANY else self.folds
        shapes = {"numbers": (), "autos": (c, c), "crosses": (c, c), "targets": (c,),
                  "totals": (2, c)}  # fmt: skip
        for name, shape in shapes.items():
            setattr(self, name, maps.new_zeros((folds, *shape), dtype=torch.float64))
        if self._paired:
            self.by_cell = maps.new_zeros((2, c, self.cells.numel()), dtype=torch.float64)

    def _update(self, fold: int, aligned: Tensor, original: Tensor) -> None:
        same = aligned is original
        x = self._rows(aligned)  # (C, N, cells), so that products over images are one
        y = x if same else self._rows(original)
        flat_x, flat_y = x.flatten(1), y.flatten(1)
        own = flat_x @ flat_x.T
        self.autos[fold] += own
        self.crosses[fold] += own if same else flat_y @ flat_x.T
        self.targets[fold] += y.square().sum(dim=(1, 2))
        self.totals[fold] += torch.stack([x.sum(dim=(1, 2)), y.sum(dim=(1, 2))])
        self.numbers[fold] += x.shape[1]
        if self._paired:
            self.by_cell += torch.stack([x.sum(dim=1), y.sum(dim=1)])

    def by_chance(self) -> Tensor | None:
        """Σ y xᵀ (C, C) with x of another image, the mean over all of them; None for one image."""
        if self.images < 2 or not self.by_cell.numel():
            return None
        x, y = self.by_cell
        return (y @ x.T - self.cross) / (self.images - 1)

    def __add__(self, other: ChannelMoments) -> ChannelMoments:
        """Moments of both sets of images."""
        if not torch.equal(self.cells, other.cells):
            raise ProbeError("channel moments of different cells do not add")
        if 0 in (self.images, other.images):
            return self if self.images else other
        total = ChannelMoments(self.cells, self.weights, folds=self.folds, chance=self._paired)
        for name in self.SUMS:
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def error(self, channel_map: Array, offset: Array | None = None) -> float:
        """‖MX + t − Y‖² of a channel map (C, C) and an offset (C), from the moments alone."""
        m = torch.from_numpy(channel_map).to(self.auto)
        own = ((m @ self.auto) * m).sum() - 2 * (m * self.cross).sum() + self.target.sum()
        if offset is not None:
            t = torch.from_numpy(offset).to(self.auto)
            own = own + 2 * t @ (m @ self.sums[0] - self.sums[1]) + self.samples * t @ t
        return float(own)

    def splits(self) -> list[tuple[Centred, Centred]]:
        """Moments to fit to and to judge by, for each fold that can be left out."""
        filled = [fold for fold, number in enumerate(self.numbers.tolist()) if number]
        return [self._left_out(fold) for fold in filled] if len(filled) > 1 else []

    def _left_out(self, fold: int) -> tuple[Centred, Centred]:
        """Moments of the other folds and of this one, both about the means of the others."""
        rest = [other for other in range(len(self.numbers)) if other != fold]
        number = self.numbers[rest].sum() * self._number
        means = self.totals[rest].sum(0) / number
        return self._about(rest, means), self._about([fold], means)

    def _about(self, folds: Sequence[int], means: Tensor) -> Centred:
        number, sums = self.numbers[folds].sum() * self._number, self.totals[folds].sum(0)
        x, y = ((mean[:, None], sums[k][:, None]) for k, mean in enumerate(means))
        target = self.targets[folds].sum(0) - means[1] * (2 * sums[1] - number * means[1])
        return Centred(
            auto=about_means(self.autos[folds].sum(0), number, x, x).cpu(),
            cross=about_means(self.crosses[folds].sum(0), number, y, x).cpu(),
            target=target.cpu(),
        )

    def _rows(self, maps: Tensor) -> Tensor:
        """Weighted maps as (C, N, cells) in float64, so that batches leave no trace."""
        rows = maps.new_empty(
            (maps.shape[1], len(maps), self.cells.numel()), dtype=torch.float64
        ).copy_(maps.transpose(0, 1).flatten(2))
        if self._inside is not None:  # cells of 0 add nothing to any sum
            rows.mul_(self._inside.to(maps.device))
        return rows if self.weights is None else rows.mul_(self.weights.to(rows)[:, None, None])


@dataclass(frozen=True)
class ChannelMaps:
    """Channel maps that minimise the raw residual of aligned maps on the fit half.

    `permutation[c]` is the aligned channel that stands in for original channel c. `orthogonal` and
    `linear` are (C, C), acting on aligned features less their `means[0]` (C); the originals'
    `means[1]` are added (`offset` says both in one), so that constants in channels change nothing.
    `determined` is False when there are too few
    samples for C channels; then the maps would flatter, and no number should be reported.
    `errors` are in-sample sums of squares of "inverse" (no channel map) and of each map.
    `moved` is the share of the original's variance in channels whose stand-in is another channel,
    `moved_by_chance` the same for a permutation fitted to all pairs of different images;
    `diagonal` is the
    share of the linear map's squared entries between channels that ever respond that lie on its
    diagonal. `correlation` (C, C) is between
    original (rows) and aligned (columns) channels; 0 where a channel never varies. `by_chance` (C)
    is every original channel's greatest correlation with another channel over all those pairs.
    `ridge` is that of the linear map, a fraction of the mean channel variance.
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
    by_chance: Array
    means: Array
    ridge: float

    def offset(self, channel_map: Array) -> Array:
        """What is added to mapped features (C), so that means go to means."""
        return np.asarray(self.means[1] - channel_map @ self.means[0])


def fit_channel_maps(moments: ChannelMoments, *, ridge: float | None = None) -> ChannelMaps:
    """Best permutation (Hungarian), orthogonal map (Procrustes) and linear map from the moments.

    The orthogonal and the linear map have an intercept per channel: they are fitted to what is
    left without each channel's mean. The linear map is ridge regression about the orthogonal one,
    so that in-sample inverse ≥ permutation ≥ orthogonal ≥ linear, whatever the `ridge`: a fraction
    of the mean channel variance. By default it is the one of 1e-8 to 10 and infinity (the
    orthogonal map) with the least error on folds of the images that are left out of the fit.
    Raises ProbeError when no images were seen.
    """
    if moments.images == 0:
        raise ProbeError("no images were seen; update the channel moments first")
    auto, cross, target = (
        np.asarray(m.double().cpu()) for m in (moments.auto, moments.cross, moments.target)
    )
    channels = len(auto)
    means = np.asarray(moments.sums.double().cpu()) / moments.samples
    permutation = _assign(auto, cross, target)
    own, between = _centred(auto, cross, target, means, moments.samples)
    orthogonal = _procrustes(between)
    determined = moments.samples > channels and moments.images > 1
    splits = moments.splits() if determined and ridge is None else []
    weights, _, chosen = ridge_about(
        Centred(torch.from_numpy(own), torch.from_numpy(between), moments.target.cpu()),
        splits,
        torch.from_numpy(orthogonal),
        [torch.from_numpy(_procrustes(rest.cross.numpy())) for rest, _ in splits],
        None if ridge is None else (ridge,),
    )
    linear = weights.numpy()
    eye = np.eye(channels)
    errors = {
        "inverse": moments.error(eye),
        "inverse_permuted": moments.error(eye[permutation]),
        "inverse_orthogonal": moments.error(orthogonal, means[1] - orthogonal @ means[0]),
        "inverse_linear": moments.error(linear, means[1] - linear @ means[0]),
    }
    variance, correlation = _statistics(moments, between / moments.samples)
    chance = moments.by_chance()
    unrelated = None if chance is None else np.asarray(chance.double().cpu())
    by_chance = permutation if unrelated is None else _assign(auto, unrelated, target)
    alive = varying(np.diag(auto) + target)
    squares = float(np.sum(linear[np.ix_(alive, alive)] ** 2))
    return ChannelMaps(
        permutation=permutation,
        orthogonal=orthogonal,
        linear=linear,
        determined=determined,
        samples=moments.samples,
        errors=errors,
        moved=_share(variance, permutation),
        moved_by_chance=_share(variance, by_chance),
        diagonal=float(np.sum(np.diag(linear)[alive] ** 2) / squares) if squares > 0 else math.nan,
        correlation=correlation,
        by_chance=_best_by_chance(moments, unrelated),
        means=means,
        ridge=chosen,
    )


def _centred(
    auto: Array, cross: Array, target: Array, means: Array, samples: int
) -> tuple[Array, Array]:
    """Σ xxᵀ and Σ yxᵀ about the means; channels of which only rounding is left are 0."""
    own = auto - samples * np.outer(means[0], means[0])
    between = cross - samples * np.outer(means[1], means[0])
    still_x = np.diag(own) <= _DEAD * np.diag(auto)
    still_y = target - samples * means[1] ** 2 <= _DEAD * target
    own[still_x], own[:, still_x], between[:, still_x], between[still_y] = 0.0, 0.0, 0.0, 0.0
    return own, between


def _procrustes(cross: Array) -> Array:
    """The orthogonal map that fits best; where the samples decide nothing, the identity.

    Directions without any correlation (dead channels are such) may be turned at will: of all the
    maps that fit equally well this is the one nearest to the identity, not one of rounding's.
    """
    left, values, right = np.linalg.svd(cross)
    kept = values > _DEAD * values[0]
    free_left, free_right = left[:, ~kept], right[~kept]
    a, _, b = np.linalg.svd(free_left.T @ free_right.T)
    return np.asarray(left[:, kept] @ right[kept] + free_left @ (a @ b) @ free_right)


def _assign(auto: Array, cross: Array, target: Array) -> NDArray[np.int64]:
    """The one-to-one choice of aligned channels with the least squared error."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and reports need none of it

    cost = target[:, None] + np.diag(auto)[None, :] - 2 * cross
    return np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64)


def _share(variance: Array, permutation: NDArray[np.int64]) -> float:
    moved = permutation != np.arange(len(permutation))
    total = float(variance.sum())
    return float(variance[moved].sum() / total) if total > 0 else float("nan")


def strongest_other(correlation: Array) -> Array:
    """Greatest correlation of every original channel (row) with another one (C); NaN for one.

    >>> strongest_other(np.array([[0.9, 0.2], [-0.1, 0.3]])).tolist()
    [0.2, -0.1]
    """
    others = np.where(np.eye(len(correlation), dtype=bool), -np.inf, correlation).max(axis=1)
    return np.where(np.isfinite(others), others, np.nan)


def _best_by_chance(moments: ChannelMoments, chance: Array | None) -> Array:
    """Every original channel's greatest correlation with another one of other images (C)."""
    if chance is None:
        return np.full(len(moments.auto), np.nan)
    x, y = np.asarray(moments.sums.double().cpu()) / moments.samples
    return strongest_other(_statistics(moments, chance / moments.samples - np.outer(y, x))[1])


def _variance(squares: Array, mean: Array) -> Array:
    """Mean squares less squared means; 0 where only rounding is left."""
    found = squares - mean**2
    return np.where(found > _DEAD * squares, found, 0.0)


def _statistics(moments: ChannelMoments, covariance: Array) -> tuple[Array, Array]:
    """Variance (C) of the originals, and the correlation (C, C) that a covariance comes to."""
    auto, target = (
        np.asarray(m.double().cpu()) / moments.samples for m in (moments.auto, moments.target)
    )
    mean_x, mean_y = np.asarray(moments.sums.cpu()) / moments.samples
    var_x, var_y = _variance(np.diag(auto), mean_x), _variance(target, mean_y)
    scale = np.sqrt(np.outer(var_y, var_x))
    alive = varying(scale)
    correlation = np.divide(covariance, scale, out=np.zeros_like(scale), where=alive)
    return var_y, np.clip(correlation, -1, 1)
