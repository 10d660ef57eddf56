"""Lie derivative error: how fast features fail to follow an infinitesimal transformation."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import squared_errors
from ...errors import ProbeError
from ...geometry import Frame, Transform, rotation, scaling, translation, warp
from ...geometry.resampling import Beyond

GENERATORS = ("rotation", "scaling", "translation_x", "translation_y")
"""Generators, per radian, per unit of the factor's logarithm, per half width and half height."""

STEP = 1 / 64
"""Pixels by which the step of the central difference moves the canvas' corner, or all of it."""


def flow(generator: str, amount: float, canvas: tuple[int, int]) -> Transform:
    """The transformation exp(t X) of a generator X for the amount t.

    Convention: a rotation by t radians counter-clockwise, a scaling by e^t, a shift to the right
    by t half widths or down by t half heights of the canvas (H, W); about the canvas' centre.

    Raises ProbeError for an unknown generator.

    >>> flow("translation_x", 0.5, (28, 32)), flow("scaling", 0.0, (28, 28))
    (translation(8.0, 0.0), scaling(1.0))
    """
    if generator == "rotation":
        return rotation(math.degrees(amount))
    if generator == "scaling":
        return scaling(math.exp(amount))
    if generator == "translation_x":
        return translation(amount * canvas[1] / 2, 0.0)
    if generator == "translation_y":
        return translation(0.0, amount * canvas[0] / 2)
    raise ProbeError(f"unknown generator {generator!r}; use one of {', '.join(GENERATORS)}")


def step_of(generator: str, canvas: tuple[int, int]) -> float:
    """The amount t that moves the corner of the canvas (H, W), or all of it, by `STEP` pixels."""
    reach = {"translation_x": canvas[1] / 2, "translation_y": canvas[0] / 2}
    return STEP / reach.get(generator, math.hypot(*canvas) / 2)


def moved_input(
    source: Tensor,
    transform: Transform,
    canvas: tuple[int, int],
    beyond: Beyond,
    fill: float | tuple[float, ...],
) -> Tensor:
    """T_h of images for a difference quotient, on the canvas (H, W).

    Cubic and never widened, whatever the run's interpolation: a bilinear interpolant has a kink at
    every pixel, and widening for the shrinking half of the difference only would leave a
    difference of blurs.
    """
    return warp(
        source, transform, size=canvas, interpolation="bicubic", antialias=False, beyond=beyond,
        fill=fill,
    )  # fmt: skip


def followed(maps: Tensor, transform: Transform, frame: Frame) -> Tensor:
    """T_h⁻¹ of the maps of a transformed image, in the same interpolation as `moved_input`."""
    return warp(
        maps, transform.inverse(), frame=frame, interpolation="bicubic", antialias=False,
        beyond="nearest",
    )  # fmt: skip


def interior(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells that have neighbours on all sides: a map's derivative needs both of them."""
    inside = np.zeros_like(cells)
    inside[1:-1, 1:-1] = cells[1:-1, 1:-1]
    return inside


def derivative_energy(
    forward: Tensor, backward: Tensor, step: float, cells: Tensor | None = None
) -> Tensor:
    """Σ over compared cells and channels of (L_X f)², one value (N) an image.

    L_X f = d/dt T_{−t} f(T_t x) at 0, by the central difference (F(t) − F(−t)) / 2t. `forward` and
    `backward` are F(t) and F(−t): maps (N, C, rows, columns) that were moved back ("followed") and
    are compared where `cells` is 1, or vectors (N, K), of which only the input is transformed.
    `step` is t.

    The error E‖L_X f‖² / dim of the source divides by the number of compared entries and averages
    over images.

    Source: Gruver, Finzi, Goldblum and Wilson, "The Lie derivative for measuring learned
    equivariance" (arXiv 2210.02984). They differentiate automatically; the difference quotient
    needs no derivative of the network and agrees with it to O(t²). They attribute the error of the
    output to single layers by the chain rule; here it is the error of all layers up to this one.

    >>> derivative_energy(torch.tensor([[2.0]]), torch.tensor([[0.0]]), 0.5).tolist()
    [4.0]
    """
    if forward.ndim == 2:
        squares = (forward.double() - backward.double()).square().sum(1)
    else:
        rows, columns = forward.shape[-2:]
        mask = torch.ones(rows, columns) if cells is None else cells
        squares = squared_errors(forward, backward, mask)
    return squares / (2 * step) ** 2
