"""Normalised variance: how much activations vary with the transformation, and how with the image.

Source: Quiroga, transformational measures (CLEI Electronic Journal 24(1), 2021; arXiv 2310.17404).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ProbeError

Array = NDArray[np.float64]
Aggregation = Literal["mean", "sum", "max"]

AGGREGATIONS: tuple[Aggregation | None, ...] = (None, "mean", "sum", "max")

_ROUNDING = 4 * float(np.finfo(np.float64).eps)


class VariabilitySums:
    """Streaming TV = mean over images of std over transformations, SV = the other way round.

    `transforms` counts the transformations t, the original among them; `pivot` (C) is a value near
    each channel's activations, about which sums are taken in float64. A batch is given as

        start(original); add(0, values of t₀); add(1, values of t₁) ...; end()

    with values (N, C, U) of U units a channel. Memory is 2·T·C·U numbers, whatever the number of
    images. States about the same pivot add: (a + b) is the state of the images of both.

    Deviations here are roots of unbiased variances (n − 1). The root of few values is still small:
    for independent normal activations and many images TV/SV is 0.80, 0.89, 0.92 for 2, 3, 4
    transformations, and goes to 1.
    """

    def __init__(self, transforms: int, pivot: Tensor) -> None:
        if transforms < 2:
            raise ProbeError(f"a variance over {transforms} transformation is none; give 2 or more")
        self.transforms, self.pivot, self.images = transforms, pivot.double(), 0
        self.deviations = torch.zeros(0)  # (C, U): Σ over images of the std over transformations
        self.sums = torch.zeros(0)  # (2, T, C, U): Σ and Σ² over images, about the pivot
        self._original = self._own = torch.zeros(0)

    def start(self, original: Tensor) -> None:
        """Begin a batch: the original's values (N, C, U)."""
        self._original = original.double()
        self._own = torch.zeros((2, *original.shape), dtype=torch.float64, device=original.device)
        if not self.sums.numel():
            shape = original.shape[1:]
            self.deviations = self._own.new_zeros(shape)
            self.sums = self._own.new_zeros((2, self.transforms, *shape))

    def add(self, which: int, values: Tensor) -> None:
        """The batch's values (N, C, U) under transformation number `which`."""
        wide = values.double()
        _add_powers(self._own, wide - self._original)
        from_pivot = wide - self.pivot[:, None]
        _add_powers(self.sums[:, which], from_pivot, over_images=True)

    def end(self) -> None:
        """Close the batch; every transformation has been added once."""
        self.deviations += _deviation(self._own, self.transforms).sum(0)
        self.images += len(self._original)
        self._original = self._own = torch.zeros(0)

    def __add__(self, other: VariabilitySums) -> VariabilitySums:
        """The state of the images of both."""
        if self.transforms != other.transforms or not torch.equal(self.pivot, other.pivot):
            raise ProbeError("variances of other transformations or about other pivots do not add")
        if 0 in (self.images, other.images):
            return self if self.images else other
        total = VariabilitySums(self.transforms, self.pivot)
        total.images = self.images + other.images
        total.deviations = self.deviations + other.deviations
        total.sums = self.sums + other.sums
        return total

    def compute(self) -> tuple[Array, Array]:
        """TV and SV of every unit, (C, U) each. Raises ProbeError for fewer than two images."""
        if self.images < 2:
            raise ProbeError(f"a variance over {self.images} image is none; give 2 or more")
        tv = self.deviations / self.images
        sv = _deviation(self.sums, self.images).mean(0)
        return np.asarray(tv.cpu()), np.asarray(sv.cpu())


def normalised_variance(tv: Array, sv: Array, aggregation: Aggregation | None = None) -> Array:
    """TV/SV of every unit: 0 invariant, about 1 as variable over transformations as over images.

    `tv` and `sv` are (C, U) standard deviations; 0/0 is 1 and v/0 is infinite, as the source
    defines it. With `aggregation` ("mean", "sum", "max") both are first aggregated over the units
    of a channel, and the result is (C). The same quotient of activations whose maps were moved
    back by h⁻¹ is the same-equivariance of the source (NVSE).

    Source: Quiroga et al., arXiv 2310.17404. Raises ProbeError for an unknown aggregation.

    >>> normalised_variance(np.array([[0.0, 1.0, 0.0, 2.0]]), np.array([[2.0, 2.0, 0.0, 0.0]]))
    array([[0. , 0.5, 1. , inf]])
    """
    if aggregation not in AGGREGATIONS:
        known = ", ".join(map(repr, AGGREGATIONS))
        raise ProbeError(f"aggregation={aggregation!r} is not known; use one of {known}")
    if aggregation is not None:
        tv, sv = (getattr(np, aggregation)(part, axis=-1) for part in (tv, sv))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((tv == 0) & (sv == 0), 1.0, tv / sv)


def summarised(values: Array) -> tuple[float, float]:
    """Mean over the units with a finite value (NaN if none), and the share that is infinite.

    The source averages over all units; a single unit that answers to the transformation only
    would make that infinite.
    """
    finite = np.isfinite(values)
    mean = float(values[finite].mean()) if finite.any() else float("nan")
    return mean, float(1 - finite.mean())


def _add_powers(sums: Tensor, values: Tensor, over_images: bool = False) -> None:
    for power, place in ((values, sums[0]), (values.square(), sums[1])):
        place += power.sum(0) if over_images else power


def _deviation(sums: Tensor, number: int) -> Tensor:
    """Sample deviation from Σ and Σ² over `number` values; what rounding may leave counts as 0."""
    first, second = sums
    spread = second - first.square() / number
    spread = torch.where(spread <= _ROUNDING * number * second, 0.0, spread)
    return (spread / (number - 1)).sqrt()
