"""Refinement of alignments from the moments: Levenberg-Marquardt in step, then a pattern search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import Frame
from .families import Family
from .quadratic import ErrorSurface

Array = NDArray[np.float64]

ITERATIONS = 60
FIELD = {2: 4, 4: 2, 7: 1}
"""After so many iterations, only so many distinct starts go on."""

_TOLERANCE = 1e-8  # decrease of the error, as a fraction of the energy, that counts as none
_STEP = 1e-5  # cells; smaller moves count as standing still
_DAMPING = 1e-7  # at least: directions that do not matter would make the system singular
_TWINS = 0.1  # cells; starts that have come so close are on the way to the same minimum
_WIDE, _NARROW = 0.25, 0.005  # cells; first and last step of the pattern
_ALONE = 0.2  # cells; below this step only the best goes on
_FRAMES = 2  # rotated sets of directions in each round of the pattern
_ROUNDS = 40  # of the pattern at most


@dataclass(frozen=True)
class Refined:
    """Where each start came to rest: sampling matrices in image coordinates, errors, statuses."""

    matrices: Array
    errors: Array
    status: tuple[str, ...]
    iterations: NDArray[np.int64]


class Ground:
    """The error over a family's members that read at least a share `least` of the cells on the map.

    Members are parameters (K, n) with the mirrors `flips` (K, 3, 3) of `flips_of`.

    Convention: image coordinates, centred, pixels, y down.
    """

    def __init__(
        self, surface: ErrorSurface, frame: Frame, family: Family, least: float = 0.0
    ) -> None:
        self.surface, self.frame, self.family, self.least = surface, frame, family, least
        self._to_cells = 1.0 / np.asarray(frame.jump)
        self._to_sampled = np.kron(frame.inverse_matrix.T, frame.matrix)
        self._image = surface.points.cpu().numpy() @ frame.matrix.T
        self._pairs = (self._image[:, :, None] * self._image[:, None, :]).reshape(-1, 9)
        low, high = self._image.min(0), self._image.max(0)
        self._corners = np.array(
            [[x, y, 1.0] for x in (low[0], high[0]) for y in (low[1], high[1])]
        )

    def sampled(self, matrices: Array) -> Array:
        """The maps from cells to cells (K, 3, 3) of maps given in image coordinates."""
        return (matrices.reshape(-1, 9) @ self._to_sampled).reshape(-1, 3, 3)

    def errors(self, matrices: Array) -> Array:
        """Squared errors (K) of sampling maps (K, 3, 3) given in image coordinates."""
        return np.asarray(self.surface.error(self.sampled(matrices)).cpu())

    def rough(self, matrices: Array) -> Array:
        """`errors` in single precision, for ranking."""
        return self.surface.rough(self.sampled(matrices)).cpu().numpy().astype(float)

    def enough(self, matrices: Array) -> NDArray[np.bool_]:
        """Which sampling maps (K, 3, 3) read enough of the cells on the map."""
        # What lies between corners that are read on the map is read on the map.
        middle = (np.array(self.frame.size[::-1])[:, None] - 1) / 2
        places = self._read(matrices) + self.frame.inverse_matrix[:2, 2:]
        enough = np.asarray((np.abs(places - middle) <= middle + 0.5).all((1, 2)))
        rest = np.flatnonzero(~enough)
        if len(rest):
            covered = self.surface.coverage(self.sampled(matrices[rest]))
            enough[rest] = covered >= self.least - 1e-9
        return enough

    def derivatives(self, p: Array, flips: Array) -> tuple[Array, Array, Array]:
        """Errors (K), gradients (K, n) and curvatures (K, n, n).

        Every error term depends on the parameters through six entries of the matrix alone.
        """
        matrices = self.family.matrices(p) @ flips
        sampled = torch.from_numpy(self.sampled(matrices)).to(self.surface.points)
        error, slope, curve = self.surface.derivatives(sampled)
        tangent = self._tangent(p, flips)
        slopes = slope.cpu().numpy().transpose(0, 2, 1).reshape(-1, len(self._image))
        curves = curve.flatten(2).cpu().numpy().transpose(0, 2, 1).reshape(-1, len(self._image))
        by_entry = (slopes @ self._image).reshape(-1, 1, 6)
        by_pair = (curves @ self._pairs).reshape(-1, 2, 2, 3, 3).transpose(0, 1, 3, 2, 4)
        gradient = (by_entry @ tangent)[:, 0]
        hessian = tangent.transpose(0, 2, 1) @ by_pair.reshape(-1, 6, 6) @ tangent
        return error.cpu().numpy(), gradient, hessian

    def directions(self, p: Array, flips: Array) -> Array:
        """Changes of parameters (K, n, n), a row a direction, that move the cells by one cell root
        mean square, each in another way."""
        spread = np.kron(np.eye(2), self._pairs.mean(0).reshape(3, 3))
        tangent = self._tangent(p, flips)
        moves, axes = np.linalg.eigh(tangent.transpose(0, 2, 1) @ spread @ tangent)
        moves = moves.clip(1e-9 * moves.max(1, keepdims=True).clip(1e-300))
        return np.asarray((axes / np.sqrt(moves)[:, None]).transpose(0, 2, 1))

    def around(self, matrices: Array, steps: Array) -> Array:
        """The members (K·M, 3, 3) by each of the steps (M, n), in cells, from (K, 3, 3)."""
        flips = flips_of(matrices)
        p = self.family.parameters(matrices @ flips)
        near = (p[:, None] + steps @ self.directions(p, flips)).reshape(-1, p.shape[1])
        found = self.family.matrices(self.family.limited(near))
        return found * np.repeat(np.einsum("knn->kn", flips), len(steps), 0)[:, None]

    def travel(self, before: Array, after: Array) -> Array:
        """Farthest move in cells (K) of the corners of the compared cells between matrices."""
        return np.asarray(np.abs(self._read(after) - self._read(before)).max((1, 2)))

    def distinct(self, matrices: Array, errors: Array, *, number: int, apart: float) -> list[int]:
        """Indices from the best error upwards, without those that follow a better one."""
        order = np.argsort(errors, kind="stable")
        places = np.ascontiguousarray(self._read(matrices)[order].reshape(-1, 8).T)
        kept: list[int] = []
        while len(order) and len(kept) < number:
            kept.append(int(order[0]))
            far = np.abs(places - places[:, :1]).max(0) > apart
            order, places = order[far], places[:, far]
        return kept

    def _read(self, matrices: Array) -> Array:
        """Where the corners are read (K, 2, 4), in cells from the image's centre."""
        places = (matrices[:, :2].reshape(-1, 3) @ self._corners.T).reshape(-1, 2, 4)
        return np.asarray(places * self._to_cells[:, None])

    def _tangent(self, p: Array, flips: Array) -> Array:
        """Derivatives (K, 6, n) in cells of the rows of the sampling matrix before its mirror."""
        tangent = self.family.tangent(p) * self._to_cells[:, None, None]
        tangent = tangent.reshape(len(p), 6, p.shape[1])
        return tangent * np.tile(np.einsum("knn->kn", flips), 2)[:, :, None]


