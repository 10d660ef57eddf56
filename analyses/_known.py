"""Networks whose equivariance is known, and the scenes on which it can be computed exactly.

All have one layer to measure, "maps", made of kernels that are functions of the plane, sampled
`fineness` times finer than a pixel of the smallest size: the same network at another resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Kernel = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

_REACH = 4.0  # standard deviations of a window that are kept
STRIDE = 4
REGULAR, NORMS, POOLED, PLAIN = "regular", "norms", "pooled", "plain"


class Bank(nn.Module):
    """One valid convolution, what makes its responses features, and a stride; layer "maps".

    `kernels` (C, 1, k, k) with k odd. `features` says what becomes of the responses: "plain" as
    they are, "norms" the lengths of pairs of channels (2c, 2c + 1), "pooled" the largest of every
    `orbit` channels after a rectifier, "regular" all of them after a rectifier. `stride` keeps
    every so many cells, around the middle one; `blur` smooths them before.
    """

    def __init__(
        self, kernels: Tensor, features: str = PLAIN, *, orbit: int = 1, stride: int = 1,
        blur: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("kernels", kernels.float())
        self.features, self.orbit, self.stride = features, orbit, stride
        self.blur = _gaussian(blur).float() if blur else None
        self.maps = nn.Identity()

    @property
    def reach(self) -> int:
        """Pixels that a feature sees on each side of its own."""
        blurred = len(self.blur) // 2 if self.blur is not None else 0
        return int(self.get_buffer("kernels").shape[-1] - 1) // 2 + blurred

    def forward(self, images: Tensor) -> Tensor:
        """Maps (N, C', rows, columns) of images (N, 1, height, width)."""
        kernels = self.get_buffer("kernels").to(images)
        maps = _featured(nn.functional.conv2d(images, kernels), self.features, self.orbit)
        if self.blur is not None:
            maps = _blurred(maps, self.blur.to(maps))
        return self.maps(maps[..., :: self.stride, :: self.stride])


def _featured(responses: Tensor, features: str, orbit: int) -> Tensor:
    if features == NORMS:
        pairs = responses.unflatten(1, (-1, 2))
        return pairs.square().sum(2).sqrt()
    if features == POOLED:
        return responses.relu().unflatten(1, (-1, orbit)).amax(2)
    return responses.relu() if features == REGULAR else responses


def _blurred(maps: Tensor, axis: Tensor) -> Tensor:
    channels = maps.shape[1]
    across = axis.expand(channels, 1, 1, -1)
    maps = nn.functional.conv2d(maps, across, groups=channels)
    return nn.functional.conv2d(maps, across.transpose(2, 3), groups=channels)


def _gaussian(sigma: float) -> Tensor:
    radius = math.ceil(3 * sigma)
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64)
    values = torch.exp(-(axis**2) / (2 * sigma**2))
    return values / values.sum()


@dataclass(frozen=True)
class Known:
    """A network of known truth: its name, how it is made at a fineness, when it is equivariant.

    `step` is the angle in degrees whose multiples leave the features equivariant, `turn` the one
    whose multiples permute channels and do no more: 0 for every angle, 360 for none.
    """

    name: str
    make: Callable[[int], Bank]
    step: float
    turn: float = 360.0

    def exact(self, degrees: float) -> bool:
        """Whether moving the maps of an image turned by `degrees` back gives the original's.

        >>> [Known("", Bank, step).exact(90) for step in (0, 45, 90, 360)]
        [True, True, True, False]
        """
        return _multiple(degrees, self.step)

    def permutes(self, degrees: float) -> bool:
        """Whether the aligned maps are the original's in another order of channels."""
        return not self.exact(degrees) and _multiple(degrees, self.turn)


def _multiple(degrees: float, step: float) -> bool:
    return step == 0 or math.isclose(math.remainder(degrees, step), 0, abs_tol=1e-9)


