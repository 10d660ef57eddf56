"""Faster training of convolutions on a CPU, with the same result to rounding.

Two cases that matter for spatial transformers on small images: large kernels on small maps, and
the gradient with respect to an image of one or three channels, which a transformer on the input
needs and which the library's own routine computes about ten times slower than a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .fourier import fourier_conv2d, is_worthwhile

# With more channels the library's own gradient of the input is the faster one.
FEW_CHANNELS = 4
_CACHED = 2**20  # values of windows held at a time


def few_channel_conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
) -> Tensor:
    """Return what conv2d returns, with a gradient made for images of few channels.

    images (N, C, H, W), weight (D, C, h, w), bias (D,) or None. Differentiable once.
    """
    result: Tensor = _FewChannels.apply(images, weight, bias, stride, padding, dilation)
    return result


@contextmanager
def fast_convolutions(network: nn.Module) -> Iterator[None]:
    """Train a network's convolutions by whichever way is fastest on the CPU.

    Only on the CPU and only where a gradient is asked for; the network is as before afterwards.
    """
    changed = []
    for module in network.modules():
        if type(module) is nn.Conv2d and "forward" not in vars(module):
            module.forward = _chosen(module)  # type: ignore[method-assign]
            changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _chosen(layer: nn.Conv2d) -> Any:
    direct = layer.forward

    def forward(maps: Tensor) -> Tensor:
        if torch.is_grad_enabled() and maps.device.type == "cpu" and maps.ndim == 4:
            if is_worthwhile(layer, (maps.shape[-2], maps.shape[-1])):
                return fourier_conv2d(maps, layer.weight, layer.bias)
            if maps.requires_grad and _few(layer):
                return few_channel_conv2d(
                    maps, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation
                )
        return direct(maps)

    return forward


def _few(layer: nn.Conv2d) -> bool:
    return (
        layer.in_channels <= FEW_CHANNELS
        and layer.groups == 1
        and isinstance(layer.padding, tuple)
        and layer.padding_mode == "zeros"
    )


class _FewChannels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Any,
        dilation: Sequence[int],
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.geometry = (stride, padding, dilation, bias is not None)
        return functional.conv2d(images, weight, bias, stride, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        stride, padding, dilation, biased = ctx.geometry
        (gradient,) = gradients
        d_images = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            # What each output cell gives to the window it was read from, then windows added up;
            # some images at a time, so that their windows stay in the processor's cache.
            to_windows = weight.reshape(len(weight), -1).mT.contiguous()
            cells = gradient.shape[-2] * gradient.shape[-1]
            some = max(1, _CACHED // (len(to_windows) * max(1, cells)))
            parts = [
                functional.fold(
                    to_windows @ part.contiguous().flatten(2),
                    images.shape[-2:], weight.shape[-2:], dilation, padding, stride,
                )
                for part in gradient.split(some)
            ]  # fmt: skip
            d_images = torch.cat(parts)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            _, d_weight, d_bias = torch.ops.aten.convolution_backward(
                gradient, images, weight, [len(weight)] if biased else None, stride, padding,
                dilation, False, (0, 0), 1, (False, True, biased),
            )  # fmt: skip
        return d_images, d_weight, d_bias, None, None, None