def flips_of(matrices: Array) -> Array:
    """The mirror in x (K, 3, 3) of those that reverse orientation, the identity of the others."""
    flips = np.tile(np.eye(3), (len(matrices), 1, 1))
    flips[:, 0, 0] = np.where(np.linalg.det(matrices[:, :2, :2]) < 0, -1.0, 1.0)
    return flips


def refine(
    surface: ErrorSurface,
    frame: Frame,
    family: Family,
    starts: Array,
    *,
    least: float = 0.0,
) -> Refined:
    """Descend from each start to a local minimum of the squared error, never upwards.

    `starts` (K, 3, 3) are the maps a = g⁻¹ by which an aligned map reads, in image coordinates.
    Statuses: "converged", "bound" (scale limit 1/4 or 4), "flat" (the error does not depend on
    the parameters) and "iterations" (stopped early, as starts far behind the best and starts that
    follow a better one are). Gauss-Newton curvature with Marquardt's scaling; a step counts only
    if the exact error falls.

    Convention: image coordinates, centred, pixels, y down.
    """
    ground, flips = Ground(surface, frame, family, least), flips_of(starts)
    parameters = family.parameters(starts @ flips)
    everyone = np.arange(len(starts))
    errors, gradients, hessians = ground.derivatives(parameters, flips)
    damping = np.full(len(starts), 1e-3)
    status = np.full(len(starts), "iterations", dtype=object)
    made = np.zeros(len(starts), dtype=np.int64)
    active = everyone
    # Of the order of the maps' squares, even where the original has none.
    scale = max(surface.target, float(errors.max(initial=0)), 1e-300)
    for round_ in range(ITERATIONS):
        if round_ in FIELD:
            leaders = ground.distinct(
                family.matrices(parameters) @ flips, errors, number=FIELD[round_], apart=_TWINS
            )
            active = active[np.isin(active, leaders)]
            if not len(active):
                break
        diagonal = np.einsum("knn->kn", hessians[active])
        flat = diagonal.max(1) <= 1e-12 * scale
        status[active[flat]] = "flat"
        active, diagonal = active[~flat], diagonal[~flat]
        if not len(active):
            break
        made[active] += 1
        # A direction without curvature would make the system singular: give it a little.
        weight = np.maximum(diagonal, 1e-7 * diagonal.max(1, keepdims=True))
        system = hessians[active] + np.einsum(
            "kn,nm->knm", damping[active, None] * weight, np.eye(weight.shape[1])
        )
        step = -np.linalg.solve(system, gradients[active][..., None])[..., 0]
        trial = family.limited(parameters[active] + step)
        error, gradient, hessian = ground.derivatives(trial, flips[active])
        flip = flips[active]
        before, after = (family.matrices(p) @ flip for p in (parameters[active], trial))
        fell = error < errors[active]
        fell[fell] = ground.enough(after[fell])
        moved = ground.travel(before, after)
        still = fell & (error > errors[active] - _TOLERANCE * scale) | (moved < _STEP)
        better = active[fell]
        parameters[better], errors[better] = trial[fell], error[fell]
        gradients[better], hessians[better] = gradient[fell], hessian[fell]
        damping[active] = np.where(fell, damping[active] / 5, damping[active] * 8)
        np.maximum(damping, _DAMPING, out=damping)
        still |= damping[active] > 1e9
        status[active[still]] = "converged"
        active = active[~still]
        if not len(active):
            break
    status[(status == "converged") & family.at_limit(parameters)] = "bound"
    matrices = family.matrices(parameters) @ flips
    return Refined(matrices, errors, tuple(str(s) for s in status), made)


