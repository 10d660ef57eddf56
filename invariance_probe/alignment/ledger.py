"""The ledger: of which kind is what predicts a map, part by part, on held-out images.

With x the maps that are given (moved back by h⁻¹, say) and y the originals', four predictions of
y are nested: the mean map of each cell; that plus one factor per channel times x; plus any C x C
map of x at the cell; plus any map of x's leading components at the 8 cells around it. Both maps
count from their mean maps, as far as images left out confirm these. What each wins over the one
before, on held-out images, adds up with what is lost to the variance of y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ProbeError
from .residuals import squared_errors
from .ridge import FOLDS, Centred, about_means, gains_about, ridge_about

PARTS = ("position", "space", "channels", "neighbourhood")
"""What predicts a map, in the order of the ledger; what none of them predicts is lost."""

_CELLS = 100  # cells of an image from which maps are fitted: near ones tell the same twice
_LEADING = 16  # components of the neighbours; all channels where there are no more
_SAMPLES = 10  # for each number that predicts, or a part is not determined
_AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


class LedgerMoments:
    """Streaming sums of one kind of maps x and the originals' maps y, by fold of the images.

    `cells` (rows, columns) is 1 where maps are compared; elsewhere x counts as its mean map.
    Products are taken at a regular sub-grid of at most 100 cells, mean maps at all of them.
    `basis` (C, k) are the directions of x that are read at the 8 cells around (see `leading`).
    """

    SUMS: ClassVar[tuple[str, ...]] = ("images", "auto", "cross", "target", "given", "original")

    def __init__(self, cells: Tensor, basis: Tensor) -> None:
        self.cells = cells > 0
        self.basis = basis.to(cells.device).double()
        self.channels = len(basis)
        self.chosen = _sub_grid(self.cells)
        self._wide = False  # whether maps are float64
        # Nothing is held before the first image; then, by fold:
        self.images = torch.zeros(0)
        self.auto = torch.zeros(0)  # (width, width): Σ z zᵀ, z what predicts a cell
        self.cross = torch.zeros(0)  # (C, width): Σ y zᵀ
        self.target = torch.zeros(0)  # (C): Σ y²
        self.given = torch.zeros(0)  # (C, cells): Σ x
        self.original = torch.zeros(0)  # (C, cells): Σ y

    @property
    def width(self) -> int:
        """How many numbers predict one."""
        return self.channels + len(_AROUND) * self.basis.shape[1]

    def update(self, given: Tensor, original: Tensor, folds: Sequence[int]) -> None:
        """Add maps (N, C, rows, columns), 0 outside the cells, each image to its fold."""
        if given.shape != original.shape or tuple(given.shape[-2:]) != tuple(self.cells.shape):
            raise ProbeError(
                f"maps of shape {tuple(given.shape)} and {tuple(original.shape)} do not belong to "
                f"{tuple(self.cells.shape)} cells; both must be (N, C, rows, columns) of it"
            )
        if not self.images.numel():
            self._allocate()
        self._wide = given.dtype == torch.float64
        numbers = torch.tensor(folds, dtype=torch.int64)
        for fold in sorted(set(folds)):
            own = (numbers == fold).to(given.device)
            x, y = given[own].double(), original[own].double()
            z, target = self._columns(x), y.flatten(2)[..., self.chosen]
            rows, wanted = z.transpose(0, 1).flatten(1), target.transpose(0, 1).flatten(1)
            self.auto[fold] += rows @ rows.T
            self.cross[fold] += wanted @ rows.T
            self.target[fold] += wanted.square().sum(1)
            self.given[fold] += x.sum(0).flatten(1)
            self.original[fold] += y.sum(0).flatten(1)
            self.images[fold] += len(x)

    def _allocate(self) -> None:
        c, wide, number = self.channels, self.width, self.cells.numel()
        shapes = {"images": (), "auto": (wide, wide), "cross": (c, wide), "target": (c,),
                  "given": (c, number), "original": (c, number)}  # fmt: skip
        for name, shape in shapes.items():
            empty = torch.zeros((FOLDS, *shape), dtype=torch.float64, device=self.cells.device)
            setattr(self, name, empty)

    def _columns(self, maps: Tensor) -> Tensor:
        """What predicts the chosen cells, (..., width, chosen): channels at the cell come first."""
        columns = self.cells.shape[1] + 2
        chosen = (self.chosen // self.cells.shape[1] + 1) * columns
        chosen = chosen + self.chosen % self.cells.shape[1] + 1
        leading = F.pad(torch.einsum("ck,...chw->...khw", self.basis, maps), (1, 1, 1, 1))
        flat = leading.flatten(-2)
        around = [flat.index_select(-1, chosen + y * columns + x) for y, x in _AROUND]
        return torch.cat([maps.flatten(-2).index_select(-1, self.chosen), *around], dim=-2)

    def _about(self, folds: Sequence[int], means: tuple[Tensor, Tensor]) -> Centred:
        """Sums over some folds, about given mean maps (C, cells)."""
        own = list(folds)
        n = self.images[own].sum()
        shape = (self.channels, *self.cells.shape)
        x_mean, y_mean = means
        z_mean = self._columns(x_mean.reshape(shape))
        z_sum = self._columns(self.given[own].sum(0).reshape(shape))
        y_mean, y_sum = y_mean[:, self.chosen], self.original[own].sum(0)[:, self.chosen]
        return Centred(
            auto=about_means(self.auto[own].sum(0), n, (z_mean, z_sum), (z_mean, z_sum)),
            cross=about_means(self.cross[own].sum(0), n, (y_mean, y_sum), (z_mean, z_sum)),
            target=self.target[own].sum(0) - (y_mean * (2 * y_sum - n * y_mean)).sum(1),
        )

    def _held(self, folds: Sequence[int], weights: Sequence[Tensor | None]) -> float:
        """How much of the mean map of what a prediction leaves is there in images left out too.

        `weights` (C, width or less) predict without each of the folds, None not at all. The mean
        map of few images holds their noise: the factor, 0 to 1, is that on its departure from the
        means of its channels with which it predicts each fold best from the others.
        """
        won, size = 0.0, 0.0
        for fold, own in zip(folds, weights, strict=True):
            means = self._means([other for other in folds if other != fold])
            number = self.images[fold]
            middle = _about_channels(means[0], self.cells)
            left = _about_channels(means[1] - self._predicted(own, middle), self.cells)
            given = self.given[fold] - number * (means[0] - middle)
            out = self.original[fold] - self._predicted(own, given * self.cells.flatten())
            won += float((left * out).sum())
            size += float(number * left.square().sum())
        return min(max(won / size, 0.0), 1.0) if size > 0 else 1.0

    def _predicted(self, weights: Tensor | None, maps: Tensor) -> Tensor:
        """What weights predict from one map (C, cells)."""
        if weights is None:
            return torch.zeros_like(maps)
        given = maps.reshape(self.channels, *self.cells.shape)
        return _applied(_split(weights), self.basis, given[None])[0].flatten(1)

    def _means(self, folds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Mean maps (C, cells) of x and of y over some folds."""
        own = list(folds)
        n = self.images[own].sum()
        return self.given[own].sum(0) / n, self.original[own].sum(0) / n