def known_networks() -> list[Known]:
    """All networks of the tournament."""
    norms = [Known(f"norm of order {n}", _norms(n), 0) for n in range(6)]
    gaussians = [
        Known(f"Gaussians {a:g}/{b:g}", _gaussians(a, b), 360, turn=90)
        for a, b in ((2.4, 0.8), (2.2, 0.9), (2, 1), (1.75, 1.15), (1.6, 1.3))
    ]
    derivatives = [
        Known(f"derivatives, sigma {sigma:g}", _derivatives(sigma), 360) for sigma in (1, 1.5, 2)
    ]
    groups = [
        Known(
            f"p{n} {features}", _group(n, features), 360 / n if features == POOLED else 360, 360 / n
        )
        for n in (4, 8)
        for features in (POOLED, REGULAR)
    ]
    strided = [
        Known(f"{name}, stride {STRIDE}{', blurred' * blur}", _strided(make, blur), step, turn)
        for name, make, step, turn in (
            ("norm of order 2", _norms(2), 0.0, 0.0),
            ("Gaussians 2/1", _gaussians(2, 1), 360.0, 90.0),
        )
        for blur in (False, True)
    ]  # fmt: skip
    others = [Known("1x1", _pointwise, 0), Known("random", _random, 360)]
    return [*norms, *others, *gaussians, *derivatives, *groups, *strided]


def _bank(kernels: Sequence[Kernel], window: float, fineness: int) -> Tensor:
    """Kernels (C, 1, k, k), sampled; `window` is the deviation that fixes their support."""
    radius = math.ceil(_REACH * window * fineness)
    axis = np.arange(-radius, radius + 1) / fineness
    x, y = np.meshgrid(axis, axis)
    values = np.stack([kernel(x, y) for kernel in kernels])
    # Each has the length 1, so that no channel drowns; the grid's cells are 1/fineness wide.
    values /= np.sqrt((values**2).sum((1, 2), keepdims=True))
    return torch.from_numpy(values[:, None]) / fineness


def _norms(order: int) -> Callable[[int], Bank]:
    """Lengths of circular harmonics of one order, at three widths."""

    def harmonic(sigma: float, phase: float) -> Kernel:
        def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
            r, angle = np.hypot(x, y), np.arctan2(y, x)
            radial = (r / sigma) ** order * np.exp(-(r**2) / (2 * sigma**2))
            return np.asarray(radial * np.cos(order * angle - phase))

        return kernel

    phases = (0.0, math.pi / 2) if order else (0.0, 0.0)
    kernels = [harmonic(sigma, phase) for sigma in (1.1, 1.4, 1.7) for phase in phases]
    window = 1.7 * math.sqrt(1 + order / 4)
    return lambda fineness: Bank(_bank(kernels, window, fineness), NORMS)


def _gauss(across: float, down: float) -> Kernel:
    return lambda x, y: np.exp(-(x**2) / (2 * across**2) - y**2 / (2 * down**2))


def _gaussians(a: float, b: float) -> Callable[[int], Bank]:
    """Elongated Gaussians along x and along y, and both half as elongated again."""
    kernels = [_gauss(a, b), _gauss(b, a), _gauss(a, 1.5 * b), _gauss(1.5 * b, a)]
    return lambda fineness: Bank(_bank(kernels, 2.4, fineness))


def _derivatives(sigma: float) -> Callable[[int], Bank]:
    gauss = _gauss(sigma, sigma)
    kernels = [lambda x, y: x * gauss(x, y), lambda x, y: y * gauss(x, y)]
    return lambda fineness: Bank(_bank(kernels, sigma, fineness))


def _drawn(seed: int) -> Kernel:
    """A smooth random kernel: five Gaussians of random places and signs."""
    random = np.random.default_rng(seed)
    places, weights = random.normal(0, 1.2, (5, 2)), random.choice([-1.0, 1.0], 5)

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = [
            weight * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 0.9**2))
            for (u, v), weight in zip(places, weights, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0))

    return kernel


def _turned(kernel: Kernel, degrees: float) -> Kernel:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return lambda x, y: kernel(c * x - s * y, s * x + c * y)


def _group(order: int, features: str) -> Callable[[int], Bank]:
    """Three random kernels in all orientations of a cyclic group."""
    kernels = [_turned(_drawn(seed), 360 * k / order) for seed in range(3) for k in range(order)]
    return lambda fineness: Bank(_bank(kernels, 1.5, fineness), features, orbit=order)


def _random(fineness: int) -> Bank:
    return Bank(_bank([_drawn(seed) for seed in range(10, 16)], 1.5, fineness), REGULAR)


