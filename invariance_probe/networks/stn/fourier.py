"""Convolutions of small maps with large kernels by the discrete Fourier transform, for training.

A 7x7 kernel over a map of 10x10 cells costs 784 products per pair of channels; in the frequency
domain it costs 208. On a map that small the transforms are matrix products too, so that forward
and backward pass take half the time of a direct convolution on a CPU. The result is that of the
convolution to rounding (2e-6 relative in float32).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Size = tuple[int, int]

# Beyond this many cells the transforms, which are not fast ones, cost more than they save.
LARGEST = 256
SMALLEST_KERNEL = 25
FEWEST_CHANNELS = 16


def fourier_conv2d(maps: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what conv2d without padding returns, computed through the Fourier transform.

    maps (N, C, H, W), weight (D, C, h, w), bias (D,); the result is (N, D, H-h+1, W-w+1) in
    channels-last layout. Differentiable once in all three.

    >>> from torch.nn import functional
    >>> maps, weight = torch.randn(2, 3, 8, 9), torch.randn(4, 3, 5, 3)
    >>> torch.allclose(fourier_conv2d(maps, weight), functional.conv2d(maps, weight), atol=1e-4)
    True
    """
    result: Tensor = _FourierConv.apply(maps, weight)
    return result if bias is None else result + bias[:, None, None]


def is_worthwhile(layer: nn.Module, size: Size) -> bool:
    """Whether a layer on a map of `size` trains faster through the Fourier transform (on a CPU)."""
    return (
        type(layer) is nn.Conv2d
        and tuple(layer.stride) == tuple(layer.dilation) == (1, 1)
        and layer.padding in ((0, 0), 0, "valid")
        and layer.groups == 1
        and min(layer.in_channels, layer.out_channels) >= FEWEST_CHANNELS
        and layer.kernel_size[0] * layer.kernel_size[1] >= SMALLEST_KERNEL
        and size[0] * size[1] <= LARGEST
        and all(kernel <= side for kernel, side in zip(layer.kernel_size, size, strict=True))
    )


class _FourierConv(torch.autograd.Function):
    """y = I (D x · M(E w)): real matrices D, E, I of the transforms, M one product per frequency.

    Real and imaginary parts stand side by side, so that all products are real.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor) -> Tensor:
        number, channels, *sides = maps.shape
        filters, _, *kernel = weight.shape
        size, window = (sides[0], sides[1]), (kernel[0], kernel[1])
        into, into_w, back = _on(_matrices(size, window), maps)
        slots = into.shape[0] // 2
        spectra = into @ maps.permute(0, 2, 3, 1).reshape(number, -1, channels)
        spectra = spectra.view(number, slots, 2 * channels).transpose(0, 1)
        taps = weight.permute(2, 3, 1, 0).reshape(-1, channels * filters)
        real, imaginary = (into_w @ taps).view(2, slots, channels, filters).unbind(0)
        # Correlation: the spectrum of the maps times the conjugate of the kernel's.
        top = torch.cat([real, -imaginary], 2)
        factors = torch.cat([top, torch.cat([imaginary, real], 2)], 1)
        product = torch.bmm(spectra, factors).transpose(0, 1)
        out = back @ product.reshape(number, 2 * slots, filters)
        ctx.save_for_backward(spectra, factors)
        ctx.sizes = (size, window)
        rows, columns = size[0] - window[0] + 1, size[1] - window[1] + 1
        return out.view(number, rows, columns, filters).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        spectra, factors = ctx.saved_tensors
        size, window = ctx.sizes
        into, into_w, back = _on(_matrices(size, window), spectra)
        (gradient,) = gradients
        number, filters = gradient.shape[:2]
        slots, channels = factors.shape[0], factors.shape[1] // 2
        flat = gradient.permute(0, 2, 3, 1).reshape(number, -1, filters)
        product = (back.mT.contiguous() @ flat).view(number, slots, 2 * filters).transpose(0, 1)
        d_maps = d_weight = None
        if ctx.needs_input_grad[0]:
            d_spectra = torch.bmm(product, factors.mT).transpose(0, 1)
            d_spectra = d_spectra.reshape(number, 2 * slots, channels)
            d_maps = (into.mT.contiguous() @ d_spectra).view(number, *size, channels)
            d_maps = d_maps.permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            blocks = torch.bmm(spectra.mT, product)
            upper, lower = blocks[:, :channels], blocks[:, channels:]
            real = upper[..., :filters] + lower[..., filters:]
            imaginary = lower[..., :filters] - upper[..., filters:]
            taps = into_w.mT @ torch.stack([real, imaginary]).view(2 * slots, -1)
            d_weight = taps.view(*window, channels, filters).permute(3, 2, 0, 1)
        return d_maps, d_weight


def _on(matrices: tuple[Tensor, ...], like: Tensor) -> tuple[Tensor, ...]:
    return tuple(matrix.to(like) for matrix in matrices)


@lru_cache(maxsize=32)
def _matrices(size: Size, window: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Transforms of maps (2S, HW) and kernels (2S, hw), and back to the valid cells (., 2S).

    S frequencies stand for all of a real map: the others are their conjugates.
    """
    kept: list[tuple[int, int, float]] = []
    seen: set[tuple[int, int]] = set()
    for k in range(size[0]):
        for m in range(size[1]):
            mirror = ((-k) % size[0], (-m) % size[1])
            if (k, m) not in seen:
                seen |= {(k, m), mirror}
                kept.append((k, m, 1.0 if mirror == (k, m) else 2.0))

    def phases(rows: int, columns: int) -> np.ndarray:
        y, x = (part.ravel() for part in np.mgrid[:rows, :columns])
        return np.array([2 * np.pi * (k * y / size[0] + m * x / size[1]) for k, m, _ in kept])

    own = phases(*size)
    into = np.stack([np.cos(own), -np.sin(own)], 1).reshape(-1, own.shape[1])
    kernel = phases(*window)
    into_w = np.concatenate([np.cos(kernel), -np.sin(kernel)])
    valid = phases(size[0] - window[0] + 1, size[1] - window[1] + 1)
    share = np.array([weight for *_, weight in kept])[:, None] / (size[0] * size[1])
    back = np.stack([np.cos(valid) * share, -np.sin(valid) * share], 1).reshape(-1, valid.shape[1])
    made = (into, into_w, np.ascontiguousarray(back.T))
    return torch.from_numpy(made[0]), torch.from_numpy(made[1]), torch.from_numpy(made[2])
