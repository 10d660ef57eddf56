"""The laws of the distortions: what is drawn for every image of a pass, all at once.

Every law takes the number of images and a generator on the CPU. Digits are 28 pixels wide.
Sources: Finnveden, Jansson & Lindeberg 2021 (R, T, S); Jaderberg et al. 2015, A.4 (the others).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ...geometry import (
    control_points,
    projective_from_corners,
    rotations_of,
    scalings_of,
    translations_of,
)
from .poses import MatrixPoses, ShiftPoses, SplinePoses, by_matrix

DIGIT = 28

_CORNER_SIGNS = ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0))
_AROUND = (0, 1, 3, 2)  # the same corners, clockwise on the screen
_LEAST_CORNER = 0.1


def turned(count: int, generator: Generator) -> MatrixPoses:
    """Rotation by U(-90, 90) degrees."""
    return by_matrix(rotations_of(_uniform(count, -90, 90, generator)))


def shifted(count: int, generator: Generator) -> ShiftPoses:
    """Shift by U(-16, 16) pixels in x and in y, rounded to whole pixels.

    The reference's transformation rounds, so that 16 and -16 are half as frequent as the others.
    """
    return ShiftPoses(_uniform((count, 2), -16, 16, generator).round().long())


def placed_anywhere(count: int, generator: Generator) -> ShiftPoses:
    """Whole shifts, all equally likely, that keep the digit's image inside a canvas of 60."""
    return ShiftPoses(torch.randint(-16, 17, (count, 2), generator=generator))


def scaled(count: int, generator: Generator) -> MatrixPoses:
    """Scaling by 2^U(-1, 2): half to four times the size, uniform in its logarithm.

    As in the reference, the smaller ones are sampled bilinearly without anti-aliasing.
    """
    return by_matrix(scalings_of(torch.exp2(_uniform(count, -1, 2, generator))))


def turned_scaled_placed(count: int, generator: Generator) -> MatrixPoses:
    """Rotation by U(-45, 45) degrees, scaling by s = U(0.7, 1.2), a place in a canvas of 42.

    The place is uniform over all where the scaled image, were it not turned, lies inside the
    canvas: a shift of up to 21 - 14 s pixels either way in x and y. The source leaves this open.
    """
    turns = rotations_of(_uniform(count, -45, 45, generator))
    factors = _uniform(count, 0.7, 1.2, generator)
    room = (42 - DIGIT * factors[:, None]) / 2
    places = translations_of(_uniform((count, 2), -1, 1, generator) * room)
    return by_matrix(places @ turns @ scalings_of(factors))


def projected(count: int, generator: Generator) -> MatrixPoses:
    """Scaling by U(0.75, 1), then every corner of the image moved by N(0, 5 px) in x and y.

    Corners that do not span a convex shape with a proper angle everywhere (each triangle of
    neighbouring corners keeps its orientation and a tenth of its area) are drawn again.
    """
    factors = _uniform(count, 0.75, 1, generator)
    corners = torch.tensor(_CORNER_SIGNS, dtype=torch.float64) * (DIGIT / 2)
    small = factors[:, None, None] * corners
    moved = torch.empty(count, 4, 2, dtype=torch.float64)
    left = torch.arange(count)
    while len(left):
        moved[left] = small[left] + 5 * _normal((len(left), 4, 2), generator)
        areas = _corner_areas(moved[left]) / (DIGIT * factors[left, None]).square()
        left = left[(areas < _LEAST_CORNER).any(1)]
    return by_matrix(projective_from_corners(moved - corners, (DIGIT, DIGIT)))


def bent(count: int, generator: Generator) -> SplinePoses:
    """Scaling by U(0.75, 1), 16 control points of a thin plate spline moved by N(0, 1.5 px).

    The points lie on a regular 4x4 grid over the image, on its edge too. The displacements of the
    result contain the scaling, which a thin plate spline can represent.
    """
    factors = _uniform(count, 0.75, 1, generator)[:, None, None]
    points = torch.from_numpy(control_points((DIGIT, DIGIT)))
    return SplinePoses((points + 1.5 * _normal((count, 16, 2), generator)) / factors - points)


def _uniform(shape: int | tuple[int, ...], low: float, high: float, by: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=by, dtype=torch.float64)


def _normal(shape: tuple[int, ...], by: Generator) -> Tensor:
    return torch.randn(shape, generator=by, dtype=torch.float64)


def _corner_areas(corners: Tensor) -> Tensor:
    """Twice the signed area of the triangle at each corner (n, 4); all equal for a square."""
    ring = corners[:, _AROUND]
    ahead, behind = ring.roll(-1, 1) - ring, ring - ring.roll(1, 1)
    return behind[..., 0] * ahead[..., 1] - behind[..., 1] * ahead[..., 0]
