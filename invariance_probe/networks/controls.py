"""Control networks: small filter banks whose whole ladder is known in closed form.

They show that the instrument reads what the theory says, and what each mechanism looks like by
itself: a response that moves to other channels by a permutation (`orbit_bank`, `oriented_bank`) or
by a linear mixture (`gaussian_derivatives`), and features that align under anything
(`pointwise`). The expected values, with reasons, are in docs/controls.md.
"""

from __future__ import annotations

import math
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ..errors import ProbeError
from ..geometry import rotation

_REACH = 4.5  # standard deviations of a Gaussian kernel that are kept: 4e-5 of its peak is cut


class FilterBank(nn.Module):
    """One valid convolution, layer "filters", with kernels (C, inputs, k, k) and no bias.

    Maps images (N, inputs, H, W) to (N, C, H − k + 1, W − k + 1), centred on the image for every
    size. What its channels do under a rotation is known: `channel_map`.
    """

    def __init__(self, kernels: Tensor) -> None:
        super().__init__()
        out, into, *size = kernels.shape
        # No initial weights: they would be drawn from the caller's stream of random numbers.
        self.filters = skip_init(nn.Conv2d, into, out, (size[0], size[1]), bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(kernels)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (N, C, H', W') of images (N, inputs, H, W)."""
        return self.filters(images)

    def channel_map(self, degrees: float) -> NDArray[np.float64]:
        """The map M (C, C) with M · aligned = original features, for an image turned by `degrees`.

        Convention: degrees counter-clockwise on the screen; `aligned` are the features of the
        turned image, their maps turned back. Raises ProbeError for angles under which the bank is
        not closed.
        """
        raise NotImplementedError


class GaussianDerivatives(FilterBank):
    """Gaussian derivatives of one order, closed under every rotation by a linear channel map."""

    def __init__(self, kernels: Tensor, order: int) -> None:
        super().__init__(kernels)
        self.order = order

    def channel_map(self, degrees: float) -> NDArray[np.float64]:
        """As FilterBank's: of the gradient (order 1) or of (Lxx, Lxy, Lyy) (order 2)."""
        h = rotation(float(degrees)).matrix[:2, :2]
        if self.order == 1:  # the turned image has the gradient h∇L
            return h.T.copy()
        # Its Hessian is hHhᵀ: the columns are hᵀEh of the units E.
        units = np.array([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]], dtype=np.float64)
        back = h.T @ units @ h
        return np.stack([back[:, 0, 0], back[:, 0, 1], back[:, 1, 1]])


class OrientedBank(FilterBank):
    """A bank in equally spaced orientations: turning the image shifts its channels.

    Channel b·n + o holds base kernel b turned counter-clockwise by o steps of `step` degrees, with
    n = `orientations`.
    """

    def __init__(self, kernels: Tensor, orientations: int) -> None:
        super().__init__(kernels)
        self.orientations, self.step = orientations, 360 / orientations

    def permutation(self, degrees: float) -> NDArray[np.int64]:
        """The p with aligned[:, p] = original features, for an image turned by `degrees`.

        Original channel c is found in channel p[c] of the aligned maps. Convention: degrees
        counter-clockwise on the screen. Raises ProbeError for angles that are no multiple of the
        step between orientations.
        """
        steps = degrees / self.step
        if not math.isfinite(steps) or abs(steps - round(steps)) > 1e-9:
            raise ProbeError(
                f"a bank with orientations every {self.step:g}° is not closed under {degrees:g}°; "
                f"give a multiple of {self.step:g}"
            )
        channels = np.arange(self.filters.out_channels)
        base, orientation = np.divmod(channels, self.orientations)
        return base * self.orientations + (orientation + round(steps)) % self.orientations

    def channel_map(self, degrees: float) -> NDArray[np.float64]:
        """As FilterBank's: the permutation as a matrix."""
        permutation = self.permutation(degrees)
        return np.eye(len(permutation))[permutation]


