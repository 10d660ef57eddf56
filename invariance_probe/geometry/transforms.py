"""Image transformations as small values with algebra: compose, invert, write and read back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError

_COUNTS = {  # of parameters
    "identity": (0,),
    "rotation": (1,),
    "scaling": (1, 2),
    "translation": (2,),
    "reflection": (1,),
    "shear": (2,),
    "affine": (6,),
}
KINDS = tuple(_COUNTS)


@dataclass(frozen=True)
class Transform:
    """An affine transformation h of the image plane, kept as its kind and parameters.

    Build one with `rotation`, `scaling`, `translation`, `reflection`, `shear`, `affine` or
    `identity`; combine with ``h @ g`` (g acts first) and undo with ``h.inverse()``.

    Convention: origin at the canvas centre, unit one pixel, x right, y down; angles in degrees,
    positive counter-clockwise as seen on the screen; factors > 1 enlarge. The 3x3 float64
    `matrix` acts on points and moves content: (T_h f)(x) = f(h⁻¹ x).

    >>> h = rotation(30) @ scaling(2)
    >>> h.inverse() @ h == identity() or (h.inverse() @ h).isclose(identity())
    True
    >>> rotation(30) @ rotation(60)
    rotation(90.0)
    >>> rotation(90).matrix[:2, :2].astype(int).tolist()
    [[0, 1], [-1, 0]]
    """

    kind: str
    parameters: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kind not in _COUNTS:
            raise ProbeError(
                f"unknown transformation kind {self.kind!r}; there are {', '.join(KINDS)}"
            )
        counts = _COUNTS[self.kind]
        if len(self.parameters) not in counts:
            raise ProbeError(
                f"{self!r} has {len(self.parameters)} parameters; "
                f"kind {self.kind!r} takes {' or '.join(map(str, counts))}"
            )
        if not all(math.isfinite(value) for value in self.parameters):
            raise ProbeError(f"{self!r} has a parameter that is not finite; give finite numbers")
        if abs(np.linalg.det(self.matrix[:2, :2])) < 1e-12:
            raise ProbeError(f"{self!r} cannot be undone (determinant 0); give an invertible one")

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """The 3x3 float64 matrix acting on column vectors (x, y, 1) in image coordinates."""
        matrix = _matrix(self.kind, self.parameters)
        matrix.setflags(write=False)
        return matrix

    def inverse(self) -> Transform:
        """The transformation that undoes this one, in closed form."""
        p = self.parameters
        if self.kind in ("identity", "reflection"):
            return self
        if self.kind in ("rotation", "translation"):
            return Transform(self.kind, tuple(-value + 0.0 for value in p))
        if self.kind == "scaling":
            return Transform("scaling", tuple(1.0 / value for value in p))
        if self.kind == "shear" and 0.0 in p:
            return Transform("shear", tuple(-value + 0.0 for value in p))
        (a, b, c), (d, e, f) = self.matrix[:2].tolist()
        det = a * e - b * d
        inverse = (e, -b, b * f - c * e, -d, a, c * d - a * f)
        return affine(*(value / det for value in inverse))

    def __matmul__(self, other: Transform) -> Transform:
        """Composition: ``(h @ g)`` first applies g, then h."""
        if not isinstance(other, Transform):
            return NotImplemented
        if self.kind == "identity":
            return other
        if other.kind == "identity":
            return self
        p, q = self.parameters, other.parameters
        if self.kind == other.kind:
            if self.kind == "rotation":
                return rotation(p[0] + q[0])
            if self.kind == "translation":
                return translation(p[0] + q[0], p[1] + q[1])
            if self.kind == "scaling":
                return scaling(p[0] * q[0], p[-1] * q[-1])
        return from_matrix(self.matrix @ other.matrix)

    def isclose(self, other: Transform, tolerance: float = 1e-9) -> bool:
        """Whether both move every point alike: matrices equal up to `tolerance` per entry."""
        return bool(np.allclose(self.matrix, other.matrix, rtol=tolerance, atol=tolerance))

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves, exactly."""
        return bool((self.matrix == np.eye(3)).all())

    @property
    def is_similarity(self) -> bool:
        """Whether this is a rotation, uniform scaling and translation (no reflection, no shear)."""
        (a, b), (c, d) = self.matrix[:2, :2].tolist()
        size = math.hypot(a, b)
        return abs(a - d) <= 1e-9 * size and abs(b + c) <= 1e-9 * size

    @property
    def angle(self) -> float:
        """Rotation part in degrees (polar decomposition), counter-clockwise on the screen."""
        (a, b), (c, d) = self.matrix[:2, :2].tolist()
        if a * d - b * c < 0:  # measured after mirroring x, so that reflection(90) has angle 0
            a, c = -a, -c
        return math.degrees(math.atan2(b - c, a + d))

    @property
    def scale(self) -> float:
        """Linear enlargement: the square root of |det| of the linear part."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:2, :2]))))

    @property
    def parameter(self) -> float:
        """The number a curve is drawn against: angle in degrees, factor, or first parameter."""
        return self.parameters[0] if self.parameters else 0.0

    @property
    def text(self) -> str:
        """The form for command lines and tables, which `parse_transforms` reads back.

        >>> rotation(-22.5).text
        'rotation:-22.5'
        """
        if not self.parameters:
            return self.kind
        return f"{self.kind}:" + ",".join(_number(value) for value in self.parameters)

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(repr(value) for value in self.parameters)})"

    def __str__(self) -> str:
        return self.text


def identity() -> Transform:
    """The transformation that moves nothing."""
    return Transform("identity", ())


def rotation(degrees: float) -> Transform:
    """Rotation about the canvas centre; multiples of 90° have exact integer matrices.

    Convention: positive counter-clockwise as seen on the screen; kept within ±180°.
    """
    degrees = float(degrees)
    if not -180.0 <= degrees <= 180.0 and math.isfinite(degrees):
        degrees = math.remainder(degrees, 360.0)
    return Transform("rotation", (degrees + 0.0,))


def scaling(factor: float, factor_y: float | None = None) -> Transform:
    """Scaling about the canvas centre, uniform unless `factor_y` differs from `factor`.

    Convention: factors > 1 enlarge. Raises ProbeError unless both are positive and finite.
    """
    values = (float(factor),) if factor_y in (None, factor) else (float(factor), float(factor_y))
    if not all(value > 0 and math.isfinite(value) for value in values):
        given = ", ".join(map(repr, values))
        raise ProbeError(f"scaling({given}) needs positive factors; mirror with reflection(angle)")
    return Transform("scaling", values)


def translation(dx: float, dy: float) -> Transform:
    """Shift of the content by (dx, dy) pixels.

    Convention: x right, y down.
    """
    return Transform("translation", (float(dx) + 0.0, float(dy) + 0.0))


def reflection(axis_degrees: float) -> Transform:
    """Mirror image across the line through the centre at `axis_degrees`.

    Convention: the axis is measured counter-clockwise from the x axis: ``reflection(90)`` swaps
    left and right, ``reflection(0)`` swaps top and bottom; multiples of 45° are exact.
    """
    return Transform("reflection", (float(axis_degrees) + 0.0,))


def shear(kx: float, ky: float = 0.0) -> Transform:
    """Shear: (x, y) goes to (x + kx·y, y + ky·x).

    Convention: x right, y down, so that kx > 0 pushes the lower half to the right.
    """
    return Transform("shear", (float(kx) + 0.0, float(ky) + 0.0))


def affine(a: float, b: float, c: float, d: float, e: float, f: float) -> Transform:
    """The general case, by the first two rows of its matrix: [[a, b, c], [d, e, f]].

    Convention: acts on (x, y, 1) in centred image coordinates, pixels, y down.
    """
    return Transform("affine", tuple(float(value) + 0.0 for value in (a, b, c, d, e, f)))


def from_matrix(matrix: NDArray[np.float64] | Sequence[Sequence[float]]) -> Transform:
    """The transformation with this 3x3 (or 2x3) matrix in image coordinates."""
    rows = np.asarray(matrix, dtype=np.float64)
    if rows.shape not in ((3, 3), (2, 3)):
        raise ProbeError(f"a transformation needs a 3x3 or 2x3 matrix, not shape {rows.shape}")
    if len(rows) == 3 and not np.allclose(rows[2], (0.0, 0.0, 1.0), rtol=0.0, atol=1e-12):
        raise ProbeError(
            f"the last row of the matrix is {rows[2].tolist()}, not [0, 0, 1]: affine only"
        )
    return affine(*rows[:2].ravel().tolist())


def _matrix(kind: str, p: tuple[float, ...]) -> NDArray[np.float64]:
    linear, shift = [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]
    if kind == "rotation":
        cos, sin = _cos_sin(p[0])
        linear = [[cos, sin], [-sin, cos]]  # y points down, so counter-clockwise has +sin here
    elif kind == "scaling":
        linear = [[p[0], 0.0], [0.0, p[-1]]]
    elif kind == "translation":
        shift = list(p)
    elif kind == "reflection":
        cos, sin = _cos_sin(2 * p[0])
        linear = [[cos, -sin], [-sin, -cos]]
    elif kind == "shear":
        linear = [[1.0, p[0]], [p[1], 1.0]]
    elif kind == "affine":
        linear, shift = [[p[0], p[1]], [p[3], p[4]]], [p[2], p[5]]
    return np.array([[*linear[0], shift[0]], [*linear[1], shift[1]], [0.0, 0.0, 1.0]])


def _cos_sin(degrees: float) -> tuple[float, float]:
    """Cosine and sine, exact at multiples of 90°."""
    quarter, rest = divmod(degrees, 90.0)
    if rest == 0.0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
    radians = math.radians(degrees)
    return math.cos(radians), math.sin(radians)


def _number(value: float) -> str:
    """The shortest text that reads back as the same float, without a trailing '.0'."""
    text = repr(value)
    return text.removesuffix(".0")