@dataclass(frozen=True)
class Ledger:
    """Predictions of a layer's maps, from the mean map to the neighbourhood.

    `mean_given`, `mean_original` (C, rows, columns); `gain` (C); `channel_map` (C, C); `around`
    is a channel map together with a kernel (C, k, 3, 3) on the components `basis` (C, k). None
    where fewer than 10 samples (images x cells) for each number that predicts would decide.
    `ridges` are those that held-out folds chose, fractions of the mean variance; infinite where
    the part before predicts as well. `held` are, by part, how much (0 to 1) of the mean map of
    what is left predicts too; the rest of its departure from the channels' means is noise of few
    images.
    """

    mean_given: Tensor
    mean_original: Tensor
    gain: Tensor
    channel_map: Tensor | None
    around: tuple[Tensor, Tensor] | None
    basis: Tensor
    ridges: dict[str, float]
    held: dict[str, float]

    def errors(self, given: Tensor, original: Tensor, cells: Tensor) -> Tensor:
        """Σ over cells and channels of (prediction − original)², (N, 4): a column a part.

        `cells` (rows, columns) is 1 where maps are compared. NaN where a part is not determined.
        """
        mask = (cells > 0).to(given)
        x = given - self.mean_given.to(given) * mask
        y = original - self.mean_original.to(original) * mask
        lost = torch.full((len(given),), torch.nan, dtype=torch.float64, device=given.device)
        columns = [lost] * len(PARTS)
        for number, part in enumerate(PARTS):
            if part in self.held:
                predicted = self._part(part, x) - self._noise(part, mask)
                columns[number] = squared_errors(predicted, y, mask)
        return torch.stack(columns, dim=1)

    def _part(self, part: str, maps: Tensor) -> Tensor:
        """What a part predicts of y from x (N, C, rows, columns), both from their mean maps."""
        if part == "position":
            return torch.zeros_like(maps)
        if part == "space":
            return maps * self.gain.to(maps)[:, None, None]
        return _applied(self._weights[part], self.basis, maps)

    @property
    def _weights(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Channel map, and kernel where there is one, of the parts that have them."""
        weights: dict[str, tuple[Tensor, Tensor | None]] = {}
        if self.channel_map is not None:
            weights["channels"] = self.channel_map, None
        if self.around is not None:
            weights["neighbourhood"] = self.around
        return weights

    def _noise(self, part: str, mask: Tensor) -> Tensor:
        """What of the mean map of that which a part leaves does not predict (C, rows, columns)."""
        if self.held[part] == 1:
            return torch.zeros_like(mask)
        given, original = self.mean_given.to(mask), self.mean_original.to(mask)
        own = self._part(part, _about_channels(given, mask)[None])[0]
        return (1 - self.held[part]) * _about_channels(original - own, mask)


def leading(maps: Tensor) -> Tensor:
    """Directions (C, k) in which one image's map (C, rows, columns) varies most, at most 16.

    The neighbours of a cell are read along these alone: C x C maps of 8 neighbours have more
    numbers than a probe's images decide. All directions where there are no more than 16 channels.
    """
    channels = len(maps)
    if channels <= _LEADING:
        return torch.eye(channels, dtype=torch.float64, device=maps.device)
    rows = maps.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    return torch.linalg.eigh(rows @ rows.T).eigenvectors[:, -_LEADING:].contiguous()


def _about_channels(mean: Tensor, cells: Tensor) -> Tensor:
    """A mean map (C, ...) less the mean of each channel over the compared cells, 0 outside."""
    flat, inside = mean.flatten(1), cells.flatten().to(mean)
    about = (flat - (flat * inside).sum(1, keepdim=True) / inside.sum()) * inside
    return about.reshape(mean.shape)


def _split(weights: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weights (C, C or width) as a channel map and a kernel on the cells around."""
    channels = len(weights)
    around = weights[:, channels:]
    return weights[:, :channels], _as_kernel(around) if around.shape[1] else None


def _applied(weights: tuple[Tensor, Tensor | None], basis: Tensor, maps: Tensor) -> Tensor:
    """Maps (N, C, rows, columns) under a channel map, and a kernel on their components."""
    channel_map, kernel = weights
    predicted = _mapped(channel_map, maps)
    if kernel is None:
        return predicted
    return predicted + F.conv2d(_mapped(basis.T, maps), kernel.to(maps), padding=1)


def _mapped(channel_map: Tensor, maps: Tensor) -> Tensor:
    return F.conv2d(maps, channel_map.to(maps)[:, :, None, None])


def fit_ledger(moments: LedgerMoments) -> Ledger:
    """Fit the four nested predictions, each by ridge regression about the one before.

    Ridges are chosen from 1e-8 to 10 of the mean variance and infinity (nothing more than the part
    before) by the error on folds left out; mean maps are of the other folds then.

    From a single image nothing but its map is known: the gains are 0.
    Raises ProbeError where no images were seen.
    """
    filled = [fold for fold, number in enumerate(moments.images.tolist()) if number > 0]
    if not filled:
        raise ProbeError("no images were seen; update the ledger's moments first")
    splits = []
    for fold in filled if len(filled) > 1 else ():
        rest = [other for other in filled if other != fold]
        means = moments._means(rest)
        splits.append((moments._about(rest, means), moments._about([fold], means)))
    means = moments._means(filled)
    whole = moments._about(filled, means)
    c, shape = moments.channels, (moments.channels, *moments.cells.shape)
    samples = float(moments.images.sum()) * len(moments.chosen)
    ridges: dict[str, float] = {}

    gain, gains, ridges["space"] = gains_about(whole, splits, c)
    channel_map, around = None, None
    without: dict[str, Sequence[Tensor | None]] = {"position": [None] * len(splits)}
    without["space"] = [torch.diag(g) for g in gains]
    if samples >= _SAMPLES * c:
        before, befores = torch.diag(gain), [torch.diag(g) for g in gains]
        narrow = [(_first(one, c), _first(other, c)) for one, other in splits]
        channel_map, maps, ridges["channels"] = ridge_about(
            _first(whole, c), narrow, before, befores
        )
        without["channels"] = maps
        if samples >= _SAMPLES * moments.width:
            wide = moments.width
            before, befores = _widened(channel_map, wide), [_widened(m, wide) for m in maps]
            weights, each, ridges["neighbourhood"] = ridge_about(whole, splits, before, befores)
            around = weights[:, :c], _as_kernel(weights[:, c:])
            without["neighbourhood"] = each
    kept = torch.float64 if moments._wide else torch.float32
    given, original = (mean.to(kept).reshape(shape) for mean in means)
    seen = filled if len(splits) else []
    held = {part: moments._held(seen, weights) for part, weights in without.items()}
    return Ledger(given, original, gain, channel_map, around, moments.basis, ridges, held)


def _first(of: Centred, channels: int) -> Centred:
    """Sums of the channels at the cell alone."""
    return Centred(of.auto[:channels, :channels], of.cross[:, :channels], of.target)


def _widened(channel_map: Tensor, width: int) -> Tensor:
    """A channel map at the cell, as weights of all that predicts one; 0 for the neighbours."""
    return F.pad(channel_map, (0, width - len(channel_map)))


def _as_kernel(weights: Tensor) -> Tensor:
    """Weights of the neighbours (C, 8·k) as a kernel (C, k, 3, 3)."""
    parts = weights.unflatten(1, (len(_AROUND), -1))
    kernel = weights.new_zeros(len(weights), parts.shape[2], 3, 3)
    for number, (y, x) in enumerate(_AROUND):
        kernel[:, :, 1 + y, 1 + x] = parts[:, number]
    return kernel


def _sub_grid(cells: Tensor) -> Tensor:
    """Numbers of at most 100 cells, at every step-th row and column."""
    step = max(1, math.ceil(math.sqrt(int(cells.sum()) / _CELLS)))
    while True:
        kept = torch.zeros_like(cells)
        first = step // 2
        kept[first::step, first::step] = cells[first::step, first::step]
        chosen = kept.flatten().nonzero()[:, 0]
        if len(chosen) == 0:  # a window whose few cells lie between the lines
            return cells.flatten().nonzero()[:_CELLS, 0]
        if len(chosen) <= _CELLS:
            return chosen
        step += 1