def gaussian_derivatives(
    sigma: float = 2.0, order: int = 1, *, inputs: int = 1
) -> GaussianDerivatives:
    """Derivatives of a Gaussian: (Lx, Ly) for order 1, (Lxx, Lxy, Lyy) for order 2.

    `sigma` in pixels, at least 0.7 for kernels that are sampled well. Several input planes are
    averaged. The features are derivatives of the smoothed image, in units of 1/pixel^order.

    Expected under a rotation by θ: `inverse` = 2 − 2 cos θ for order 1, on any images, and
    6/7·(1 − cos 2θ) for order 2, on images without a preferred direction; the linear rung is at
    the resampling floor for both, with the map `channel_map(θ)` (for order 1 the rotation itself,
    so the orthogonal rung is there too). Under scaling by s a wave of angular frequency w changes
    its gain to s^−n·exp(σ²w²(1 − 1/s²)/2) of what it was, n the order: `inverse` is the mean of
    (1 − gain)², and a channel map takes away no more than the mean gain.

    Convention: x right, y down, derivatives along them. Raises ProbeError for another order and a
    sigma that is too small or not finite.

    >>> gaussian_derivatives(2.0).channel_map(90).round(3).tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    _check_sigma(sigma)
    _check_count("inputs", inputs, 1)
    axis = _axis(math.ceil(_REACH * sigma))
    gauss = torch.exp(-(axis**2) / (2 * sigma**2))
    gauss = gauss / gauss.sum()
    # Kernels are correlated with the image: odd ones have the sign of the position.
    first = axis / sigma**2 * gauss
    second = (axis**2 / sigma**4 - 1 / sigma**2) * gauss
    second = second - gauss * second.sum()  # constants give exactly 0 on the grid too
    pairs = {
        1: [(gauss, first), (first, gauss)],
        2: [(gauss, second), (first, first), (second, gauss)],
    }
    if order not in pairs:
        raise ProbeError(f"order={order!r} is not there; use 1 (Lx, Ly) or 2 (Lxx, Lxy, Lyy)")
    kernels = torch.stack([torch.outer(y, x) for y, x in pairs[order]])
    return GaussianDerivatives(_over_inputs(kernels, inputs), order)


def orbit_bank(
    base: int = 4, size: int = 9, seed: int = 0, orientations: int = 4, *, inputs: int = 1
) -> OrientedBank:
    """Random kernels and their turned copies: a bank exactly closed under quarter turns.

    `base` kernels of `size` x `size` pixels, drawn from `seed`, each in 4 orientations (90° apart,
    exact copies of pixels), or 2 (180° apart). Channel b·orientations + o holds kernel b turned
    counter-clockwise o times.

    Expected under a rotation by 90°: `inverse` about the ceiling (2 on white noise), since a
    random kernel has nothing in common with its turned copy; `inverse_permuted` = 0 up to
    rounding, by `permutation(90)`; orthogonal and linear likewise. At angles in between the bank is
    not closed and a permutation does not help; a linear map does on smooth images, of which the
    kernels see few dimensions, and does not on white noise.

    Raises ProbeError for other numbers of orientations (`oriented_bank` has them).

    >>> orbit_bank(base=2).permutation(90).tolist()
    [1, 2, 3, 0, 5, 6, 7, 4]
    """
    if orientations not in (2, 4):
        raise ProbeError(
            f"orientations={orientations!r} cannot be copied pixel by pixel; use 2 or 4 here, and "
            "oriented_bank for others"
        )
    for name, value, least in (("base", base, 1), ("size", size, 2), ("inputs", inputs, 1)):
        _check_count(name, value, least)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(base, inputs, size, size, generator=generator, dtype=torch.float64)
    drawn = drawn / (size * math.sqrt(inputs))
    turns = range(0, 4, 4 // orientations)
    kernels = torch.stack([torch.rot90(drawn, k, (-2, -1)) for k in turns], dim=1).flatten(0, 1)
    return OrientedBank(kernels, orientations)


def oriented_bank(
    orientations: int = 16, sigma: float = 1.0, elongation: float = 2.0, *, inputs: int = 1
) -> OrientedBank:
    """Edge detectors in many orientations over 360°: first derivatives of an elongated Gaussian.

    `sigma` pixels across the edge and `elongation` times as much along it; every kernel is computed
    for its own orientation, none is interpolated. Channel o is turned counter-clockwise by
    o·360/`orientations` degrees; channel 0 is the derivative along x. Several input planes are
    averaged.

    Expected under a rotation by k·360/`orientations` degrees: all channels shift by k, so
    `inverse_permuted` falls to what resampling leaves (1e-5 on waves of 14 px and more with
    bicubic interpolation; 0 up to rounding at 90°), while `inverse` grows with the angle, to 4 at
    180°, where every channel changes its sign. Opposite channels are each other's negative.

    Convention: degrees counter-clockwise on the screen. Raises ProbeError for fewer than 3
    orientations and kernels too small to be sampled.

    >>> oriented_bank(16).permutation(22.5)[:4].tolist()
    [1, 2, 3, 4]
    """
    _check_sigma(sigma)
    for name, count, least in (("orientations", orientations, 3), ("inputs", inputs, 1)):
        _check_count(name, count, least)
    if not (math.isfinite(elongation) and elongation >= 1):
        raise ProbeError(f"elongation={elongation!r} must be 1 or more")
    axis = _axis(math.ceil(_REACH * sigma * elongation))
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    kernels = []
    for number in range(orientations):
        linear = rotation(number * 360 / orientations).matrix
        across = float(linear[0, 0]) * x + float(linear[1, 0]) * y
        along = float(linear[0, 1]) * x + float(linear[1, 1]) * y
        square = (across / sigma) ** 2 + (along / (sigma * elongation)) ** 2
        kernels.append(across * torch.exp(-square / 2))
    bank = torch.stack(kernels)
    bank = bank / bank.square().sum(dim=(1, 2)).mean().sqrt()
    return OrientedBank(_over_inputs(bank, inputs), orientations)


def pointwise(channels: int = 8, *, inputs: int = 1, seed: int = 0) -> nn.Sequential:
    """Two 1x1 convolutions with a ReLU between them: "conv1", "relu1", "conv2".

    `channels` planes in both, `inputs` in the image, weights from `seed`. Features of single
    pixels have no neighbourhood that could turn or scale.

    Expected under every transformation: `inverse` at the floor, `input_aligned`, and 0 wherever no
    resampling is needed (k·90°, flips, whole-pixel shifts). It is the only network of this package
    that aligns under scaling and shear.
    """
    for name, value in (("channels", channels), ("inputs", inputs)):
        _check_count(name, value, 1)
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential()
    for number, into in enumerate((inputs, channels), start=1):
        layer = skip_init(nn.Conv2d, into, channels, 1)
        with torch.no_grad():
            for values, spread in ((layer.weight, into**-0.5), (layer.bias, 0.25)):
                if values is not None:
                    values.copy_(spread * torch.randn(values.shape, generator=generator))
        network.add_module(f"conv{number}", layer)
        if number == 1:
            network.add_module("relu1", nn.ReLU())
    return network


def _axis(radius: int) -> Tensor:
    return torch.arange(-radius, radius + 1, dtype=torch.float64)


def _over_inputs(kernels: Tensor, inputs: int) -> Tensor:
    """(C, k, k) to (C, inputs, k, k): the mean of the planes is filtered."""
    return kernels[:, None].repeat(1, inputs, 1, 1) / inputs


def _check_sigma(sigma: float) -> None:
    if not (math.isfinite(sigma) and sigma >= 0.7):
        raise ProbeError(f"sigma={sigma!r} px is too narrow for the grid; give 0.7 or more")


def _check_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ProbeError(f"{name}={value!r} must be a whole number of at least {least}")
