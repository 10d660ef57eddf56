"""The distorted data sets by name: canvas, law, clutter, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator

from ..sizes import Size
from . import clutter, parameters
from .clutter import Clutter
from .poses import Poses


@dataclass(frozen=True)
class Variant:
    """A distribution of distortions of 28x28 digits.

    Attributes
    ----------
    name : as in data set names: "r" in mnist-r.
    law : draws the poses of all images of a pass.
    clutter : draws the patches that are added, from a number of training digits; or None.
    summary : the distribution in words, which identifies it in hashes too.
    mean, std : of MNIST so distorted. Those of r, t and s are the reference's; the others were
        measured on one pass over the 60,000 training images.
    """

    name: str
    canvas: Size
    law: Callable[[int, Generator], Poses]
    summary: str
    mean: float
    std: float
    clutter: Callable[[int, int, Generator], Clutter] | None = None


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("r", (28, 28), parameters.turned, "turned by U(-90, 90) degrees", 0.1307, 0.3081),
        Variant(
            "t",
            (60, 60),
            parameters.shifted,
            "shifted by round(U(-16, 16)) px, six 6x6 patches of other digits",
            0.0363,
            0.1870,
            clutter.crops_below_54,
        ),
        Variant(
            "s",
            (112, 112),
            parameters.scaled,
            "scaled by 2^U(-1, 2), six patches of other digits of 2 to 18 px",
            0.0414,
            0.1751,
            clutter.resized_crops,
        ),
        Variant(
            "rts",
            (42, 42),
            parameters.turned_scaled_placed,
            "turned by U(-45, 45) degrees, scaled by U(0.7, 1.2), anywhere on the canvas",
            0.0537,
            0.1962,
        ),
        Variant(
            "p",
            (28, 28),
            parameters.projected,
            "scaled by U(0.75, 1), corners moved by N(0, 5) px",
            0.0895,
            0.2468,
        ),
        Variant(
            "e",
            (28, 28),
            parameters.bent,
            "scaled by U(0.75, 1), 16 points of a thin plate spline moved by N(0, 1.5) px",
            0.1001,
            0.2590,
        ),
        Variant(
            "tc",
            (60, 60),
            parameters.placed_anywhere,
            "anywhere on the canvas, six 6x6 patches of other digits",
            0.0394,
            0.1798,
            clutter.crops_anywhere,
        ),
    )
}