def settle(
    surface: ErrorSurface, frame: Frame, family: Family, starts: Array, *, least: float = 0.0
) -> Refined:
    """Search around rests (K, 3, 3) for what creases and the limits of scale and coverage hide.

    Descent stops at a crease, as interpolation makes them wherever samples cross cells, and at a
    limit. Here steps in many directions, of half a cell down to a two-hundredth, are tried in turn
    and the best is taken. Statuses: "bound", "edge" (lower errors lie where too few cells are read
    on the map), "converged", and "iterations" for all that stopped early.

    Convention: image coordinates, centred, pixels, y down.
    """
    ground, flips = Ground(surface, frame, family, least), flips_of(starts)
    p = family.parameters(starts @ flips)
    number, size = p.shape
    random = np.random.default_rng(0)
    errors, steps = ground.errors(starts), np.full(number, _WIDE)
    edge = np.zeros(number, dtype=bool)
    made = np.zeros(number, dtype=np.int64)
    last = np.zeros_like(p)
    for _ in range(_ROUNDS):
        on = np.flatnonzero(steps >= _NARROW)
        if steps.min() < _ALONE:
            on = on[on == errors.argmin()]
        if not len(on):
            break
        made[on] += 1
        turned = np.linalg.qr(random.normal(size=(_FRAMES, size, size)))[0].reshape(-1, size)
        ways = np.concatenate([turned, -turned]) @ ground.directions(p[on], flips[on])
        trial = p[on, None] + steps[on, None, None] * ways
        trial = np.concatenate([trial, (p[on] + last[on])[:, None]], 1)
        each = trial.shape[1]
        trial = family.limited(trial.reshape(-1, size))
        matrices = family.matrices(trial) @ np.repeat(flips[on], each, 0)
        values = ground.errors(matrices)
        lower = np.array(values < np.repeat(errors[on], each), dtype=bool)
        inside = np.zeros_like(lower)
        inside[lower] = ground.enough(matrices[lower])
        values[~inside] = np.inf
        values = values.reshape(-1, each)
        better = np.asarray(np.isfinite(values).any(1))
        edge[on] = lower.reshape(-1, each).any(1) & ~better
        best = trial.reshape(-1, each, size)[np.arange(len(on)), values.argmin(1)]
        last[on] = np.where(better[:, None], best - p[on], 0)
        p[on] = np.where(better[:, None], best, p[on])
        errors[on] = np.where(better, values.min(1), errors[on])
        steps[on] = np.where(better, steps[on], steps[on] / 2)
    status = np.where(steps < _NARROW, "converged", "iterations")
    status[edge], status[family.at_limit(p)] = "edge", "bound"
    return Refined(family.matrices(p) @ flips, errors, tuple(map(str, status)), made)
