"""Several results on the same images: values, paired differences, p-values over many rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...alignment.intervals import students_t
from ..ladder.shares import SHARES, quotient_of_gap
from ..result import Result
from ..rungs import FLOOR

Array = NDArray[np.float64]

_ENTRIES = 2_000_000  # signs held at a time
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
    NaN. `drawing` holds level, number of sign flips (`resamples`) and their seed.
    """
    layers: list[tuple[Array, ...]] = []
    images = len(next(iter(named.values())).axes["image"])
    worst = np.zeros((len(quantities), drawing["resamples"]))
    for row in paired.values():
        # One network at a time: equal sums then give equal bits, and differences of exactly 0.
        parts = [
            _values(result, layer, moves, rungs, quantities)
            for result, layer in zip(named.values(), row, strict=True)
        ]
        won, gap = (np.stack(part, axis=2) for part in zip(*parts, strict=True))
        shares = quotient_of_gap(won, gap)  # (transforms, quantities, networks, 1 + images)
        value, low, high = _ends(shares, drawing["level"])
        residual = ~np.isin(quantities, list(SHARES))
        low[:, residual] = np.maximum(low[:, residual], 0)
        ends = _ends(shares - shares[:, :, [base]], drawing["level"])
        # Two shares are equal where this is 0. A share itself has heavy tails where its gap is
        # small, and one such row would set the p-values of all.
        contrast = _pseudo(won * gap[:, :, [base]] - won[:, :, [base]] * gap)
        distance = _studentised(contrast, np.ones((1, images)))[..., 0]
        start = 0
        for signs in _flips(drawing["seed"], drawing["resamples"], images):
            drawn = np.nan_to_num(_studentised(contrast, signs), nan=0.0).max(axis=(0, 2))
            part = worst[:, start : start + len(signs)]
            start += np.maximum(part, drawn, out=part).shape[1]
        layers.append((value, low, high, *ends, distance))
    *columns, distance = (np.stack(part) for part in zip(*layers, strict=True))
    p = np.empty_like(distance)
    for number, drawn in enumerate(np.sort(worst, axis=-1)):
        below = np.searchsorted(drawn, distance[:, :, number] * (1 - 1e-12))
        p[:, :, number] = (1 + len(drawn) - below) / (1 + len(drawn))
    names = ("value", "low", "high", "difference", "difference_low", "difference_high")
    out = dict(zip(names, columns, strict=True))
    out["p_adjusted"] = np.where(np.isnan(distance), np.nan, p)
    for name in (*names[3:], "p_adjusted"):
        out[name][..., base] = np.nan
    return out


def _flips(seed: int, number: int, images: int) -> Iterator[Array]:
    """Random signs (draws, images), block by block: the same for every layer."""
    generator = np.random.default_rng(seed)
    for first in range(0, number, step := max(1, _ENTRIES // images)):
        drawn = generator.integers(2, size=(min(step, number - first), images))
        yield 2 * drawn.astype(np.float64) - 1


def _values(
    result: Result,
    layer: str,
    moves: pd.DataFrame,
    rungs: Sequence[str],
    quantities: Sequence[str],
) -> tuple[Array, Array]:
    """Numerators and denominators (transforms, quantities, 1 + images): all, then all but one."""
    place = result.axes["layer"].index(layer)
    chosen = [result.axes["rung"].index(rung) for rung in rungs]
    own = result.errors[place][:, chosen]
    # The variance is the same under all: a mean of ratios is the ratio of mean errors.
    errors = np.stack([own[which].mean(axis=0) for which in moves["which"]])
    variance = result.variance[place]
    total, whole = errors.sum(-1, keepdims=True), variance.sum(keepdims=True)
    parts = (np.concatenate([total, total - errors], -1), np.append(whole, whole - variance))
    return _quotients(*parts, rungs, quantities)


def _pseudo(values: Array) -> Array:
    """Pseudo-values (..., images) of a statistic of all images and of all but one (..., 1 + N)."""
    number = values.shape[-1] - 1
    return number * values[..., :1] - (number - 1) * values[..., 1:]


def _ends(values: Array, level: float) -> tuple[Array, Array, Array]:
    """The statistic of all images and the ends of its interval, as `alignment.interval`."""
    number = values.shape[-1] - 1
    spread = _pseudo(values).std(axis=-1, ddof=1) / np.sqrt(number)
    half = students_t(number, level) * spread
    return values[..., 0], values[..., 0] - half, values[..., 0] + half


def _studentised(pseudo: Array, signs: Array) -> Array:
    """|mean| in standard errors of pseudo-values (..., N) under signs (flips, N).

    What is 0 up to rounding is none of them, whatever the error.
    """
    number = pseudo.shape[-1]
    mean = pseudo @ signs.T / number
    square = np.square(pseudo).mean(axis=-1)[..., None]
    error = np.sqrt(np.clip(square - mean**2, 0, None) / (number - 1))
    size = np.abs(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > _ROUNDING, size / error, np.inf)
    still = np.sqrt(square) <= _ROUNDING
    return np.where((size > _ROUNDING) & ~still, t, np.where(np.isnan(size), np.nan, 0.0))


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
