"""How many decimals numbers are written with: as many as unlike ones need to read unlike."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

ROUNDING = 1e-6  # of a variance: below it a number tells of float32, not of the network
_MOST = 7


def decimals(values: Sequence[float], least: int = 2) -> int:
    """Decimals for a value, or for a value with the ends of its interval.

    At least `least`; a small value gets two digits of its own, as far as its interval leaves any
    sense in them, and the ends of an interval differ where they are unlike.

    >>> decimals([1.373]), decimals([0.0024]), decimals([0.00019]), decimals([1e-9])
    (2, 4, 5, 2)
    >>> decimals([0.973, 0.9712, 0.9738])
    3
    >>> decimals([0.0004, -0.0322, 0.0284])
    2
    """
    digits = least
    size, ends = abs(values[0]), values[1:]
    wide = abs(ends[1] - ends[0]) if len(ends) == 2 and math.isfinite(sum(ends)) else 0.0
    if ROUNDING <= (size := max(size, wide / 2)) < 10.0**-least:
        digits = max(least, 1 - math.floor(math.log10(size)))
    if wide > ROUNDING:
        while digits < _MOST and f"{ends[0]:.{digits}f}" == f"{ends[1]:.{digits}f}":
            digits += 1
    return digits


def plain(value: float, digits: int = 2, of: Sequence[float] | None = None) -> str:
    """A number as tables write it, a dash where there is none; `of`: with whose decimals.

    >>> plain(1.745), plain(-0.001), plain(-1e-9), plain(float("nan")), plain(0.0002)
    ('1.75', '−0.0010', '0.00', '–', '0.00020')
    """
    if not math.isfinite(value):
        return "–"
    places = decimals([value] if of is None else of, digits)
    return re.sub(r"-(?=\d)", "−", f"{round(value, places) + 0.0:.{places}f}")


def with_interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """A number with its interval.

    >>> with_interval(1.37, 1.333, 1.41), with_interval(0.0024, 0.0021, 0.0027)
    ('1.37 [1.33, 1.41]', '0.0024 [0.0021, 0.0027]')
    """
    if not math.isfinite(value):
        return "–"
    shown = (plain(one, digits, (value, low, high)) for one in (value, low, high))
    return "{} [{}, {}]".format(*shown)


def with_reach(value: float, low: float, high: float, digits: int = 2) -> tuple[str, str]:
    """A number, and how far the farther end of its interval lies from it.

    >>> with_reach(1.37, 1.333, 1.41), with_reach(0.0024, 0.0021, 0.0027)
    (('1.37', '±0.04'), ('0.0024', '±0.0003'))
    >>> with_reach(0.975, 0.974, 0.976), with_reach(float("nan"), 0, 0)
    (('0.975', '±0.001'), ('–', ''))
    """
    if not math.isfinite(value):
        return "–", ""
    reach = max(value - low, high - value)
    places = decimals((value, low, high), digits)
    while places < _MOST and reach > ROUNDING and round(reach, places) == 0:
        places += 1
    shown = f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")
    return shown, f"±{reach:.{places}f}" if math.isfinite(reach) else ""
