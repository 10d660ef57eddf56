"""Second-order refinement of alignments from the moments: batched Levenberg-Marquardt."""

from __future__ import annotations

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
_FIELD = {5: 3, 12: 2}  # after so many iterations, only so many of the best starts go on


@dataclass(frozen=True)
class Refined:
    """Where each start came to rest: sampling matrices in image coordinates, errors, statuses."""

    matrices: Array
    errors: Array
    status: tuple[str, ...]
    iterations: Array


def refine(surface: ErrorSurface, frame: Frame, family: Family, starts: Array) -> Refined:
    """Descend from each start to a local minimum of the squared error, never upwards.

    `starts` (K, 3, 3) are the maps a = g⁻¹ by which an aligned map reads, in image coordinates.
    Statuses: "converged", "bound" (scale limit 1/4 or 4), "flat" (the error does not depend on
    the parameters) and "iterations" (stopped early, as starts far behind the best are). Gauss-Newton curvature with Marquardt's
    scaling; a step counts only if the exact error falls.

    Convention: image coordinates, centred, pixels, y down.
    """
    mirror = np.where(np.linalg.det(starts[:, :2, :2]) < 0, -1.0, 1.0)
    flips = np.zeros((len(starts), 3, 3))
    flips[:, 0, 0], flips[:, 1, 1], flips[:, 2, 2] = mirror, 1.0, 1.0
    cells = surface.points.cpu().numpy()
    image = cells @ frame.matrix.T
    points = np.einsum("kij,vj->kvi", flips, image)[..., :2]
    jump = np.asarray(frame.jump)

    def evaluate(p: Array, which: NDArray[np.intp]) -> tuple[Array, Array, Array]:
        sampled = frame.inverse_matrix @ family.matrices(p) @ flips[which] @ frame.matrix
        error, slope, curve = surface.derivatives(torch.from_numpy(sampled).to(surface.points))
        jacobian = family.jacobian(p, points[which]) / jump[:, None]
        gradient = np.einsum("kvd,kvdn->kn", slope.cpu().numpy(), jacobian)
        curved = np.einsum("kvde,kvem->kvdm", curve.cpu().numpy(), jacobian)
        hessian = np.einsum("kvdn,kvdm->knm", jacobian, curved)
        return error.cpu().numpy(), gradient, hessian

    parameters = family.parameters(starts @ flips)
    everyone = np.arange(len(starts))
    errors, gradients, hessians = evaluate(parameters, everyone)
    damping = np.full(len(starts), 1e-3)
    status = np.full(len(starts), "iterations", dtype=object)
    iterations = np.zeros(len(starts), dtype=np.int64)
    active = everyone
    scale = max(surface.target, 1e-300)
    for round_ in range(_ITERATIONS):
        if round_ in _FIELD:
            leaders = np.argsort(errors, kind="stable")[: _FIELD[round_]]
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
        weight = np.maximum(diagonal, 1e-9 * diagonal.max(1, keepdims=True))
        system = hessians[active] + np.einsum(
            "kn,nm->knm", damping[active, None] * weight, np.eye(weight.shape[1])
        )
        step = -np.linalg.solve(system, gradients[active][..., None])[..., 0]
        trial = family.limited(parameters[active] + step)
        error, gradient, hessian = evaluate(trial, active)
        fell = error < errors[active]
        moved = np.abs(
            np.einsum("kvdn,kn->kvd", family.jacobian(parameters[active], points[active]),
                      trial - parameters[active]) / jump
        ).max(axis=(1, 2))  # fmt: skip
        still = (errors[active] - error < _TOLERANCE * scale) & fell | (moved < _STEP)
        better = active[fell]
        parameters[better], errors[better] = trial[fell], error[fell]
        gradients[better], hessians[better] = gradient[fell], hessian[fell]
        damping[active] = np.where(fell, damping[active] / 5, damping[active] * 8)
        still |= damping[active] > 1e9
        status[active[still]] = "converged"
        active = active[~still]
        if not len(active):
            break
    status[(status == "converged") & family.at_limit(parameters)] = "bound"
    matrices = family.matrices(parameters) @ flips
    return Refined(matrices, errors, tuple(str(s) for s in status), iterations)
