"""The best spatial alignment of a layer under one transformation, searched in the moments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Frame, Transform, coverage, from_matrix, identity
from .families import SCALE_LIMIT, Family, family_for
from .levels import Moments, PyramidMoments
from .quadratic import ErrorSurface
from .refinement import Ground, Refined, refine, settle
from .starts import explore, grid_starts

Array = NDArray[np.float64]

ANGLES = np.arange(-180.0, 180.0, 5.0)
"""Angles of `Alignment.by_angle`, degrees."""

SCALES = 2.0 ** np.linspace(-math.log2(SCALE_LIMIT), math.log2(SCALE_LIMIT), 13)
"""Factors of `Alignment.by_scale`."""

_SETTLED = 3  # minima around which the end is searched

LEAST = 0.5
"""Share of the compared cells that an alignment must read on the map."""

_TIE = 1e-9  # of the energy: differences that rounding makes


@dataclass(frozen=True)
class Alignment:
    """The outcome of a search: the best transform of the maps and how far it can be trusted.

    `transform` is the g that minimises the residual of T_g on the map over the family; residuals
    are in-sample, as fractions of the original's variance. `distance` is the root mean square
    displacement in image pixels between g and h⁻¹ over the compared cells. `coverage` is the
    share of compared cells that g reads on the map. `runner_up` is the best other minimum.
    `status` is "converged", "bound" (at the limit of scale, 1/4 or 4), "edge" (lower errors lie
    where too few cells are read on the map), "flat" or "iterations"; `start` says which start won.
    `by_angle` and `by_scale` are the residuals of pure rotations by `ANGLES` and scalings by
    `SCALES`.

    Convention: g moves content like any Transform: (T_g F)(x) = F(g⁻¹ x) in image coordinates.
    """

    transform: Transform
    residual: float
    inverse_residual: float
    identity_residual: float
    distance: float
    coverage: float
    status: str
    start: str
    iterations: int
    family: str
    runner_up: Transform | None
    runner_up_residual: float
    by_angle: tuple[float, ...]
    by_scale: tuple[float, ...]


def best_alignment(
    moments: Moments,
    transform: Transform,
    *,
    family: str | None = None,
    interpolation: str = "bilinear",
    starts: Sequence[Transform] = (),
    least: float = LEAST,
) -> Alignment:
    """Search all rotations, scales 1/4 … 4, places and mirrors for what best undoes `transform`.

    Only transforms that read at least a share `least` of the compared cells on the map count. A
    coarse grid of them, the identity and h⁻¹ are where clouds of tries begin; what these find is
    refined over the `family`: "rotation", "similarity", "affine", or by default the smallest that
    holds h⁻¹. The result is never worse, in-sample, than the identity, h⁻¹ and further `starts`
    (values of g), as far as they count and the family holds them. With two levels of moments grid
    and clouds are the coarse level's; the minima found there, the identity, h⁻¹ and `starts` are
    refined at full resolution.

    Convention: the search runs over g in image coordinates about the image centre; beyond the
    map's outermost cells the nearest cell repeats, and `coverage` reports how much.
    """
    chosen = Family(family) if family else family_for(transform)
    coarse = moments.coarse if isinstance(moments, PyramidMoments) else None
    moments = moments.fine if isinstance(moments, PyramidMoments) else moments
    frame, surface = moments.frame, ErrorSurface(moments, interpolation)
    scale = 1.0 / moments.energy if moments.energy > 0 else math.nan
    ground = Ground(surface, frame, chosen, least)
    # a = g⁻¹: reading by h undoes h.
    known = np.stack([transform.matrix, np.eye(3), *(g.inverse().matrix for g in starts)])
    known_errors, enough = ground.errors(known), ground.enough(known)
    told = known[enough]
    mirrored = np.linalg.det(transform.matrix[:2, :2]) < 0
    mirrors = (1.0, -1.0) if mirrored or chosen.name != "rotation" else (1.0,)
    if coarse is None:
        first = _basins(surface, frame, chosen, told, mirrors, least)
    else:
        fewer = ErrorSurface(coarse, interpolation)
        first = _basins(fewer, coarse.frame, chosen, told, mirrors, least)
    if chosen.name != "rotation":
        first = np.concatenate([first, _beside(ground, told)])
    first = np.concatenate([told, first])
    refined = _descend(surface, frame, chosen, told, first[ground.enough(first)], least)
    order = np.argsort(refined.errors, kind="stable")
    best = int(order[0])
    winner, error, start = _transform(refined.matrices[best]), refined.errors[best], "search"
    # An exact answer deserves its exact name, even if the descent found a 1e-10 better one.
    margin = _TIE * surface.target
    if chosen.contains(transform) and enough[0] and known_errors[0] <= error + margin:
        winner, error, start = transform.inverse(), known_errors[0], "inverse"
    if known_errors[1] <= error + margin * (start == "search"):
        winner, error, start = identity(), known_errors[1], "identity"

    points = frame.positions()[moments.cells.ravel()]
    runner = _runner_up(refined, order, points, frame)
    by_angle = ground.errors(grid_samplings(ANGLES, np.ones(1)))
    by_scale = ground.errors(grid_samplings(np.zeros(1), SCALES))
    return Alignment(
        transform=winner,
        residual=float(error * scale),
        inverse_residual=float(known_errors[0] * scale),
        identity_residual=float(known_errors[1] * scale),
        distance=displacement(winner, transform.inverse(), points),
        coverage=coverage(frame, winner, moments.cells),
        status=refined.status[best],
        start=start,
        iterations=int(refined.iterations[best]),
        family=chosen.name,
        runner_up=None if runner is None else _transform(refined.matrices[runner]),
        runner_up_residual=math.nan if runner is None else float(refined.errors[runner] * scale),
        by_angle=tuple((by_angle * scale).tolist()),
        by_scale=tuple((by_scale * scale).tolist()),
    )


def _beside(ground: Ground, known: Array) -> Array:
    """For each known start the best of those half a cell away.

    Where cells fall on cells, at 90° for one, sampling does not smooth: the error has a crease
    there that descent does not leave, though noise makes it lower on either side.
    """
    sides = [(x, y) for x in (-0.5, 0.0, 0.5) for y in (-0.5, 0.0, 0.5) if x or y]
    moved = np.repeat(known[:, None], len(sides), 1)
    moved[..., :2, 2] += np.array(sides) * ground.frame.jump
    errors = ground.errors(moved.reshape(-1, 3, 3)).reshape(len(known), -1)
    return np.asarray(moved[np.arange(len(known)), errors.argmin(1)])


def _basins(
    surface: ErrorSurface,
    frame: Frame,
    family: Family,
    known: Array,
    mirrors: tuple[float, ...],
    least: float,
) -> Array:
    """Sampling maps (K, 3, 3) at distinct low minima of the family, without its shears."""
    if family.name == "rotation":
        grid = np.concatenate([grid_samplings(ANGLES, np.ones(1), m) for m in mirrors])
    else:
        grid = grid_starts(surface, frame, mirrors, least)
    similar = Family("similarity") if family.name == "affine" else family
    return explore(Ground(surface, frame, similar, least), np.concatenate([known, grid]))


def _descend(
    surface: ErrorSurface, frame: Frame, family: Family, known: Array, starts: Array, least: float
) -> Refined:
    """Refine the starts, affine ones by way of similarities, and settle the best of them."""
    if family.name == "affine":
        similar = refine(surface, frame, Family("similarity"), starts, least=least)
        leaders = similar.matrices[np.argsort(similar.errors, kind="stable")[:3]]
        starts = np.concatenate([known, leaders])
    refined = refine(surface, frame, family, starts, least=least)
    ground = Ground(surface, frame, family, least)
    last = ground.distinct(refined.matrices, refined.errors, number=_SETTLED, apart=0.1)
    settled = settle(surface, frame, family, refined.matrices[last], least=least)
    status = list(refined.status)
    for index, own in zip(last, settled.status, strict=True):
        status[index] = "flat" if status[index] == "flat" else own
    refined.matrices[last], refined.errors[last] = settled.matrices, settled.errors
    refined.iterations[last] += settled.iterations
    return Refined(refined.matrices, refined.errors, tuple(status), refined.iterations)


def displacement(g: Transform, other: Transform, points: Array) -> float:
    """Root mean square distance in pixels between where g and `other` take the points (V, 2)."""
    moved = (np.c_[points, np.ones(len(points))] @ (g.matrix - other.matrix).T)[:, :2]
    return float(np.sqrt(np.square(moved).sum(1).mean()))


def grid_samplings(angles: Array, scales: Array, mirror: float = 1.0) -> Array:
    """Sampling maps a = g⁻¹ (angles·scales, 3, 3) of all pairs, angle by angle.

    Convention: g rotates by the angle counter-clockwise and enlarges by the scale.
    """
    radians, factors = np.meshgrid(np.radians(-angles), 1.0 / scales, indexing="ij")
    cos, sin = (factors * part(radians) for part in (np.cos, np.sin))
    result = np.zeros((radians.size, 3, 3))
    result[:, 0, 0], result[:, 0, 1] = mirror * cos.ravel(), sin.ravel()
    result[:, 1, 0], result[:, 1, 1] = -mirror * sin.ravel(), cos.ravel()
    result[:, 2, 2] = 1.0
    return result


def _runner_up(
    refined: Refined, order: NDArray[np.intp], points: Array, frame: Frame
) -> int | None:
    """The best minimum that is not the winner again: a cell or more away from it on average."""
    winner = _transform(refined.matrices[order[0]])
    for index in order[1:]:
        other = _transform(refined.matrices[index])
        if displacement(other, winner, points) > max(map(abs, frame.jump)):
            return int(index)
    return None


def _transform(sampled: Array) -> Transform:
    """g = a⁻¹ as a Transform."""
    return from_matrix(sampled).inverse()
