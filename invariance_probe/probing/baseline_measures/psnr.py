"""Equivariance as a peak signal-to-noise ratio, after EQ-T and EQ-R of generated images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def equivariance_psnr(errors: Array | float, samples: Array | float, peak: float) -> Array:
    """20 log₁₀ peak − 10 log₁₀ (Σ squared errors / number of samples), in dB.

    `errors` are sums over the masked samples of all images: one logarithm of the mean, as in the
    source. `peak` is the peak-to-peak range of the signal. Infinite without error, NaN for a
    signal without range.

    Source: Karras et al., "Alias-free generative adversarial networks" (arXiv 2106.12423), where
    the signal is an image in [−1, 1] and peak is 2.

    >>> equivariance_psnr(4.0, 400.0, 2.0).round(2).item()
    26.02
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.asarray(errors, dtype=np.float64) / samples
        ratio = np.log10(np.float64(peak) ** 2 / mean) if peak > 0 else np.full_like(mean, np.nan)
    return np.asarray(10 * ratio)
