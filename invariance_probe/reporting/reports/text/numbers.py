"""The numbers that a report's sentences are made of: paired estimates per kind and layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....alignment import interval
from ....probing import OracleResult, Result
from ....probing.ladder.shares import LOST, quotient, read_off
from ....probing.oracles.result import with_interval
from ....probing.rungs import FLOOR
from ...select import kinds_of, moves_of
from ...tables.ledger import ALIGNED, MOVED, has_ledger, ledger_table

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

    `span` is unaligned − floor, what aligning the input wins; `won` is unaligned − inverse, and
    `gain` their quotient. `excess` is inverse − floor, `attribution` the part of `inverse` that
    interpolation alone would leave, `searched` inverse − best. As residuals: `inverse`,
    `permuted`, `linear`; `relieved` is inverse − linear.
    """

    layer: str
    gain: Estimate
    won: Estimate
    span: Estimate
    excess: Estimate
    attribution: Estimate
    inverse: Estimate
    searched: Estimate
    permuted: Estimate
    linear: Estimate
    relieved: Estimate


@dataclass(frozen=True)
class LedgerNumbers:
    """What predicts one layer's maps under a kind, as shares of their variance.

    `space`, `channels` and `neighbourhood` come one after the other, from the maps moved back, and
    `lost` is the rest; `by_input` is `space` where the input was moved back.
    """

    layer: str
    space: Estimate
    channels: Estimate
    neighbourhood: Estimate
    lost: Estimate
    by_input: Estimate


@dataclass(frozen=True)
class KindNumbers:
    """All layers of a result under one kind of transformation, the identity left out."""

    kind: str
    transforms: tuple[str, ...]
    parameters: tuple[float, ...]
    images: int
    layers: tuple[LayerNumbers, ...]
    families: tuple[str, ...] = ()
    ledger: tuple[LedgerNumbers, ...] = ()
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
    ledgers = _ledgers(result)
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
                len(result.axes["image"]), layers, families, ledgers.get(kind, ()),
            )
        )  # fmt: skip
    return out


def _ledgers(result: Result) -> dict[str, tuple[LedgerNumbers, ...]]:
    """The ledger of every layer by kind of transformation; nothing where there is none."""
    if not has_ledger(result) or result.summary["identity"].all():
        return {}
    table = ledger_table(result).set_index(["kind", "layer", "source", "part"])
    ends = table[["share", "low", "high"]]

    def estimate(kind: str, layer: str, source: str, part: str) -> Estimate:
        return Estimate(*map(float, ends.loc[(kind, layer, source, part)]))

    return {
        kind: tuple(
            LedgerNumbers(
                layer,
                space=estimate(kind, layer, MOVED, "space"),
                channels=estimate(kind, layer, MOVED, "channels"),
                neighbourhood=estimate(kind, layer, MOVED, "neighbourhood"),
                lost=estimate(kind, layer, MOVED, LOST),
                by_input=estimate(kind, layer, ALIGNED, "space"),
            )
            for layer in result.axes["layer"]
        )
        for kind in dict.fromkeys(table.index.get_level_values("kind"))
    }


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
        shares, differences = [nothing, undone], []
        for name in layers:
            inverse = row[name, "inverse"]
            shares += [inverse, row[name, "inverse_linear"]]
            differences += [inverse - nothing, inverse - undone]
        known_shares = [
            Estimate(*map(float, ends))
            for ends in with_interval(np.stack(shares), None, result.level)
        ]
        apart = _estimates(result, np.stack(differences), np.ones(len(target)))
        out.append(
            OracleNumbers(
                str(kind), tuple(own["transform"]),
                tuple(float(value) for value in own["parameter"]),
                "accuracy" if labelled else "agreement", len(target),
                result.untransformed_accuracy if labelled else 1.0,
                known_shares[0], known_shares[1],
                tuple(
                    TreatmentNumbers(
                        name, *known_shares[2 + 2 * place : 4 + 2 * place],
                        *apart[2 * place : 2 + 2 * place],
                    )
                    for place, name in enumerate(layers)
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

    span = of("unaligned") - of(FLOOR)
    won, left = of("unaligned") - of("inverse"), of("inverse") - of(FLOOR)
    (gain,) = _estimates(result, won[None], span)
    residuals = np.stack([
        won, span, left, of("inverse"), of("inverse") - of("best"), of("inverse_permuted"),
        of("inverse_linear"), of("inverse") - of("inverse_linear"),
    ])  # fmt: skip
    won_, span_, excess, inverse, *others = _estimates(result, residuals, variance)
    ends = ("inverse", FLOOR, "resampling_floor")
    stack = np.stack([of(rung) for rung in ends])
    attribution = _estimate(result, stack, variance, lambda r: read_off(r, ends, "attribution"))
    return LayerNumbers(name, gain, won_, span_, excess, attribution, inverse, *others)


def _estimate(
    result: Result, sums: Array, variance: Array, of: Callable[[Array], Array]
) -> Estimate:
    """A function of residuals (..., rungs) with its interval, from sums (rungs, images)."""

    def statistic(errors: Array, energy: Array) -> Array:
        return of(np.moveaxis(quotient(errors, energy), 0, -1))

    low, high = interval(statistic, sums, variance, level=result.level)
    value = statistic(sums.sum(-1, keepdims=True), variance.sum(keepdims=True))[0]
    return Estimate(float(value), float(low), float(high))


def _estimates(result: Result | OracleResult, sums: Array, weights: Array) -> list[Estimate]:
    """Σ sums / Σ weights over images with intervals, paired."""

    low, high = interval(quotient, sums, weights, level=result.level)
    value = quotient(sums.sum(axis=-1), weights.sum(axis=-1))
    return [Estimate(*map(float, ends)) for ends in zip(value, low, high, strict=True)]
