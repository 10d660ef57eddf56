"""Families of warps that a localisation network can choose from, each zero at the identity."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ProbeError
from ...geometry import sampling_grid, thin_plate_grid
from ...geometry.grids import full_precision

Size = tuple[int, int]


@dataclass(frozen=True)
class WarpFamily:
    """Warps with `parameters` numbers each; all zero is the identity.

    `sources(p)` turns parameters (N, k) into the matrices (N, 2, 3) or (N, 3, 3) by which the
    output is read from the input, in units of half the shorter side; None for the thin plate
    spline, which no matrix describes.

    Convention: a source matrix takes a point of the output to the point of the input shown there,
    origin at the centre, x right, y down; it is the inverse of the motion of the content.
    """

    name: str
    parameters: int
    sources: Callable[[Tensor], Tensor] | None
    projective: bool = False


def _affine(p: Tensor) -> Tensor:
    return p.view(-1, 2, 3) + _identity(p)


def _rotation(p: Tensor) -> Tensor:
    zero = torch.zeros_like(p[:, 0])
    return _similarities(p[:, 0], zero, zero, zero)


def _scaling(p: Tensor) -> Tensor:
    zero = torch.zeros_like(p[:, 0])
    return _similarities(zero, p[:, 0], zero, zero)


def _translation(p: Tensor) -> Tensor:
    zero = torch.zeros_like(p[:, 0])
    return _similarities(zero, zero, p[:, 0], p[:, 1])


def _similarity(p: Tensor) -> Tensor:
    return _similarities(p[:, 0], p[:, 1], p[:, 2], p[:, 3])


def _attention(p: Tensor) -> Tensor:
    return _similarities(torch.zeros_like(p[:, 0]), p[:, 0], p[:, 1], p[:, 2])


def _projective(p: Tensor) -> Tensor:
    last = torch.zeros_like(p[:, :1])
    return torch.cat([p, last], 1).view(-1, 3, 3) + torch.eye(3, dtype=p.dtype, device=p.device)


def _similarities(angle: Tensor, log_scale: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """An angle in radians (counter-clockwise motion of the content), a logarithm, a shift."""
    # Content turns by +angle when the output is read turned by -angle.
    cos, sin = torch.cos(angle), torch.sin(angle)
    size = torch.exp(log_scale)
    rows = [size * cos, -size * sin, x, size * sin, size * cos, y]
    return torch.stack(rows, 1).view(-1, 2, 3)


def _identity(like: Tensor) -> Tensor:
    return torch.eye(2, 3, dtype=like.dtype, device=like.device)


FAMILIES = {
    family.name: family
    for family in (
        WarpFamily("affine", 6, _affine),
        WarpFamily("rotation", 1, _rotation),
        WarpFamily("scaling", 1, _scaling),
        WarpFamily("translation", 2, _translation),
        WarpFamily("similarity", 4, _similarity),
        WarpFamily("attention", 3, _attention),
        WarpFamily("projective", 8, _projective, projective=True),
        WarpFamily("tps", 32, None),
    )
}


def warp_family(name: str) -> WarpFamily:
    """Return a family by name.

    affine (6 numbers, added to the identity), rotation (1, radians), scaling (1, logarithm),
    translation (2), similarity (4), attention (3: logarithm of the scale, shift), projective (8,
    added to the identity), tps (32: displacements of 16 control points). Raises ProbeError for an
    unknown name. Source: Jaderberg et al. 2015, sections 3.1-3.2.

    >>> warp_family("attention").parameters
    3
    """
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    hint = f"did you mean '{near[0]}'? There" if near else "there"
    raise ProbeError(f"no family of warps named '{name}'; {hint} are {', '.join(FAMILIES)}")


def in_pixels(sources: Tensor, size: Size) -> Tensor:
    """Turn source matrices from half sides of a map of `size` into its cells or pixels."""
    half = min(size) / 2
    scaled = sources.clone()
    scaled[:, :2, 2] = sources[:, :2, 2] * half
    if sources.shape[1] == 3:
        scaled[:, 2, :2] = sources[:, 2, :2] / half
    return scaled


def unit_grid(sources: Tensor, out: Size, size: Size) -> Tensor:
    """Return the sampling grid of source matrices over a map of `size`, with `out` cells.

    An output of another size shows the same field of view, coarser or finer.
    """
    step = sources.new_tensor([size[1] / out[1], size[0] / out[0], 1.0])
    return sampling_grid(in_pixels(sources, size) * step, out, size)


def spline_grid(parameters: Tensor, out: Size, size: Size) -> Tensor:
    """Return the sampling grid of thin plate splines with parameters in half sides."""
    displacements = parameters.view(-1, 16, 2) * (min(size) / 2)
    return thin_plate_grid(displacements, out, size)


def composed(first: Tensor | None, then: Tensor | None) -> Tensor | None:
    """Return the source matrices of one warp followed by another, of what the first shows.

    The warped image of the first is read by the second, so its source acts last: first · then.
    None is the identity.
    """
    if first is None or then is None:
        return then if first is None else first
    rows = max(first.shape[1], then.shape[1])
    with full_precision(first.device):
        return (square(first) @ square(then))[:, :rows]


def square(sources: Tensor) -> Tensor:
    """Return source matrices (N, 2, 3) or (N, 3, 3) as (N, 3, 3)."""
    if sources.shape[1] == 3:
        return sources
    last = sources.new_tensor([0.0, 0.0, 1.0]).expand(len(sources), 1, 3)
    return torch.cat([sources, last], 1)
