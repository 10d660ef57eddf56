"""What is read off a ladder: shares of a gap above the floor, what is left, whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rungs import BLACK, CEILING, FLOOR, ORANGE, Style, rung_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reading(Style):
    """A number read off the rungs.

    Attributes
    ----------
    meaning : in one line.
    ends : of a share of a gap above the floor, its top and what is reached; () for what is left.
    needs : the rungs that it is computed from.
    """

    meaning: str = ""
    ends: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def _share(label: str, top: str, reached: str, meaning: str, *look: object) -> Reading:
    colour, marker, line = look or (BLACK, "o", "-")
    needs = (top, reached, FLOOR)
    return Reading(label, str(colour), str(marker), line, "", meaning, (top, reached), needs)


READINGS = {
    "gain": _share(
        "gain", "unaligned", "inverse",
        "moving the maps back wins this share of what aligning the input wins over nothing done",
    ),
    "excess": Reading(
        "excess", BLACK, "o", "-", needs=("inverse", FLOOR),
        meaning="by this part of their variance moved maps lie farther off than those of the "
        "aligned input",
    ),
    "attribution": Reading(
        "attribution", BLACK, "o", "-", needs=("inverse", FLOOR, "resampling_floor"),
        meaning="of what is left after moving back, what interpolation alone would leave as well",
    ),
    "recovered": _share(
        "recovered", CEILING, "inverse",
        "share of the way from another image's maps to the floor, of which nothing done covers "
        "some as well; above 1 where moving maps costs less than moving the image",
    ),
    "won_by_permutation": _share(
        "won by a permutation", "inverse", "inverse_permuted",
        "share of the gap between the inverse and the floor that a permutation of channels closes",
        ORANGE, "D", (0, (1, 1)),
    ),
    "won_by_linear": _share(
        "won by a linear map", "inverse", "inverse_linear",
        "share of the gap between the inverse and the floor that a linear channel map closes",
        ORANGE, "X", "-",
    ),
}  # fmt: skip
"""Every number read off the rungs by name, in the order of tables."""

SHARES = {name: reading.ends for name, reading in READINGS.items() if reading.ends}
"""Quantities that are shares of a gap above the floor: (its top, what is reached)."""

OF_INVERSE = tuple(name for name in READINGS if not name.startswith("won_by"))
"""What is read off `inverse`, and stands beside the rungs in tables."""

LOST = "lost"
"""What no part of the ledger predicts."""

UNDETERMINED = "undetermined"
"""What a part that so few images do not determine would predict, or what is lost."""

SMALLEST_GAP = 1e-9
"""Of which shares are given, in units of a residual."""

_quiet = np.errstate(divide="ignore", invalid="ignore")  # of a layer that never varies


@_quiet
def share(residuals: Array, rungs: Sequence[str], name: str) -> Array:
    """(top − reached)/(top − floor) of residuals (..., rungs), for a name of `SHARES`.

    The gain is 1 if moving the maps back wins as much over nothing done as aligning the input
    does, 0 if it wins nothing, negative if it does harm. NaN where the top lies on the floor.
    """
    top, reached = SHARES[name]
    high, low, floor = (residuals[..., list(rungs).index(rung)] for rung in (top, reached, FLOOR))
    return quotient_of_gap(high - low, high - floor)


def quotient_of_gap(won: Array, gap: Array) -> Array:
    """What was won as a share of a gap; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap > SMALLEST_GAP, won / gap, np.nan)


@_quiet
def left(residuals: Array, rungs: Sequence[str], name: str) -> Array:
    """Excess or attribution of residuals (..., rungs).

    The excess is inverse − floor: by what part of their variance maps moved back lie farther from
    the original's than those of the aligned input. The attribution is the part of `inverse` that
    an exactly equivariant layer would leave as well: blurring images once and maps once, where the
    floor blurs images twice and the resampling floor maps twice. Blur adds up in amplitude, so
    that is ((√floor + √resampling floor)/2)². NaN where `inverse` is 0.
    """
    inverse, floor = (residuals[..., list(rungs).index(rung)] for rung in ("inverse", FLOOR))
    if name == "excess":
        return inverse - floor
    grid = residuals[..., list(rungs).index("resampling_floor")]
    anyway = np.square((np.sqrt(np.maximum(floor, 0)) + np.sqrt(np.maximum(grid, 0))) / 2)
    return np.where(inverse > SMALLEST_GAP, anyway / inverse, np.nan)


def read_off(residuals: Array, rungs: Sequence[str], name: str) -> Array:
    """Any of `READINGS` of residuals (..., rungs)."""
    return share(residuals, rungs, name) if name in SHARES else left(residuals, rungs, name)


def quotient(errors: Array, variance: Array) -> Array:
    """Errors as fractions of the variance; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return errors / variance


@_quiet
def ledger_shares(errors: Array, variance: Array) -> Array:
    """Shares of the variance (..., parts + 2, R): each part's, what is lost, what is undetermined.

    `errors` (..., parts, R) are those left by each prediction; the shares add up to 1. Where a part
    was not determined (NaN), so is what is lost, and what is left is undetermined.
    """
    left = quotient(errors, variance)
    known = np.isfinite(left)
    places = np.where(known, np.arange(left.shape[-2])[:, None], 0)
    filled = np.take_along_axis(left, np.maximum.accumulate(places, axis=-2), axis=-2)
    before = np.concatenate([np.ones_like(left[..., :1, :]), filled[..., :-1, :]], axis=-2)
    rest, whole = filled[..., -1:, :], known.all(axis=-2, keepdims=True)
    ends = [np.where(whole, rest, np.nan), np.where(whole, 0.0, rest)]
    return np.concatenate([before - left, *ends], axis=-2)


def readable(rungs: Sequence[str]) -> tuple[str, ...]:
    """The names whose rungs were measured, in the order of tables."""
    return tuple(name for name, one in READINGS.items() if set(one.needs) <= set(rungs))


def described(name: str) -> tuple[str, str]:
    """Label and meaning of a rung or of what is read off the rungs."""
    one = READINGS.get(name) or rung_of(name)
    return one.label, one.meaning
