"""Images with known content for the probe's tests: random scenes, larger than the canvas."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from invariance_probe.data import ImageSet, array_images


def noise(number: int, source: int, canvas: int, *, channels: int = 1, seed: int = 0) -> ImageSet:
    """White noise in [0, 1]; real content beyond the canvas."""
    values = np.random.default_rng(seed).random((number, channels, source, source))
    return array_images(values.astype(np.float32), canvas, background="reflect")


def smooth(
    number: int, source: int, canvas: int, *, shortest: float = 12.0, seed: int = 0
) -> ImageSet:
    """Band-limited scenes: sums of plane waves no shorter than `shortest` pixels."""
    generator = np.random.default_rng(seed)
    axis = np.arange(source) - (source - 1) / 2
    x, y = np.meshgrid(axis, axis)
    images = np.zeros((number, 1, source, source))
    for image in images:
        for _ in range(30):
            wave = 2 * np.pi / generator.uniform(shortest, 2.5 * shortest)
            angle, phase = generator.uniform(0, 2 * np.pi, 2)
            image[0] += np.cos(wave * (np.cos(angle) * x + np.sin(angle) * y) + phase)
        image -= image.min()
        image /= image.max()
    return array_images(images.astype(np.float32), canvas, background="reflect")


def convolution(kernels: Tensor, **arguments: int) -> nn.Conv2d:
    """A convolution with these kernels (out, in, rows, columns) and no bias."""
    out, into, *size = kernels.shape
    layer = nn.Conv2d(into, out, tuple(size), bias=False, **arguments)
    layer.weight.data = kernels.clone()
    return layer.to(kernels.dtype)


def fourfold(kernels: Tensor) -> Tensor:
    """Kernels averaged over the four rotations by 90°."""
    return torch.stack([torch.rot90(kernels, k, (-2, -1)) for k in range(4)]).mean(0)


def gaussian_derivatives(sigma: float, radius: int) -> Tensor:
    """Lx and Ly: first derivatives of a Gaussian along x and y, (2, 1, size, size)."""
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gauss = torch.exp(-(axis**2) / (2 * sigma**2))
    slope = axis * gauss
    return torch.stack([torch.outer(gauss, slope), torch.outer(slope, gauss)])[:, None]
