"""Second-order refinement of alignments from the moments: batched Levenberg-Marquardt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import Frame
from .families import Family
from .quadratic import ErrorSurface

Array = NDArray[np.float64]

_ITERATIONS = 60
_TOLERANCE = 1e-8  # decrease of the error, as a fraction of the energy, that counts as none
_STEP = 1e-5  # cells; smaller moves count as standing still
_DAMPING = 1e-7  # at least: directions that do not matter would make the system singular
_FIELD = {3: 4, 6: 3, 10: 2, 15: 1}  # after so many iterations, only so many distinct starts go on
_TWINS = 0.1  # cells; starts that have come so close are on the way to the same minimum


@dataclass(frozen=True)
class Refined:
    """Where each start came to rest: sampling matrices in image coordinates, errors, statuses."""

    matrices: Array
    errors: Array
    status: tuple[str, ...]
    iterations: NDArray[np.int64]


def refine(surface: ErrorSurface, frame: Frame, family: Family, starts: Array) -> Refined:
    """Descend from each start to a local minimum of the squared error, never upwards.

    `starts` (K, 3, 3) are the maps a = g⁻¹ by which an aligned map reads, in image coordinates.
    Statuses: "converged", "bound" (scale limit 1/4 or 4), "flat" (the error does not depend on
    the parameters) and "iterations" (stopped early, as starts far behind the best and starts that
    follow a better one are). Gauss-Newton curvature with Marquardt's scaling; a step counts only
    if the exact error falls.

    Convention: image coordinates, centred, pixels, y down.
    """
    mirror = np.where(np.linalg.det(starts[:, :2, :2]) < 0, -1.0, 1.0)
    flips = np.zeros((len(starts), 3, 3))
    flips[:, 0, 0], flips[:, 1, 1], flips[:, 2, 2] = mirror, 1.0, 1.0
    image = surface.points.cpu().numpy() @ frame.matrix.T
    pairs = (image[:, :, None] * image[:, None, :]).reshape(-1, 9)
    to_cells = 1.0 / np.asarray(frame.jump)

    def evaluate(p: Array, which: NDArray[np.intp]) -> tuple[Array, Array, Array]:
        """Errors (K), gradients (K, n) and curvatures (K, n, n): every error term depends on the
        parameters through the six entries of the sampling matrix alone."""
        sampled = frame.inverse_matrix @ family.matrices(p) @ flips[which] @ frame.matrix
        error, slope, curve = surface.derivatives(torch.from_numpy(sampled).to(surface.points))
        tangent = (family.tangent(p) * to_cells[:, None, None]).reshape(len(p), 6, -1)
        tangent *= np.tile(np.einsum("knn->kn", flips[which]), 2)[:, :, None]
        slopes = slope.cpu().numpy().transpose(0, 2, 1).reshape(-1, len(image))
        curves = curve.flatten(2).cpu().numpy().transpose(0, 2, 1).reshape(-1, len(image))
        by_entry = (slopes @ image).reshape(-1, 1, 6)
        by_pair = (curves @ pairs).reshape(-1, 2, 2, 3, 3).transpose(0, 1, 3, 2, 4)
        gradient = (by_entry @ tangent)[:, 0]
        hessian = tangent.transpose(0, 2, 1) @ by_pair.reshape(-1, 6, 6) @ tangent
        return error.cpu().numpy(), gradient, hessian

    def travel(before: Array, after: Array) -> Array:
        """Farthest move in cells (K) of any sample between matrices (K, 3, 3)."""
        moves = (after - before)[:, :2] @ image.T * to_cells[:, None]
        return np.asarray(np.abs(moves).max(axis=(1, 2)))

    parameters = family.parameters(starts @ flips)
    everyone = np.arange(len(starts))
    errors, gradients, hessians = evaluate(parameters, everyone)
    damping = np.full(len(starts), 1e-3)
    status = np.full(len(starts), "iterations", dtype=object)
    iterations = np.zeros(len(starts), dtype=np.int64)
    active = everyone
    # Of the order of the maps' squares, even where the original has none.
    scale = max(surface.target, float(errors.max()), 1e-300)
    for round_ in range(_ITERATIONS):
        if round_ in _FIELD:
            leaders = _distinct(family.matrices(parameters) @ flips, errors, travel)
            leaders = leaders[: _FIELD[round_]]
            active = active[np.isin(active, leaders)]
            if not len(active):
                break
        diagonal = np.einsum("knn->kn", hessians[active])
        flat = diagonal.max(1) <= 1e-12 * scale
        status[active[flat]] = "flat"
        active, diagonal = active[~flat], diagonal[~flat]
        if not len(active):
            break
        iterations[active] += 1
        # A direction without curvature would make the system singular: give it a little.
        weight = np.maximum(diagonal, 1e-7 * diagonal.max(1, keepdims=True))
        system = hessians[active] + np.einsum(
            "kn,nm->knm", damping[active, None] * weight, np.eye(weight.shape[1])
        )
        step = -np.linalg.solve(system, gradients[active][..., None])[..., 0]
        trial = family.limited(parameters[active] + step)
        error, gradient, hessian = evaluate(trial, active)
        fell = error < errors[active]
        flip = flips[active]
        moved = travel(family.matrices(parameters[active]) @ flip, family.matrices(trial) @ flip)
        still = (errors[active] - error < _TOLERANCE * scale) & fell | (moved < _STEP)
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
    return Refined(matrices, errors, tuple(str(s) for s in status), iterations)


def _distinct(matrices: Array, errors: Array, travel: Callable[[Array, Array], Array]) -> list[int]:
    """Indices from the best error upwards, without those that follow a better one."""
    kept: list[int] = []
    for index in np.argsort(errors, kind="stable").tolist():
        here = np.broadcast_to(matrices[index], (len(kept), 3, 3))
        if not kept or travel(matrices[kept], here).min() > _TWINS:
            kept.append(index)
    return kept
