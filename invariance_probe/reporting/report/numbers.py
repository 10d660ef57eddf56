"""The numbers that a report's sentences are made of: paired estimates per kind and layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...alignment import bootstrap
from ...probing import OracleResult, Result
from ...probing.options import CEILING, FLOOR
from .._select import kinds_of, moves_of

Array = NDArray[np.float64]

ROUNDING = 1e-6  # of a variance or a gap: below it numbers tell of float32, not of the network


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its interval; NaN where it cannot be had."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether value and interval are finite."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))

    @property
    def positive(self) -> bool:
        """Whether the whole interval lies above 0, by more than rounding."""
        return self.known and self.low > ROUNDING

    @property
    def negative(self) -> bool:
        """Whether the whole interval lies below 0, by more than rounding."""
        return self.known and self.high < -ROUNDING


@dataclass(frozen=True)
class LayerNumbers:
    """One layer under one kind of transformation, all from the same draws of images.

    `gap` is ceiling − floor. As shares of the gap: `recovered` = what aligning by h⁻¹ closes of it,
    `untouched` = what doing nothing leaves closed, `gain` = the first less the second, `searched` =
    what the best alignment found closes beyond h⁻¹. As residuals: `inverse`, `permuted`, `linear`;
    `relieved` is inverse − linear.
    """

    layer: str
    recovered: Estimate
    untouched: Estimate
    gain: Estimate
    gap: Estimate
    inverse: Estimate
    searched: Estimate
    permuted: Estimate
    linear: Estimate
    relieved: Estimate


@dataclass(frozen=True)
class KindNumbers:
    """All layers of a result under one kind of transformation, the identity left out."""

    kind: str
    transforms: tuple[str, ...]
    parameters: tuple[float, ...]
    images: int
    layers: tuple[LayerNumbers, ...]
    families: tuple[str, ...] = ()
    channels: bool = True  # whether maps between channels were asked for
    where: str = ""  # which run is spoken of, where several could be meant


@dataclass(frozen=True)
class TreatmentNumbers:
    """One layer's treatments: the measure, and differences from what needs no layer."""

    layer: str
    inverse: Estimate
    linear: Estimate
    over_nothing: Estimate  # inverse − nothing
    under_input: Estimate  # inverse − input_aligned


@dataclass(frozen=True)
class OracleNumbers:
    """An oracle's measure (accuracy, or agreement without labels) under one kind."""

    kind: str
    transforms: tuple[str, ...]
    parameters: tuple[float, ...]
    measure: str
    images: int
    untransformed: float
    nothing: Estimate
    input_aligned: Estimate
    layers: tuple[TreatmentNumbers, ...] = ()
    where: str = ""


def kind_numbers(result: Result) -> list[KindNumbers]:
    """Paired estimates of every kind of transformation but the identity, and of every layer."""
    place = {text: number for number, text in enumerate(result.axes["transform"])}
    out = []
    for kind in kinds_of(result):
        moves = moves_of(result, kind)
        moves = moves[~moves["identity"].astype(bool)]
        if moves.empty:
            continue
        texts = tuple(moves["transform"])
        which = [place[text] for text in texts]
        layers = tuple(
            _layer(result, name, result.errors[number][which].mean(axis=0), result.variance[number])
            for number, name in enumerate(result.axes["layer"])
        )
        found = result.alignments
        families: tuple[str, ...] = ()
        if "family" in found:
            families = tuple(dict.fromkeys(found.loc[found["transform"].isin(texts), "family"]))
        out.append(
            KindNumbers(
                kind, texts, tuple(float(value) for value in moves["parameter"]),
                len(result.axes["image"]), layers, families,
            )
        )  # fmt: skip
    return out


def oracle_numbers(result: OracleResult) -> list[OracleNumbers]:
    """Paired estimates of every kind of transformation but the identity."""
    moves = result.accuracy.drop_duplicates("transform")
    moves = moves[~moves["identity"].astype(bool)]
    place = {text: number for number, text in enumerate(result.axes["transform"])}
    labelled = bool((result.labels >= 0).all())
    target = result.labels if labelled else result.originals
    keys = list(zip(result.axes["layer"], result.axes["treatment"], strict=True))
    layers = [name for name in dict.fromkeys(result.axes["layer"]) if name != "input"]
    out = []
    for kind, own in moves.groupby("kind", sort=False):
        which = [place[text] for text in own["transform"]]
        right = (result.predictions[which] == target).astype(float)
        known = np.asarray(~np.isnan(result.errors[which]).any(axis=(0, 2)))
        share = np.where(known[:, None], right.mean(axis=0), np.nan)
        row = {key: share[number] for number, key in enumerate(keys)}
        nothing, undone = row["input", "nothing"], row["input", "input_aligned"]
        stack = [nothing, undone]
        for name in layers:
            inverse = row[name, "inverse"]
            stack += [inverse, row[name, "inverse_linear"], inverse - nothing, inverse - undone]
        estimates = _estimates(result, np.stack(stack), np.ones(len(target)))
        out.append(
            OracleNumbers(
                str(kind), tuple(own["transform"]),
                tuple(float(value) for value in own["parameter"]),
                "accuracy" if labelled else "agreement", len(target),
                result.untransformed_accuracy if labelled else 1.0,
                estimates[0], estimates[1],
                tuple(
                    TreatmentNumbers(name, *estimates[2 + 4 * number : 6 + 4 * number])
                    for number, name in enumerate(layers)
                ),
            )
        )  # fmt: skip
    return out


def _layer(result: Result, name: str, errors: Array, variance: Array) -> LayerNumbers:
    rungs = result.axes["rung"]
    place = {rung: number for number, rung in enumerate(rungs)}
    missing = np.full(errors.shape[-1], np.nan)

    def of(rung: str) -> Array:
        return errors[place[rung]] if rung in place else missing

    # Ratios of sums: each row's sum over the gap's, or over the variance.
    gap = of(CEILING) - of(FLOOR)
    shares = np.stack([
        of(CEILING) - of("inverse"), of(CEILING) - of("unaligned"),
        of("unaligned") - of("inverse"), of("inverse") - of("best"),
    ])  # fmt: skip
    residuals = np.stack([
        gap, of("inverse"), of("inverse_permuted"), of("inverse_linear"),
        of("inverse") - of("inverse_linear"),
    ])  # fmt: skip
    closed, untouched, gain, searched = _estimates(result, shares, gap)
    span, inverse, permuted, linear, relieved = _estimates(result, residuals, variance)
    return LayerNumbers(
        name, closed, untouched, gain, span, inverse, searched, permuted, linear, relieved
    )


def _estimates(result: Result | OracleResult, sums: Array, weights: Array) -> list[Estimate]:
    """Σ sums / Σ weights over images with intervals, the same draws for every call."""
    options: Mapping[str, float] = result.provenance.get("options", {})
    given = {name: options[name] for name in ("resamples", "level", "seed") if name in options}

    def quotient(top: Array, bottom: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return top / bottom

    low, high = bootstrap(quotient, sums, weights, **given)  # type: ignore[arg-type]
    value = quotient(sums.sum(axis=-1), weights.sum(axis=-1))
    return [Estimate(*map(float, ends)) for ends in zip(value, low, high, strict=True)]
