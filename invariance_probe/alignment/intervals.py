"""Intervals of statistics of sums over images: Student's for ratios, Wilson's for proportions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError

Array = NDArray[np.float64]
Statistic = Callable[[Array, Array], Array]
"""Maps summed errors (..., R) and summed variance (R) to values (..., R)."""

_ENTRIES = 2_000_000  # values held at a time: memory stays flat as images grow


def pseudo_values(statistic: Statistic, errors: Array, variance: Array) -> Array:
    """n·θ − (n − 1)·θ₋ᵢ for every image i: what it adds to a statistic, shape (..., N).

    `errors` (..., N) and `variance` (N) are sums per image; θ₋ᵢ is the statistic of all images but
    one. The mean of pseudo-values is θ but for its bias, their deviation over √N its standard
    error; those of two statistics on the same images are paired. Source: Tukey 1958; Miller 1974.

    >>> pseudo_values(lambda e, v: e / v, np.array([1.0, 2.0, 6.0]), np.ones(3))
    array([1., 2., 6.])
    """
    number = _enough(errors)
    total, whole = errors.sum(-1, keepdims=True), variance.sum(keepdims=True)
    value = statistic(total, whole)
    rest = statistic(total - errors, whole - variance)
    return number * value - (number - 1) * rest


def interval(
    statistic: Statistic, errors: Array, variance: Array, *, level: float = 0.95
) -> tuple[Array, Array]:
    """Lower and upper ends θ ∓ t·s/√N, with s the deviation of the statistic's pseudo-values.

    t is Student's with N − 1 degrees of freedom. Arguments as `pseudo_values`; all entries see the
    same images, so intervals of differences are paired. Channel means stay those of all images.
    Ends are NaN where the statistic, or that of all images but one, is.

    Raises ProbeError for fewer than two images.
    """
    number = _enough(errors)
    total, whole = errors.sum(-1, keepdims=True), variance.sum(keepdims=True)
    value = statistic(total, whole)[..., 0]
    step = max(1, _ENTRIES // max(1, errors[..., 0].size))
    first, second = np.zeros_like(value), np.zeros_like(value)
    with np.errstate(invalid="ignore"):  # infinite values have no spread
        for start in range(0, number, step):
            part = slice(start, start + step)
            rest = statistic(total - errors[..., part], whole - variance[part]) - value[..., None]
            first, second = first + rest.sum(-1), second + np.square(rest).sum(-1)
        # The leave-one-out values lie within 1/N of θ: the difference of squares is stable.
        spread = np.clip(second - first**2 / number, 0, None) * (number - 1) / number
        half = students_t(number, level) * np.sqrt(spread)
        return value - half, value + half


def proportion_interval(values: Array, *, level: float = 0.95) -> tuple[Array, Array]:
    """Wilson's interval of mean proportions; `values` (..., N) lie in [0, 1], one an image.

    Where each is 0 or 1 these are n Bernoulli draws. Means over several transformations vary less;
    they count as the larger number of draws that would vary as much. Never without width, and
    never beyond 0 and 1. Source: Wilson 1927; Brown, Cai and DasGupta 2001.

    >>> low, high = proportion_interval(np.zeros(50))
    >>> float(low), round(float(high), 3)
    (0.0, 0.075)
    """
    number = _enough(values)
    share = values.mean(-1)
    spread = values.var(-1, ddof=1) / number
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.where(spread > 0, np.maximum(share * (1 - share) / spread, number), number)
    z = students_t(number, level)
    weight = z**2 / draws
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * np.sqrt(share * (1 - share) / draws + weight / (4 * draws))
    # Rounding must not leave the share itself outside.
    low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    return np.minimum(low, share), np.maximum(high, share)


def students_t(images: int, level: float) -> float:
    """Standard errors from the middle to the ends of an interval over so many images."""
    from scipy.special import stdtrit  # slow to import, and reading a result needs none of it

    return float(stdtrit(images - 1, (1 + level) / 2))


def _enough(values: Array) -> int:
    number = values.shape[-1]
    if number < 2:
        raise ProbeError(f"an interval needs at least 2 images, not {number}")
    return int(number)
