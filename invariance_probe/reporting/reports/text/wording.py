"""Numbers and names as the report's sentences write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...drawing.panels import factor_text
from ...tables.decimals import decimals, plain, with_interval
from .numbers import Estimate

_NAMED = 3  # more layers than these are counted, not listed

_PLURAL = {
    "rotation": "rotations", "scaling": "scalings", "translation": "translations",
    "reflection": "reflections", "shear": "shears", "affine": "affine transformations",
}  # fmt: skip


def percent(value: float) -> str:
    """A share in percent; more digits where rounding would make it 0 or 100.

    >>> percent(0.284), percent(0.997), percent(1.0), percent(-0.03), percent(-0.0004)
    ('28\u00a0%', '99.7\u00a0%', '100\u00a0%', '−3\u00a0%', '0.0\u00a0%')
    """
    return f"{_hundredths(value)}\u00a0%"


def share(estimate: Estimate) -> str:
    """A share with its interval.

    >>> share(Estimate(0.284, 0.25, 0.312))
    '28\u00a0% [25, 31]'
    >>> share(Estimate(0.0103, 0.0098, 0.0108))
    '1.0\u00a0% [1.0, 1.1]'
    >>> share(Estimate(0.0002, 0.00001, 0.0004)), share(Estimate(0.0049, 0.0049, 0.0051))
    ('0.020\u00a0% [0.001, 0.040]', '0.49\u00a0% [0.49, 0.51]')
    """
    values = (estimate.value, estimate.low, estimate.high)
    least = decimals(values) - 2
    shown = [_hundredths(value, least) for value in values]
    return f"{shown[0]}\u00a0% [{shown[1]}, {shown[2]}]"


def number(value: float, digits: int = 2) -> str:
    """A residual; a dash where there is none.

    >>> number(1.745), number(-0.001), number(float("nan"))
    ('1.75', '−0.0010', '–')
    """
    return plain(value, digits)


def interval(estimate: Estimate, digits: int = 2) -> str:
    """A residual with its interval.

    >>> interval(Estimate(1.37, 1.333, 1.41))
    '1.37 [1.33, 1.41]'
    """
    return with_interval(estimate.value, estimate.low, estimate.high, digits)


def joined(names: Sequence[str], word: str = "and") -> str:
    """Names as a phrase.

    >>> joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def layers_phrase(names: Sequence[str], among: int) -> str:
    """Layers by name, or counted where there are many.

    >>> layers_phrase(["a", "b"], 4), layers_phrase(list("abcd"), 4), layers_phrase(list("abcd"), 9)
    ('a and b', 'all 4 layers', '4 of the 9 layers')
    """
    if len(names) == among and among > 1:
        return "both layers" if among == 2 else f"all {among} layers"
    return joined(names) if len(names) <= _NAMED else f"{len(names)} of the {among} layers"


def plural(kind: str) -> str:
    """A kind of transformation, several of them."""
    return _PLURAL.get(kind, f"{kind} transformations")


def moves_phrase(kind: str, transforms: Sequence[str], parameters: Sequence[float]) -> str:
    """Which transformations are spoken of.

    >>> moves_phrase("rotation", ["rotation:90"], [90.0])
    'a rotation by 90°'
    >>> moves_phrase("scaling", ["scaling:0.5", "scaling:2"], [0.5, 2.0])
    'scalings (mean over 2, by 1/2 to 2)'
    """
    single = all("," not in text for text in transforms)
    if len(transforms) == 1:
        if kind in ("rotation", "scaling") and single:
            return f"a {kind} by {_parameter(kind, parameters[0])}"
        return transforms[0]
    reach = ""
    if kind in ("rotation", "scaling") and single:
        low, high = min(parameters), max(parameters)
        reach = f", by {_parameter(kind, low)} to {_parameter(kind, high)}"
    return f"{plural(kind)} (mean over {len(transforms)}{reach})"


def _parameter(kind: str, value: float) -> str:
    if kind == "rotation":
        return f"{value:g}°".replace("-", "−")
    return factor_text(value)


def _hundredths(value: float, least: int = 0) -> str:
    if not math.isfinite(value):
        return "–"
    points = 100 * value
    exact = points in (0.0, 100.0)
    digits = least if exact or (abs(points) >= 0.5 and abs(points - 100) >= 0.5) else max(least, 1)
    shown = f"{points:.{digits}f}"
    return (shown if shown.strip("-0.") else shown.lstrip("-")).replace("-", "−")
