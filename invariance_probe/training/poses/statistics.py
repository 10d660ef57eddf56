"""How well a spatial transformer brings objects to one pose: regression line and deviation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..._limits import RESAMPLES, check_whole
from ...alignment import bootstrap
from ...errors import ProbeError

Array = NDArray[np.float64]

KINDS: Mapping[str, tuple[str, ...]] = {
    "rotation": ("angle",),
    "scaling": ("log2_scale",),
    "translation_x": ("dx",),
    "translation_y": ("dy",),
    "translation": ("dx", "dy"),
}
"""Kinds of poses, with the columns (after applied_, predicted_, final_) that hold them."""

UNITS = {
    "rotation": "degrees", "scaling": "octaves", "translation_x": "px", "translation_y": "px",
    "translation": "px",
}  # fmt: skip
_STILL = 1e-6  # applied parameters that vary by less are constant


class Line(NamedTuple):
    """y = slope · x + intercept."""

    slope: float
    intercept: float


def orthogonal_regression(x: ArrayLike, y: ArrayLike) -> Line:
    """The line with the least sum of squared distances at right angles to it, in closed form.

    Deming regression with equal variances of both errors, which treats x and y alike: swapping
    them inverts the slope. `x` and `y` are (N). The slope is infinite for points on a vertical
    line, and NaN where the points are one or spread alike in all directions.

    Raises ProbeError for lengths that differ and for fewer than two points.

    >>> orthogonal_regression([0, 1, 2], [1, 0, -1])
    Line(slope=-1.0, intercept=1.0)
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (x, y))
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ProbeError(
            f"a line through points with x {a.shape} and y {b.shape}; give two lists of one "
            "length, at least 2"
        )
    mean_x, mean_y = a.mean(), b.mean()
    a, b = a - mean_x, b - mean_y
    slope = float(_slope(a @ a, a @ b, b @ b))
    return Line(slope, float(mean_y - slope * mean_x) if np.isfinite(slope) else np.nan)


def pose_deviation(final: ArrayLike, labels: ArrayLike) -> float:
    """Standard deviation of final poses about the mean of their own class, pooled over classes.

    sqrt(1/N · Σ over classes, over their samples, of ‖final − mean of the class‖²), in the unit of
    `final`, which is (N), or (N, D) for D coordinates together. A pose that is always the same
    within a class has deviation 0, wherever the class comes to rest.

    Raises ProbeError where lengths differ or nothing is given.
    Source: Finnveden, Jansson & Lindeberg, ICPR 2020, evaluation of the learned transformations.

    >>> pose_deviation([10, 10, -5, -5], [0, 0, 1, 1])
    0.0
    >>> pose_deviation([1, -1, 6, 4], [0, 0, 1, 1])
    1.0
    """
    values, classes = np.asarray(final, dtype=np.float64), np.asarray(labels)
    if len(values) != len(classes) or len(values) == 0:
        raise ProbeError(f"{len(values)} final poses with {len(classes)} labels; give one each")
    values = values.reshape(len(values), -1)
    _, which = np.unique(classes, return_inverse=True)
    residual = values - _class_means(values, which)[which]
    return float(np.sqrt(np.square(residual).sum() / len(values)))


