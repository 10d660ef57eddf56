"""How far numbers may go that a user gives, and the line for those that go beyond."""

from __future__ import annotations

import math
from numbers import Integral, Real

from .errors import ProbeError, one_line

SEED = 2**64 - 1
"""The largest seed that every generator of random numbers takes."""

COUNT = 1_000_000_000
"""The most of anything that is counted: images, steps."""

BATCH = 1_000_000
"""The most images in one batch."""

DENSE = 64
"""The most points between neighbouring cells: their square is the number of passes."""

RESAMPLES = 20_000
"""The most sign flips or resamples: more move a p-value or an interval in its third digit only."""

TRANSFORMS = 10_000
"""The most transformations of a run: a step of 0.04 degrees over a full turn."""

SIDE, PIXELS = 16_384, 2**25
"""The longest side of a canvas, and the most pixels: maps of more fill any memory."""


def quoted(value: object) -> str:
    """A value as an error shows it, also a number of more digits than Python writes.

    >>> quoted("a"), quoted(10**5000)
    ("'a'", 'a number of 16610 bits')
    """
    try:
        return one_line(repr(value), 200)
    except (ValueError, RecursionError):
        bits = f" of {value.bit_length()} bits" if isinstance(value, int) else ""
        return f"a number{bits}" if bits else f"a {type(value).__name__}"


def is_formula(text: str) -> bool:
    """Whether a spreadsheet computes a cell that holds this text.

    >>> is_formula("=1+1"), is_formula(" -x"), is_formula("conv1")
    (True, True, False)
    """
    return text.lstrip().startswith(("=", "+", "-", "@"))


def check_whole(name: str, value: object, least: int, most: int, also: str = "") -> int:
    """Return a whole number from `least` to `most`; ProbeError for anything else.

    `also` says what else may be given.
    """
    number = int(value) if not isinstance(value, bool) and isinstance(value, Integral) else None
    if number is None or not least <= number <= most:
        raise ProbeError(
            f"{name}={quoted(value)} is out of range; give a whole number of at least {least} and "
            f"at most {most}{also}"
        )
    return number


def is_real(value: object, low: float, high: float) -> bool:
    """Whether a value is a finite number from `low` up to, not with, `high`.

    >>> is_real(1, 0, 2), is_real(True, 0, 2), is_real(10**400, 0, math.inf)
    (True, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    return math.isfinite(number) and low <= number < high


def check_canvas(rows: object, columns: object) -> tuple[int, int]:
    """Return (rows, columns) in pixels that a map can have; ProbeError for others."""
    size = (
        check_whole("canvas rows", rows, 1, SIDE),
        check_whole("canvas columns", columns, 1, SIDE),
    )
    if size[0] * size[1] > PIXELS:
        raise ProbeError(
            f"a canvas of {size[0]}x{size[1]} pixels is more than any memory holds maps of; give "
            f"at most {PIXELS} pixels, such as {int(PIXELS**0.5)}x{int(PIXELS**0.5)}"
        )
    return size
