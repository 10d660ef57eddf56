"""How far maps move together with the originals' once their mean maps are taken away."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import GrowingRows, interval

Array = NDArray[np.float64]

OF_MOVED = ("rho", "low_rho", "high_rho", "mean_maps", "contrast", "decorrelation")
OF_ALIGNED = ("rho_input", "low_rho_input", "high_rho_input")


class CorrelationState:
    """Products of maps x (moved back, or of the aligned input) and the originals' y, per image.

    Maps count from the mean maps of the fit half, which these images had no part in; what the mean
    maps of the evaluation half differ from those is taken away at the end, evenly from all images.
    """

    SUMS: ClassVar[tuple[str, ...]] = ("_sums", "_own")
    ROWS: ClassVar[tuple[str, ...]] = ("_products",)

    def __init__(self, transforms: int) -> None:
        self.transforms = transforms
        self._sums, self._own = torch.zeros(0), torch.zeros(0)  # by cell: Σ x of each kind, Σ y
        self._products = GrowingRows()  # (images, transforms, kinds, 4): x², xy, y², (x − y)²
        self._y = torch.zeros(0)  # of the batch begun

    def start_batch(self, original: Tensor, mean: Tensor) -> None:
        """Begin a batch; `mean` (C, rows, columns) is the originals' mean map on the fit half."""
        self._y = original.double() - mean.to(original)
        shape = (len(original), self.transforms, 2, 4)
        self._products.append(self._y.new_zeros(shape))
        if not self._own.numel():
            self._own = torch.zeros_like(self._y[0])
            self._sums = self._y.new_zeros((self.transforms, 2, *self._own.shape))
        self._own += self._y.sum(0)

    def add(self, which: int, kind: int, maps: Tensor, mean: Tensor, original: Tensor) -> None:
        """Maps of the batch under transformation number `which`, and their mean on the fit half."""
        x, y = maps.double() - mean.to(maps), self._y
        self._sums[which, kind] += x.sum(0)
        row = self._products.last(len(maps))[:, which, kind]
        for place, (one, other) in enumerate(((x, x), (x, y), (y, y))):
            row[:, place] = (one * other).sum((1, 2, 3))
        row[:, 3] = (maps - original).double().square().sum((1, 2, 3))

    def table(self, variance: float, level: float) -> list[dict[str, float]]:
        """A row per transformation: correlations with their intervals, and parts of `inverse`.

        With k the ratio of the standard deviations of x and y about their mean maps, U the part of
        y's variance about its mean map and ρ their correlation, inverse = `mean_maps` + `contrast`
        U(k − 1)² + `decorrelation` 2Uk(1 − ρ), exactly.
        """
        products = self._centred()
        values = correlation(products.sum(-1, keepdims=True))[..., 0]
        ends = interval(lambda sums, _: correlation(sums), products, np.ones(products.shape[-1]),
                        level=level)  # fmt: skip
        low, high = (np.clip(end, -1, 1) for end in ends)
        rows = []
        for which, (xx, xy, yy, apart) in enumerate(products[:, 0].sum(-1).tolist()):
            root = float(np.sqrt(max(xx, 0.0) * max(yy, 0.0)))
            parts = (max(apart - xx - yy + 2 * xy, 0.0), xx + yy - 2 * root, 2 * (root - xy))
            moved, aligned = ([of[which, kind] for of in (values, low, high)] for kind in (0, 1))
            told = [*moved, *(part / variance for part in parts)]
            rows.append(dict(zip((*OF_MOVED, *OF_ALIGNED), map(float, [*told, *aligned]),
                                 strict=True)))  # fmt: skip
        return rows

    def _centred(self) -> Array:
        """Products about the mean maps of these images, (transforms, kinds, 4, images)."""
        products = self._products.all().permute(1, 2, 3, 0)
        number = products.shape[-1]
        x, y = self._sums / number, (self._own / number).expand_as(self._sums)
        over = [(one * other).sum((2, 3, 4)) for one, other in ((x, x), (x, y), (y, y))]
        taken = torch.stack([*over, torch.zeros_like(over[0])], dim=-1)
        return np.asarray((products - taken[..., None]).cpu())


def correlation(sums: Array) -> Array:
    """Σ xy/√(Σ x² Σ y²) of sums (..., 3 or more, R); NaN where a map is its mean map.

    >>> correlation(np.array([[4.0], [1.0], [1.0]])).tolist()
    [0.5]
    """
    xx, xy, yy = (sums[..., place, :] for place in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((xx > 0) & (yy > 0), xy / np.sqrt(np.clip(xx * yy, 0, None)), np.nan)


def unknown() -> dict[str, float]:
    """The row of a layer of which nothing is known."""
    return dict.fromkeys((*OF_MOVED, *OF_ALIGNED), float("nan"))