def unwrap_angles(table: pd.DataFrame) -> pd.DataFrame:
    """A table of poses with whole turns added to predicted and final angles where that joins them.

    Angles read from matrices jump at ±180°. Each final angle is taken within half a turn of the
    circular mean of its class, that mean within half a turn of the circular mean of all, and the
    predicted angle within half a turn of final − applied. Nothing changes where poses stay less
    than half a turn from those means, as where applied angles are within ±90° and corrections
    small; then this is what the reference does, which does not unwrap at all.
    """
    final = table["final_angle"].to_numpy(dtype=np.float64)
    known = np.isfinite(final)
    if not known.any():
        return table
    _, which = np.unique(table["label"].to_numpy()[known], return_inverse=True)
    points = np.exp(1j * np.radians(final[known]))
    sums = np.zeros(which.max() + 1, dtype=np.complex128)
    np.add.at(sums, which, points)
    middle = np.degrees(np.angle(points.sum()))
    classes = middle + _wrapped(np.degrees(np.angle(sums)) - middle)
    final, predicted = final.copy(), table["predicted_angle"].to_numpy(dtype=np.float64, copy=True)
    final[known] += 360 * np.round((classes[which] - final[known]) / 360)
    wanted = final - table["applied_angle"].to_numpy(dtype=np.float64)
    predicted[known] += 360 * np.round((wanted[known] - predicted[known]) / 360)
    return table.assign(final_angle=final, predicted_angle=predicted)


def varied_kinds(table: pd.DataFrame) -> list[str]:
    """The kinds that were applied to different degrees: those worth asking about."""
    varied = []
    for kind, parts in KINDS.items():
        values = table[[f"applied_{part}" for part in parts]].to_numpy(dtype=np.float64)
        if len(values) > 1 and (values.std(axis=0) > _STILL).all():
            varied.append(kind)
    return varied


