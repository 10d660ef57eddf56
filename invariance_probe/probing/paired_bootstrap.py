"""Paired bootstrap over several results: values, differences, and p-values over many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..alignment import bootstrap
from .assemble import SMALLEST_GAP
from .options import CEILING, FLOOR
from .result import Result

Array = NDArray[np.float64]

SHARES = {
    "recovered": (CEILING, "inverse"),
    "won_by_permutation": ("inverse", "inverse_permuted"),
    "won_by_linear": ("inverse", "inverse_linear"),
}
"""Quantities that are shares of a gap above the floor: (its top, what is reached)."""

_ROUNDING = 1e-12  # of values of order 1, summed in float64


def moves_of(result: Result) -> pd.DataFrame:
    """What values are given for: every transformation, and the mean over each kind of several.

    Columns `transform`, `kind`, `parameter`, `identity`, `transforms` (how many were averaged) and
    `which` (their places in the result). Means leave out the identity.
    """
    columns = ["transform", "kind", "parameter", "identity"]
    known = result.summary[columns].drop_duplicates("transform").set_index("transform")
    moves = known.loc[list(result.axes["transform"])].reset_index()
    moves["identity"] = moves["identity"].astype(bool)
    moves["transforms"], moves["which"] = 1, [[place] for place in range(len(moves))]
    means = []
    for kind, rows in moves[~moves["identity"]].groupby("kind", sort=False):
        if len(rows) > 1:
            means.append(
                {
                    "transform": f"mean of {len(rows)} {kind}s", "kind": kind, "parameter": np.nan,
                    "identity": False, "transforms": len(rows), "which": list(rows.index),
                }
            )  # fmt: skip
    return pd.concat([moves, pd.DataFrame(means)], ignore_index=True) if means else moves


def measure(
    named: Mapping[str, Result],
    paired: Mapping[str, Sequence[str]],
    moves: pd.DataFrame,
    rungs: Sequence[str],
    quantities: Sequence[str],
    base: int,
    drawing: Mapping[str, Any],
) -> dict[str, Array]:
    """Arrays (layers, transforms, quantities, networks) by name.

    `value`, `low`, `high`; `difference` to network number `base`, `difference_low`,
    `difference_high`; `p_adjusted` over all rows of a quantity. What is of the baseline itself is
    NaN. `drawing` holds resamples, level and seed of the bootstrap.
    """
    tail = (1 - drawing["level"]) / 2
    layers: list[tuple[Array, ...]] = []
    worst = np.zeros((len(quantities), drawing["resamples"]))
    for row in paired.values():
        # One network at a time: equal sums then give equal bits, and differences of exactly 0.
        parts = [
            _values(result, layer, moves, rungs, quantities, drawing)
            for result, layer in zip(named.values(), row, strict=True)
        ]
        value, low, high, won, gap = (np.stack(part, axis=2) for part in zip(*parts, strict=True))
        difference = value - value[:, :, [base]]
        shares = _share(won, gap)[..., 1:]
        with np.errstate(invalid="ignore"):
            ends = np.quantile(shares - shares[:, :, [base]], [tail, 1 - tail], axis=-1)
        # Two shares are equal where this is 0. A share itself has heavy tails where its gap is
        # small, and one such row would set the p-values of all.
        contrast = won * gap[:, :, [base]] - won[:, :, [base]] * gap
        seen, draws = contrast[..., 0], contrast[..., 1:]
        spread = draws.std(axis=-1, ddof=1)
        away = _in_errors(draws - seen[..., None], spread[..., None])
        worst = np.maximum(worst, np.nan_to_num(away, nan=0.0).max(axis=(0, 2)))
        distance = np.where(np.isnan(difference), np.nan, _in_errors(seen, spread))
        layers.append((value, low, high, difference, *ends, distance))
    *columns, distance = (np.stack(part) for part in zip(*layers, strict=True))
    p = np.empty_like(distance)
    for number, drawn in enumerate(np.sort(worst, axis=-1)):
        below = np.searchsorted(drawn, distance[:, :, number])
        p[:, :, number] = (1 + len(drawn) - below) / (1 + len(drawn))
    names = ("value", "low", "high", "difference", "difference_low", "difference_high")
    out = dict(zip(names, columns, strict=True))
    out["p_adjusted"] = np.where(np.isnan(distance), np.nan, p)
    for name in (*names[3:], "p_adjusted"):
        out[name][..., base] = np.nan
    return out


def _values(
    result: Result,
    layer: str,
    moves: pd.DataFrame,
    rungs: Sequence[str],
    quantities: Sequence[str],
    drawing: Mapping[str, Any],
) -> tuple[Array, Array, Array, Array, Array]:
    """Values of a layer (transforms, quantities), their ends, and what they are quotients of.

    Numerators and denominators (transforms, quantities, 1 + draws): as measured, then resampled.
    """
    place = result.axes["layer"].index(layer)
    chosen = [result.axes["rung"].index(rung) for rung in rungs]
    own = result.errors[place][:, chosen]
    # The variance is the same under all: a mean of ratios is the ratio of mean errors.
    errors = np.stack([own[which].mean(axis=0) for which in moves["which"]])
    variance = result.variance[place]
    seen = _quotients(errors.sum(-1)[..., None], variance.sum()[None], rungs, quantities)
    drawn = [seen]

    def statistic(sums: Array, energy: Array) -> Array:
        drawn.append(_quotients(sums, energy, rungs, quantities))
        return _share(*drawn[-1])

    low, high = bootstrap(statistic, errors, variance, **drawing)
    won, gap = (np.concatenate(part, axis=-1) for part in zip(*drawn, strict=True))
    return _share(*seen)[..., 0], low, high, won, gap


def _quotients(
    sums: Array, energy: Array, rungs: Sequence[str], quantities: Sequence[str]
) -> tuple[Array, Array]:
    """Numerators and denominators of quantities, from sums of errors (transforms, rungs, draws).

    Of a residual the denominator is 1; of a share they are what was reached of a gap, and the gap.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals = np.where(energy > 0, sums / energy, np.nan)
    values = {rung: residuals[:, number] for number, rung in enumerate(rungs)}
    won, gap = [], []
    for name in quantities:
        if name in SHARES:
            top, reached = (values[rung] for rung in SHARES[name])
            won.append(top - reached)
            gap.append(top - values[FLOOR])
        else:
            won.append(values[name])
            gap.append(np.ones_like(values[name]))
    return np.stack(won, axis=1), np.stack(gap, axis=1)


def _share(won: Array, gap: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap > SMALLEST_GAP, won / gap, np.nan)


def _in_errors(away: Array, spread: Array) -> Array:
    """|away| in standard errors; what is 0 up to rounding is none of them, whatever the error."""
    size = np.abs(away)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(spread > _ROUNDING, size / spread, np.inf)
    return np.where(size > _ROUNDING, t, np.where(np.isnan(size + spread), np.nan, 0.0))
