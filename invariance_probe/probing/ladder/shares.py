"""What is read off a ladder: shares of a gap above the floor, what is left, whose it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..options import CEILING, FLOOR

Array = NDArray[np.float64]

SHARES = {
    "gain": ("unaligned", "inverse"),
    "recovered": (CEILING, "inverse"),
    "won_by_permutation": ("inverse", "inverse_permuted"),
    "won_by_linear": ("inverse", "inverse_linear"),
}
"""Quantities that are shares of a gap above the floor: (its top, what is reached)."""

LEFT = ("excess", "attribution")
"""What is left after moving the maps back, and how much of that would be left anyway."""

LOST = "lost"
"""What no part of the ledger predicts."""

SMALLEST_GAP = 1e-9
"""Of which shares are given, in units of a residual."""


def share(residuals: Array, rungs: Sequence[str], name: str) -> Array:
    """(top − reached)/(top − floor) of residuals (..., rungs), for a name of `SHARES`.

    The gain is 1 if moving the maps back wins as much over nothing done as aligning the input
    does, 0 if it wins nothing, negative if it does harm. NaN where the top lies on the floor.
    """
    top, reached = SHARES[name]
    high, low, floor = (residuals[..., list(rungs).index(rung)] for rung in (top, reached, FLOOR))
    span = high - floor
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span > SMALLEST_GAP, (high - low) / span, np.nan)


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
    with np.errstate(divide="ignore", invalid="ignore"):
        anyway = np.square((np.sqrt(np.maximum(floor, 0)) + np.sqrt(np.maximum(grid, 0))) / 2)
        return np.where(inverse > SMALLEST_GAP, anyway / inverse, np.nan)


def read_off(residuals: Array, rungs: Sequence[str], name: str) -> Array:
    """Any of `SHARES` and `LEFT` of residuals (..., rungs)."""
    return left(residuals, rungs, name) if name in LEFT else share(residuals, rungs, name)


def quotient(errors: Array, variance: Array) -> Array:
    """Errors as fractions of the variance; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return errors / variance


def ledger_shares(errors: Array, variance: Array) -> Array:
    """Shares of the variance (..., parts + 1, R) that nested predictions win, and what is lost.

    `errors` (..., parts, R) are those left by each prediction; the shares add up to 1. A part that
    was not determined (NaN) stays NaN, and what it may hold counts as lost.
    """
    left = quotient(errors, variance)
    known = np.isfinite(left)
    places = np.where(known, np.arange(left.shape[-2])[:, None], 0)
    filled = np.take_along_axis(left, np.maximum.accumulate(places, axis=-2), axis=-2)
    before = np.concatenate([np.ones_like(left[..., :1, :]), filled[..., :-1, :]], axis=-2)
    return np.concatenate([before - left, filled[..., -1:, :]], axis=-2)


def readable(rungs: Sequence[str]) -> tuple[str, ...]:
    """The names whose rungs were measured, in the order of tables."""
    needs = {name: {*ends, FLOOR} for name, ends in SHARES.items()}
    left = {"excess": {"inverse", FLOOR}, "attribution": {"inverse", FLOOR, "resampling_floor"}}
    needs = {"gain": needs.pop("gain"), **left, **needs}
    return tuple(name for name, ends in needs.items() if ends <= set(rungs))