def pose_statistics(
    table: pd.DataFrame,
    kinds: str | list[str] | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Regression of predicted on applied poses, and deviation of final ones, per kind.

    `table` is what `collect_poses` returns; by default all kinds whose applied parameter varies.
    One row a kind, "rotation" (degrees), "scaling" (octaves: log2 of the factor), "translation_x",
    "translation_y" and both together, "translation" (input pixels), with columns `kind`, `unit`,
    `slope`, `slope_low`, `slope_high`, `intercept`, `deviation`, `deviation_low`,
    `deviation_high`, `n` (samples) and `left_out` (those without a finite pose).

    Slope and intercept are of the orthogonal regression: -1 says that every rotation is undone, 0
    that nothing is done about it. Scatter of the predictions (errors, classes brought to different
    poses) steepens the line, by about half the ratio of its variance to that of the applied poses,
    since the regression blames both variables alike: look at the deviation too. "translation" pools
    both coordinates about their own means and has no intercept (NaN). The deviation is
    `pose_deviation`. Intervals are percentile bootstraps over the images: all samples of an image
    are drawn together. Angles are unwrapped as `unwrap_angles` says.

    Raises ProbeError for unknown kinds, and where nothing varies.
    """
    check_whole("resamples", resamples, 1, RESAMPLES)
    asked = [kinds] if isinstance(kinds, str) else kinds
    for name in asked or ():
        if name not in KINDS:
            raise ProbeError(f"no kind of pose {name!r}; there are {', '.join(KINDS)}")
    chosen = varied_kinds(table) if asked is None else asked
    if not chosen:
        raise ProbeError(
            "all samples were transformed alike, so that nothing can be said about alignment; "
            "give data that are rotated, scaled or shifted, such as mnist-r"
        )
    finite = np.isfinite(table.filter(regex="^(predicted|final)_").to_numpy()).all(axis=1)
    used = unwrap_angles(table[finite])
    if used.groupby("label").ngroups == 0 or used["index"].nunique() < 2:
        raise ProbeError(
            f"{len(used)} of {len(table)} samples have a finite pose, of fewer than 2 images; "
            "give more images, or a network that has been trained without failure"
        )
    drawn = {"resamples": resamples, "level": level, "seed": seed}
    rows = [_row(used, kind, drawn) | {"left_out": int((~finite).sum())} for kind in chosen]
    return pd.DataFrame(rows)


def _row(table: pd.DataFrame, kind: str, drawn: dict[str, Any]) -> dict[str, Any]:
    x, y, final = (
        table[[f"{name}_{part}" for part in KINDS[kind]]].to_numpy(dtype=np.float64)
        for name in ("applied", "predicted", "final")
    )
    means, sums = _moments(x, y, final, table)
    slope, deviation = _statistic(sums.sum(axis=1)[:, None], x.shape[1])[:, 0]
    low, high = bootstrap(
        lambda totals, _: _statistic(totals, x.shape[1]), sums, np.ones(sums.shape[1]), **drawn
    )
    intercept = means[1][0] - slope * means[0][0] if x.shape[1] == 1 else np.nan
    return {
        "kind": kind, "unit": UNITS[kind], "slope": slope, "slope_low": low[0],
        "slope_high": high[0], "intercept": intercept, "deviation": deviation,
        "deviation_low": low[1], "deviation_high": high[1], "n": len(table),
    }  # fmt: skip


def _moments(
    x: Array, y: Array, final: Array, table: pd.DataFrame
) -> tuple[tuple[Array, Array], Array]:
    """Means of x and y, and sums (rows, images) from which all statistics can be computed.

    Rows: samples; per coordinate Σx, Σy, Σxx, Σxy, Σyy about the means; Σ‖f‖²; then per class its
    samples and, per coordinate, Σf about the mean of the class.
    """
    means = x.mean(axis=0), y.mean(axis=0)
    x, y = x - means[0], y - means[1]
    _, which = np.unique(table["label"].to_numpy(), return_inverse=True)
    final = final - _class_means(final, which)[which]
    _, image = np.unique(table["index"].to_numpy(), return_inverse=True)
    columns = [np.ones(len(x))]
    for a, b in zip(x.T, y.T, strict=True):
        columns += [a, b, a * a, a * b, b * b]
    columns.append(np.square(final).sum(axis=1))
    sums = [np.bincount(image, weights=values)[None] for values in columns]
    images, classes = int(image.max()) + 1, int(which.max()) + 1
    place = which * images + image
    own = [
        np.bincount(place, weights=values, minlength=classes * images).reshape(classes, images)
        for values in (np.ones(len(x)), *final.T)
    ]
    return means, np.concatenate([*sums, np.stack(own, axis=1).reshape(-1, images)])


def _statistic(sums: Array, coordinates: int) -> Array:
    """Slope and deviation (2, R) from the rows of `_moments`, summed (rows, R)."""
    number, rest = sums[0], sums[1:]
    scatter = np.zeros((3, sums.shape[1]))
    for _ in range(coordinates):
        (a, b, aa, ab, bb), rest = rest[:5], rest[5:]
        scatter += [aa - a * a / number, ab - a * b / number, bb - b * b / number]
    squares, classes = rest[0], rest[1:].reshape(-1, 1 + coordinates, sums.shape[1])
    members = np.maximum(classes[:, :1], 1)  # classes not drawn have nothing to subtract
    within = squares - (np.square(classes[:, 1:]) / members).sum(axis=(0, 1))
    return np.stack([_slope(*scatter), np.sqrt(np.maximum(within, 0) / number)])


def _slope(xx: Any, xy: Any, yy: Any) -> Array:
    """Slope of the principal axis of a scatter matrix."""
    xx, xy, yy = np.maximum(xx, 0.0), np.asarray(xy), np.maximum(yy, 0.0)
    # tan of half the angle of (xx - yy, 2 xy), in the form that does not cancel.
    difference, twice = xx - yy, 2 * xy
    size = np.hypot(difference, twice)
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = twice / (size + difference)
        steep = (size - difference) / twice
        steep = np.where(twice == 0, np.where(difference < 0, np.inf, np.nan), steep)
    return np.where(difference >= 0, flat, steep)


def _class_means(values: Array, which: NDArray[np.intp]) -> Array:
    """(classes, D) means of values (N, D) by class."""
    counts = np.bincount(which)
    return np.stack([np.bincount(which, weights=column) / counts for column in values.T], axis=1)


def _wrapped(degrees: Array) -> Array:
    """Angles within [-180, 180)."""
    return (degrees + 180) % 360 - 180
