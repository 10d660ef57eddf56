"""Residuals: sums of squares per image, their ratio, and paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._limits import RESAMPLES, check_whole
from ..errors import ProbeError
from .growing import GrowingRows

Array = NDArray[np.float64]

_DEAD = 1e-12
_ENTRIES = 500_000  # counts held at a time: memory stays flat as images grow


def squared_errors(
    aligned: Tensor,
    original: Tensor,
    cells: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Σ over the compared cells and channels of (aligned − original)², one value (N) an image.

    Maps are (N, C, rows, columns), `cells` (rows, columns) is 1 where compared and 0 elsewhere
    (None compares all), `weights` (C) multiplies channels. One channel of an image is summed in
    the maps' precision (pairwise, to about 1e-7 in float32), all else in float64.
    """
    difference = aligned - original
    if cells is not None:
        difference.mul_(cells.to(original))
    if weights is not None:
        difference.mul_(weights.to(original)[:, None, None])
    return difference.square_().flatten(2).sum(2).sum(1, dtype=torch.float64)


def varying(energy: Any) -> Any:
    """Which channels vary but by rounding: those above 1e-12 of the largest energy (C)."""
    return energy > _DEAD * energy.max()


def channel_weights(variance: Tensor) -> Tensor:
    """1/σ of each channel (C); 0 for those that never vary."""
    return torch.where(varying(variance), variance.clamp(min=1e-300).rsqrt(), 0.0)


class Variance:
    """Streaming Σ ‖Γf − μ‖² per image, with μ the channel means over all images and cells.

    μ is known only at the end, so per-image channel sums are kept about a `pivot` (C).
    """

    SUMS: ClassVar[tuple[str, ...]] = ("_channel_squares",)
    ROWS: ClassVar[tuple[str, ...]] = ("_sums", "_squares")  # one row an image: these concatenate

    def __init__(self, pivot: Tensor, weights: Tensor | None = None) -> None:
        self.pivot, self.weights = pivot, weights
        self._sums, self._squares = GrowingRows(), GrowingRows()
        self._channel_squares = torch.zeros(len(pivot), dtype=torch.float64, device=pivot.device)
        self._cells = 0
        self._rounding = 0.0

    def update(self, original: Tensor, cells: Tensor) -> None:
        """Add a batch of maps (N, C, rows, columns), compared where `cells` is 1."""
        mask = cells.to(original)
        centred = (original - self.pivot.to(original)[:, None, None]).mul_(mask)
        if self.weights is not None:
            centred.mul_(self.weights.to(original)[:, None, None])
        self._cells = int(cells.sum())
        self._rounding = max(self._rounding, torch.finfo(original.dtype).eps)
        self._sums.append(centred.sum(dim=(2, 3), dtype=torch.float64))
        squares = centred.square_().sum(dim=(2, 3), dtype=torch.float64)  # once an image: exact
        self._squares.append(squares.sum(1))
        self._channel_squares += squares.sum(0)

    def compute(self) -> tuple[Array, Array]:
        """Variance sums (N) an image, and each channel's variance (C) over images and cells.

        What rounding alone may leave of constant maps counts as 0.
        """
        sums, squares = self._sums.all(), self._squares.all()
        number = len(sums) * self._cells
        shift = sums.sum(0) / number
        per_image = squares - 2 * sums @ shift + self._cells * shift.square().sum()
        channels = self._channel_squares / number - shift.square()
        channels[channels <= self._rounding * self._channel_squares / number] = 0.0
        if per_image.sum() <= self._rounding * squares.sum():
            per_image = torch.zeros_like(per_image)
        return np.asarray(per_image.cpu()), np.asarray(channels.cpu())


class PairDistances:
    """Streaming squared distances between the maps of different images, over all pairs.

    Each image has what it adds to the mean over the others: these sum to n times the mean over
    pairs, 2n/(n − 1)·Σ‖F − F̄‖², and are shared out by the distances from the mean map of images
    that are in no pair (`refer`). `cells` and `weights` as in `squared_errors`.
    """

    SUMS: ClassVar[tuple[str, ...]] = ("_referred", "_reference", "_sum")
    ROWS: ClassVar[tuple[str, ...]] = ("_squares",)

    def __init__(self, cells: Tensor | None = None, weights: Tensor | None = None) -> None:
        self.cells, self.weights = cells, weights
        self._referred = 0
        self._reference, self._sum = torch.zeros(0), torch.zeros(0)  # (C, rows, columns): Σ F
        self._squares = GrowingRows()

    def refer(self, maps: Tensor) -> None:
        """Add maps (N, C, rows, columns) to the mean from which distances are taken."""
        self._referred += len(maps)
        self._reference = _added(self._reference, maps)

    def update(self, maps: Tensor) -> None:
        """Add maps (N, C, rows, columns) of images that are compared with each other."""
        self._squares.append(self._from_reference(maps))
        self._sum = _added(self._sum, maps)

    def compute(self) -> Tensor:
        """What every image adds (N), for two or more of them."""
        squares = self._squares.all()
        number, total = len(squares), squares.sum()
        # Σ‖F − F̄‖² = Σ‖F − m‖² − n‖F̄ − m‖², whatever m is.
        apart = total - number * self._from_reference(self._sum[None] / number).sum()
        return squares * (2 * number / (number - 1) * apart.clamp(min=0) / total.clamp(min=1e-300))

    def _from_reference(self, maps: Tensor) -> Tensor:
        reference = (self._reference / self._referred).to(maps)
        return squared_errors(maps, reference, self.cells, self.weights)


def _added(total: Tensor, maps: Tensor) -> Tensor:
    own = maps.sum(0, dtype=torch.float64)
    return total + own if total.numel() else own


def ratio(errors: Array, variance: Array) -> Array:
    """Residual: Σ errors / Σ variance over the last axis (images); NaN where there is none."""
    total = variance.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, errors.sum(-1) / total, np.nan)


def bootstrap(
    statistic: Callable[[Array, Array], Array],
    errors: Array,
    variance: Array,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Percentile interval of a statistic of sums over resampled images.

    `errors` (..., N) and `variance` (N) are sums per image. Images are drawn with replacement;
    every entry of `errors` sees the same draws, so intervals are paired across transformations.
    `statistic` maps summed errors (..., R) and summed variance (R) to values (..., R). Channel
    means stay those of the full sample. Returns the lower and upper ends.

    Raises ProbeError for fewer than two images.
    """
    check_whole("resamples", resamples, 1, RESAMPLES)
    number = errors.shape[-1]
    if number < 2:
        raise ProbeError(f"a bootstrap interval needs at least 2 images, not {number}")
    generator = np.random.default_rng(seed)
    values = []
    for first in range(0, resamples, step := max(1, _ENTRIES // number)):
        counts = _draw(generator, min(step, resamples - first), number)
        values.append(statistic(errors @ counts.T, counts @ variance))
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(np.concatenate(values, axis=-1), [tail, 1 - tail], axis=-1)
    return low, high


def _draw(generator: np.random.Generator, resamples: int, number: int) -> Array:
    """How often each of `number` images is drawn in each resample, (resamples, number)."""
    picked = generator.integers(number, size=(resamples, number))
    offset = picked + number * np.arange(resamples)[:, None]
    counts = np.bincount(offset.ravel(), minlength=resamples * number)
    return counts.reshape(resamples, number).astype(np.float64)
