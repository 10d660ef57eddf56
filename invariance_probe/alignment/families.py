"""Families of spatial transforms over which an alignment is searched, and their derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError
from ..geometry import Transform

Array = NDArray[np.float64]

SCALE_LIMIT = 4.0
NAMES = ("rotation", "similarity", "affine")


@dataclass(frozen=True)
class Family:
    """A family of maps x ↦ a(x), the positions at which an aligned map reads.

    The aligning transform is g = a⁻¹. Parameters enter linearly for similarities
    (p0, p1, tx, ty; linear part [[p0, p1], [−p1, p0]]) and affine maps (six entries), through
    the angle in radians for rotations. A candidate is a(x) = A(p)·m with m the identity or a
    mirror, so that orientation-reversing candidates are in reach.

    Convention: image coordinates, centred, pixels, y down; angles counter-clockwise on screen.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ProbeError(f"unknown family {self.name!r} of alignments; use {', '.join(NAMES)}")

    def contains(self, transform: Transform) -> bool:
        """Whether the family (mirrored or not) holds this transformation."""
        linear = transform.matrix[:2, :2]
        gram = linear.T @ linear
        size = float(np.trace(gram)) / 2
        conformal = np.allclose(gram, size * np.eye(2), rtol=1e-9, atol=1e-9 * size)
        pure = abs(size - 1) <= 1e-9 and not transform.matrix[:2, 2].any()
        return self.name == "affine" or (conformal and (pure or self.name == "similarity"))

    def parameters(self, matrices: Array) -> Array:
        """Parameters (K, n) of the members nearest to the 3x3 matrices (K, 3, 3)."""
        a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 0, 2]
        d, e, f = matrices[:, 1, 0], matrices[:, 1, 1], matrices[:, 1, 2]
        if self.name == "rotation":
            return np.arctan2(b - d, a + e)[:, None]
        if self.name == "similarity":
            return np.stack([(a + e) / 2, (b - d) / 2, c, f], 1)
        return np.stack([a, b, c, d, e, f], 1)

    def matrices(self, parameters: Array) -> Array:
        """3x3 matrices (K, 3, 3) of parameters (K, n)."""
        result = np.zeros((len(parameters), 3, 3))
        result[:, 2, 2] = 1.0
        p = parameters.T
        if self.name == "rotation":
            result[:, 0, 0] = result[:, 1, 1] = np.cos(p[0])
            result[:, 0, 1], result[:, 1, 0] = np.sin(p[0]), -np.sin(p[0])
        elif self.name == "similarity":
            result[:, 0, 0] = result[:, 1, 1] = p[0]
            result[:, 0, 1], result[:, 1, 0] = p[1], -p[1]
            result[:, 0, 2], result[:, 1, 2] = p[2], p[3]
        else:
            result[:, :2, :] = parameters.reshape(-1, 2, 3)
        return result

    def tangent(self, parameters: Array) -> Array:
        """Derivatives (K, 2, 3, n) of the first two rows of A(p) with respect to p (K, n)."""
        number = len(parameters)
        if self.name == "affine":
            return np.broadcast_to(np.eye(6).reshape(2, 3, 6), (number, 2, 3, 6))
        result = np.zeros((number, 2, 3, parameters.shape[1]))
        if self.name == "rotation":
            cos, sin = np.cos(parameters[:, 0]), np.sin(parameters[:, 0])
            result[:, 0, 0, 0] = result[:, 1, 1, 0] = -sin
            result[:, 0, 1, 0], result[:, 1, 0, 0] = cos, -cos
        else:
            result[:, 0, 0, 0] = result[:, 1, 1, 0] = 1.0
            result[:, 0, 1, 1], result[:, 1, 0, 1] = 1.0, -1.0
            result[:, 0, 2, 2] = result[:, 1, 2, 3] = 1.0
        return result

    def limited(self, parameters: Array) -> Array:
        """Parameters moved back to linear scales within 1/4 … 4."""
        if self.name == "rotation":
            return parameters
        linear = self.matrices(parameters)[:, :2, :2]
        scale = np.sqrt(np.abs(_determinants(linear))).clip(1e-12)
        factor = scale.clip(1 / SCALE_LIMIT, SCALE_LIMIT) / scale
        entries = [0, 1] if self.name == "similarity" else [0, 1, 3, 4]
        result = parameters.copy()
        result[:, entries] *= factor[:, None]
        return result

    def at_limit(self, parameters: Array) -> NDArray[np.bool_]:
        """Which parameters sit on the scale limit."""
        if self.name == "rotation":
            return np.zeros(len(parameters), dtype=bool)
        linear = self.matrices(parameters)[:, :2, :2]
        octaves = np.abs(np.log2(np.sqrt(np.abs(np.linalg.det(linear))).clip(1e-12)))
        return octaves >= math.log2(SCALE_LIMIT) - 1e-9


def family_for(transform: Transform) -> Family:
    """The smallest family that holds h⁻¹: similarity, or affine for shears and their like."""
    similarity = Family("similarity")
    return similarity if similarity.contains(transform) else Family("affine")


def _determinants(linear: Array) -> Array:
    """Of linear parts (K, 2, 2); NumPy's own takes longer than the error of a candidate."""
    return linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
