"""Runs of transformations, and the text form in which command lines and results name them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import numpy as np

from .._limits import TRANSFORMS, quoted
from ..errors import ProbeError
from .transforms import (
    KINDS,
    Transform,
    affine,
    identity,
    reflection,
    rotation,
    scaling,
    shear,
    translation,
)

_BUILDERS: dict[str, tuple[Callable[..., Transform], tuple[int, ...]]] = {
    "identity": (identity, (0,)),
    "rotation": (rotation, (1,)),
    "scaling": (scaling, (1, 2)),
    "translation": (translation, (2,)),
    "reflection": (reflection, (1,)),
    "shear": (shear, (1, 2)),
    "affine": (affine, (6,)),
}
_EXAMPLES = "rotation:30, rotation:-180:180:15, scaling:0.5:2:9, translation:4,0, reflection:90"


def rotations(start: float, stop: float, *, step: float) -> tuple[Transform, ...]:
    """Rotations from `start` to `stop` in degrees, both included.

    The second end of a full turn is left out, because it is the first end again.

    >>> [h.parameter for h in rotations(-180, 180, step=90)]
    [-180.0, -90.0, 0.0, 90.0]
    >>> len(rotations(-180, 180, step=15)), len(rotations(-90, 90, step=15))
    (24, 13)
    """
    if not (step > 0 and stop >= start and all(map(math.isfinite, (start, stop, step)))):
        raise ProbeError(
            f"rotations({start:g}, {stop:g}, step={step:g}) needs start <= stop and step > 0"
        )
    between = (stop - start) / step
    _check_number(f"rotations({start:g}, {stop:g}, step={step:g})", between, "a larger step")
    number = math.floor(between + 1e-9) + 1
    angles = [start + step * index for index in range(number)]
    if stop - start >= 360:
        angles = [angle for angle in angles if angle < start + 360 - 1e-9]
    return tuple(rotation(angle) for angle in angles)


def scalings(start: float, stop: float, *, number: int) -> tuple[Transform, ...]:
    """`number` uniform scalings from `start` to `stop`, both included, equal steps in log scale.

    >>> [round(h.parameter, 4) for h in scalings(0.5, 2, number=5)]
    [0.5, 0.7071, 1.0, 1.4142, 2.0]
    """
    if not (start > 0 and stop > 0 and number >= 1 and math.isfinite(start * stop)):
        raise ProbeError(
            f"scalings({start:g}, {stop:g}, number={number}) needs positive ends and number >= 1"
        )
    if number == 1 and start != stop:
        raise ProbeError(f"scalings({start:g}, {stop:g}, number=1): give number >= 2 or one factor")
    _check_number(f"scalings({start:g}, {stop:g}, number={number})", number, "a smaller number")
    exponents = np.linspace(math.log2(start), math.log2(stop), number).tolist()
    factors = [2.0**exponent for exponent in exponents]
    factors[0], factors[-1] = float(start), float(stop)
    # 2 ** 1e-17 is 1.0000000000000002 on some grids: an identity must be exactly that.
    return tuple(scaling(1.0 if abs(f - 1.0) < 1e-12 else f) for f in factors)


def _check_number(what: str, number: float, remedy: str) -> None:
    if number > TRANSFORMS:
        raise ProbeError(
            f"{what} would be {quoted(number)} transformations; give {remedy}, for at most "
            f"{TRANSFORMS}"
        )


def parse_transforms(text: str) -> tuple[Transform, ...]:
    """Transformations from text: single ones, sequences, or several joined by spaces or ';'.

    Convention: ``rotation:START:STOP:STEP`` in degrees counter-clockwise on the screen,
    ``scaling:START:STOP:NUMBER`` log-spaced, factors > 1 enlarge; single ones as
    ``kind:parameters``. Raises ProbeError naming the part that is not understood.

    >>> parse_transforms("rotation:-90:90:90 scaling:2")
    (rotation(-90.0), rotation(0.0), rotation(90.0), scaling(2.0))
    >>> parse_transforms(affine(1, 0.5, 0, 0, 1, 3).text)[0] == affine(1, 0.5, 0, 0, 1, 3)
    True
    """
    parts = text.replace(";", " ").split()
    if not parts:
        raise ProbeError(f"no transformation in {text!r}; write for example {_EXAMPLES}")
    moves = [transform for part in parts for transform in _parse_one(part)]
    _check_number("the transformations", len(moves), "fewer")
    return tuple(moves)


def _parse_one(part: str) -> tuple[Transform, ...]:
    kind, *fields = part.split(":")
    if kind not in _BUILDERS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"write for example {_EXAMPLES}"
        raise ProbeError(f"unknown transformation {part!r}; {hint}")
    try:
        numbers = [[float(value) for value in field.split(",")] for field in fields]
    except ValueError:
        raise ProbeError(
            f"cannot read the numbers in {part!r}; write for example {_EXAMPLES}"
        ) from None
    build, counts = _BUILDERS[kind]
    if len(numbers) == 3 and all(len(field) == 1 for field in numbers):
        start, stop, last = (field[0] for field in numbers)
        if kind == "rotation":
            return rotations(start, stop, step=last)
        if kind == "scaling" and last.is_integer():
            return scalings(start, stop, number=int(last))
    elif len(numbers) <= 1:
        values = numbers[0] if numbers else []
        if len(values) in counts:
            return (build(*values),)
    raise ProbeError(f"{part!r} has the wrong number of parameters; write for example {_EXAMPLES}")
