"""From sums to one tidy table: every baseline beside our residuals of the same maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...alignment import interval, ratio
from ...geometry import Transform
from ..ladder.assemble import described
from ..ladder.shares import quotient, share
from ..options import Options
from .lie import GENERATORS
from .psnr import equivariance_psnr
from .state import RESIDUALS, TREATMENTS, LayerBaselines, OutputBaselines
from .variance import Aggregation, normalised_variance, summarised

Array = NDArray[np.float64]
Row = dict[str, Any]

OUTPUT = "output"
ALL = "all"
COLUMNS = ("layer", "measure", "transform", "kind", "parameter", "value", "low", "high", "images")

_VARIANCES = {"unaligned": "normalised_variance", "inverse": "same_equivariance"}


@dataclass(frozen=True)
class _Writer:
    """Rows of one layer; values with an interval are statistics of sums per image."""

    layer: str
    moves: Sequence[Transform]
    images: int
    options: Options

    def each(
        self,
        measure: str,
        sums: Array,
        energy: Array,
        statistic: Callable[[Array, Array], Array],
    ) -> Iterator[Row]:
        """A row per transformation and, of the means of the sums over them, one of "all"."""
        stacked = np.concatenate([sums, sums.mean(0, keepdims=True)])
        value = statistic(stacked.sum(-1, keepdims=True), energy.sum(keepdims=True))[..., 0]
        low, high = self.interval(statistic, stacked, energy)
        for place, one in enumerate(value):
            yield self.row(measure, self.about(place), one, low[place], high[place])

    def interval(
        self, statistic: Callable[[Array, Array], Array], sums: Array, energy: Array
    ) -> tuple[Array, Array]:
        return interval(statistic, sums, energy, level=self.options.level)

    def about(self, place: int) -> Row:
        """Transformation number `place`, the one after the last being all of them."""
        if place < len(self.moves):
            about = described(self.moves[place])
            return {name: about[name] for name in ("transform", "kind", "parameter")}
        kinds = list(dict.fromkeys(move.kind for move in self.moves))
        kind = kinds[0] if len(kinds) == 1 else "several"
        return {"transform": ALL, "kind": kind, "parameter": np.nan}

    def row(
        self, measure: str, about: Row, value: float, low: float = np.nan, high: float = np.nan
    ) -> Row:
        return {
            "layer": self.layer, "measure": measure, **about, "value": float(value),
            "low": float(low), "high": float(high), "images": self.images,
        }  # fmt: skip


def assemble_baselines(
    states: Sequence[LayerBaselines],
    output: OutputBaselines | None,
    moves: Sequence[Transform],
    images: int,
    options: Options,
    measures: Sequence[str],
    aggregation: Aggregation | None,
) -> pd.DataFrame:
    """The table of a pass whose states hold all sums."""
    rows: list[Row] = []
    for state in states:
        write = _Writer(state.name, moves, images, options)
        sums, energies = state.finish()
        rows += _residuals(write, state, sums)
        if "variance" in measures:
            rows += _variances(write, state, aggregation)
        if "distance" in measures:
            rows += write.each(
                "same_equivariance_distance", sums["distance"], np.ones(images), quotient
            )
        if "psnr" in measures:
            rows += _psnr(write, state, sums["psnr_error"])
        if "cka" in measures:
            rows += _cka(write, state)
        if "lie" in measures:
            cells = int(state.inside.sum())
            known = cells > 0 and bool(np.isfinite(energies).all())
            variance = state.inner_variance.compute()[0] if known else None
            rows += _lie(write, energies, variance, cells * state.channels)
    if output is not None and output.variance is not None and "lie" in measures:
        write = _Writer(OUTPUT, moves, images, options)
        energies = output.finish()
        variance = output.variance.compute()[0] if np.isfinite(energies).all() else None
        rows += _lie(write, energies, variance, output.classes)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _residuals(write: _Writer, state: LayerBaselines, sums: dict[str, Array]) -> Iterator[Row]:
    variance = state.variance.compute()[0]
    for rung in RESIDUALS:
        yield from write.each(rung, sums[rung], variance, _residual)
    stacked = np.stack([sums[rung] for rung in RESIDUALS], axis=1)  # (transforms, rungs, images)
    stacked = np.concatenate([stacked, stacked.mean(0, keepdims=True)])

    for name in ("gain", "recovered"):

        def of(errors: Array, energy: Array, name: str = name) -> Array:
            return share(np.moveaxis(_residual(errors, energy), -2, -1), RESIDUALS, name)

        low, high = write.interval(of, stacked, variance)
        for place, value in enumerate(share(ratio(stacked, variance), RESIDUALS, name)):
            yield write.row(name, write.about(place), value, low[place], high[place])


def _residual(errors: Array, energy: Array) -> Array:
    """Errors over variance; NaN for a layer that does not vary."""
    return np.where(energy > 0, quotient(errors, energy), np.nan)


def _variances(
    write: _Writer, state: LayerBaselines, aggregation: Aggregation | None
) -> Iterator[Row]:
    about = write.about(len(write.moves))
    for treatment, measure in _VARIANCES.items():
        values = normalised_variance(*state.variability[treatment].compute(), aggregation)
        mean, infinite = summarised(values)
        yield write.row(measure, about, mean)
        yield write.row(f"{measure}_infinite", about, infinite)


def _psnr(write: _Writer, state: LayerBaselines, errors: Array) -> Iterator[Row]:
    peak = state.range[1] - state.range[0]
    samples = int(state.cells.sum()) * state.channels

    def decibels(sums: Array, number: Array) -> Array:
        return equivariance_psnr(sums, number * samples, peak)

    yield from write.each("eq_psnr", errors, np.ones(errors.shape[-1]), decibels)


def _cka(write: _Writer, state: LayerBaselines) -> Iterator[Row]:
    for treatment in TREATMENTS:
        values = state.cka(treatment)
        for place, value in enumerate([*values, float(np.mean(values))]):
            yield write.row(f"cka_{treatment}", write.about(place), value)


def _lie(write: _Writer, energies: Array, variance: Array | None, entries: int) -> Iterator[Row]:
    """A row per generator: the mean over entries and images, and the share of the variance."""
    about = [
        {"transform": name, "kind": name.partition("_")[0], "parameter": np.nan}
        for name in GENERATORS
    ]
    number = energies.shape[-1]
    scales = {
        "lie_derivative": np.full(number, float(max(entries, 1))),
        "lie_derivative_relative": variance,
    }
    for measure, scale in scales.items():
        if variance is None or scale is None:
            yield from (write.row(measure, one, np.nan) for one in about)
            continue
        low, high = write.interval(_residual, energies, scale)
        for place, value in enumerate(ratio(energies, scale)):
            yield write.row(measure, about[place], value, low[place], high[place])