def _pointwise(fineness: int) -> Bank:
    """Each pixel by itself."""
    return Bank(torch.ones(1, 1, 1, 1), PLAIN)


def _strided(make: Callable[[int], Bank], blur: bool) -> Callable[[int], Bank]:
    def made(fineness: int) -> Bank:
        plain = make(fineness)
        return Bank(
            plain.get_buffer("kernels"), plain.features, stride=STRIDE,
            blur=STRIDE / 2 * blur,
        )  # fmt: skip

    return made


@dataclass(frozen=True)
class Scenes:
    """Sums of plane waves: images that can be sampled anywhere, turned without interpolation.

    Waves per image `k` (N, W, 2) in radians a pixel of the smallest size, phases (N, W).
    """

    k: NDArray[np.float64]
    phase: NDArray[np.float64]

    @classmethod
    def drawn(cls, number: int, seed: int, shortest: float, waves: int = 24) -> Scenes:
        """Waves of `shortest` to 3 times that many pixels, in all directions."""
        random = np.random.default_rng(seed)
        length = 2 * np.pi / random.uniform(shortest, 3 * shortest, (number, waves))
        angle, phase = random.uniform(0, 2 * np.pi, (2, number, waves))
        k = length[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        return cls(k, phase)

    def parts(self, number: int = 4) -> list[Scenes]:
        """The same scenes, a few at a time: wide views of many take much memory."""
        starts = range(0, len(self.k), number)
        return [Scenes(self.k[i : i + number], self.phase[i : i + number]) for i in starts]

    def images(self, size: int, fineness: int) -> NDArray[np.float32]:
        """Images (N, 1, size, size) about the same middle, values within [0, 1]."""
        axis = (np.arange(size) - (size - 1) / 2) / fineness
        across, down = (np.exp(1j * self.k[..., i, None] * axis) for i in (0, 1))
        values = np.einsum("nw,nwy,nwx->nyx", np.exp(1j * self.phase), down, across).real
        return np.asarray(self._ranged(values)[:, None], dtype=np.float32)

    def patches(
        self, places: NDArray[np.float64], radius: int, fineness: int, degrees: float
    ) -> Tensor:
        """What a feature sees at places (P, 2), its view turned: (N·P, 1, k, k), k = 2 radius + 1.

        Convention: an image turned by `degrees` counter-clockwise on the screen shows, around
        the turned place, what the original shows around `places` along axes turned back.
        """
        axis = np.arange(-radius, radius + 1) / fineness
        x, y = np.meshgrid(axis, axis)
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        offsets = np.stack([c * x - s * y, s * x + c * y], -1).reshape(-1, 2)
        at = np.exp(1j * (np.einsum("nwi,pi->npw", self.k, places) + self.phase[:, None]))
        around = np.exp(1j * np.einsum("nwi,oi->nwo", self.k, offsets))
        values = self._ranged((at @ around).real)
        return torch.from_numpy(values.reshape(-1, 1, len(axis), len(axis)))

    def _ranged(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values in [0, 1]; a sum of W waves has the deviation √(W/2), a twelfth of the range."""
        return np.clip(0.5 + values / (12 * math.sqrt(self.k.shape[1] / 2)), 0, 1)


def truth(network: Bank, scenes: Scenes, fineness: int, degrees: float, cells: int) -> float:
    """The residual after h⁻¹ without any interpolation: features of turned views beside upright.

    In units of the variance of a channel over places and images, summed over channels. Places
    are drawn over the map of `cells` a side; exact but for their number.
    """
    reach = (cells - 1) / 2 / fineness / math.sqrt(2)
    places = np.random.default_rng(0).uniform(-reach, reach, (60, 2))
    double = _double(network)
    views = [
        [double(some.patches(places, network.reach, fineness, angle)).flatten(1)
         for angle in (0.0, degrees)]
        for some in scenes.parts()
    ]  # fmt: skip
    upright, turned = (torch.cat([view[which] for view in views]) for which in (0, 1))
    variance = (upright - upright.mean(0)).square().mean(0).sum()
    return float((turned - upright).square().mean(0).sum() / variance)


def _double(network: Bank) -> Bank:
    kernels = network.get_buffer("kernels").double()
    made = Bank(kernels, network.features, orbit=network.orbit)
    made.kernels = kernels
    made.blur = network.blur
    return made
