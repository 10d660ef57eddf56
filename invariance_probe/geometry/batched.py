"""A transformation for each image of a batch, as tensors (N, 3, 3) that act on points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import ProbeError


def rotations_of(degrees: Tensor) -> Tensor:
    """Return the rotations by the given angles (N,), as (N, 3, 3) float64.

    Convention: degrees, positive counter-clockwise on the screen (y points down); multiples of 90
    are exact.

    >>> rotations_of(torch.tensor([90.0]))[0, :2, :2].tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    angles = torch.as_tensor(degrees).double()
    # Reducing to one octave about a multiple of 90 leaves cos and sin exact where they are 0 or 1.
    quarters = torch.round(angles / 90)
    rest = torch.deg2rad(angles - 90 * quarters)
    cos, sin = torch.cos(rest), torch.sin(rest)
    which = quarters.long()[None] % 4
    c = torch.stack([cos, -sin, -cos, sin]).gather(0, which)[0]
    s = torch.stack([sin, cos, -sin, -cos]).gather(0, which)[0]
    return _linear(c, s, -s, c) + 0.0  # no negative zeros


def scalings_of(factors: Tensor) -> Tensor:
    """Return the scalings by factors (N,), or (N, 2) for x and y, as (N, 3, 3) float64."""
    given = torch.as_tensor(factors).double()
    x, y = (given, given) if given.ndim == 1 else given.unbind(1)
    return _linear(x, torch.zeros_like(x), torch.zeros_like(x), y)


def shears_of(factors: Tensor) -> Tensor:
    """Return the shears x -> x + k y by factors k (N,), as (N, 3, 3) float64."""
    k = torch.as_tensor(factors).double()
    return _linear(torch.ones_like(k), k, torch.zeros_like(k), torch.ones_like(k))


def translations_of(shifts: Tensor) -> Tensor:
    """Return the translations by (dx, dy) pixels (N, 2), x right and y down, as (N, 3, 3) float64.

    >>> translations_of(torch.tensor([[3.0, -1.0]]))[0].tolist()
    [[1.0, 0.0, 3.0], [0.0, 1.0, -1.0], [0.0, 0.0, 1.0]]
    """
    given = torch.as_tensor(shifts).double()
    made = torch.eye(3, dtype=torch.float64, device=given.device).repeat(len(given), 1, 1)
    made[:, :2, 2] = given
    return made


def projective_from_corners(displacements: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the projective maps that move the corners of a canvas, as (N, 3, 3) float64.

    `displacements` (N, 4, 2) are in pixels, for the corners top left, top right, bottom left and
    bottom right of a canvas of `size` (rows, columns); corners are those of the outermost pixels'
    squares. Raises ProbeError where three moved corners lie on a line.

    Convention: content moves, in image coordinates.
    """
    moved = displacements.double()
    half = torch.tensor([size[1] / 2, size[0] / 2], dtype=torch.float64, device=moved.device)
    signs = [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)]
    corners = torch.tensor(signs, dtype=torch.float64, device=moved.device) * half
    x, y = (corners.expand(len(moved), 4, 2)[..., axis] for axis in (0, 1))
    to_x, to_y = ((corners + moved)[..., axis] for axis in (0, 1))
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    # Two rows per corner of the linear system for the eight entries below the last, which is 1.
    first = torch.stack([x, y, one, zero, zero, zero, -x * to_x, -y * to_x], -1)
    second = torch.stack([zero, zero, zero, x, y, one, -x * to_y, -y * to_y], -1)
    system = torch.cat([first, second], 1)
    entries, failed = torch.linalg.solve_ex(system, torch.cat([to_x, to_y], 1))
    if bool(failed.any()) or bool(_on_a_line(corners + moved.detach(), size)):
        raise ProbeError(
            "three of the moved corners lie on a line; move the corners by less than half the size"
        )
    return torch.cat([entries, torch.ones_like(entries[:, :1])], 1).reshape(-1, 3, 3)


def angle_of(transforms: Tensor) -> Tensor:
    """Return the rotation part of each transformation (N, 3, 3), in degrees in (-180, 180].

    The nearest rotation to the 2x2 part (polar decomposition, for det > 0): atan2 of its
    antisymmetric part and its trace.

    Convention: positive counter-clockwise on the screen.

    >>> angle_of(rotations_of(torch.tensor([30.0, -120.0]))).round().tolist()
    [30.0, -120.0]
    """
    a = transforms
    return torch.rad2deg(torch.atan2(a[:, 0, 1] - a[:, 1, 0], a[:, 0, 0] + a[:, 1, 1]))


def scale_of(transforms: Tensor) -> Tensor:
    """Return the scale factor of each transformation (N, 3, 3): the root of its area factor."""
    a = transforms
    return (a[:, 0, 0] * a[:, 1, 1] - a[:, 0, 1] * a[:, 1, 0]).abs().sqrt()


def _on_a_line(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether three of any four points (N, 4, 2) span no triangle worth the name."""
    triples = torch.tensor([(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)], device=points.device)
    one, two, three = points[:, triples].unbind(2)
    (ax, ay), (bx, by) = (two - one).unbind(-1), (three - one).unbind(-1)
    return ((ax * by - ay * bx).abs() < 1e-9 * size[0] * size[1]).any()


def _linear(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([a, b, zero, c, d, zero, zero, zero, one], -1).reshape(-1, 3, 3)


def points_in(transforms: Tensor, points: Tensor) -> Tensor:
    """Return where each transformation (N, 3, 3) takes its points (N, P, 2) or (P, 2).

    Raises ProbeError where a projective map takes a point to infinity.
    """
    held = points.expand(len(transforms), *points.shape[-2:]).to(transforms)
    moved = held @ transforms[:, :2, :2].mT + transforms[:, None, :2, 2]
    weight = (held @ transforms[:, 2, :2, None])[..., 0] + transforms[:, 2, 2, None]
    if bool((weight.abs() < math.ulp(1.0)).any()):
        raise ProbeError("a projective transformation takes a point to infinity; give a weaker one")
    return moved / weight[..., None]
