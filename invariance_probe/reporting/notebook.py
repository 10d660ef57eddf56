"""The one small figure by which a value shows itself in a notebook."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from matplotlib.figure import Figure

from ..probing import OracleResult, Result
from ..training import TrainedRun
from .figures.classifiers.history import plot_history
from .figures.gain import plot_gain
from .figures.oracle import plot_oracle
from .select import kinds_of

_LAYERS = 8


@singledispatch
def small_figure(value: object) -> Figure | None:
    """A figure drawn in a fraction of a second, its label saying what it shows; None without one.

    A `Result` shows the gain on up to eight of its layers, spread over its depth; an
    `OracleResult` a measure against depth for the rotation nearest to 90° or another
    transformation; a `TrainedRun` its history.
    """
    return None


@small_figure.register
def _(value: Result) -> Figure | None:
    if kinds_of(value) == ["identity"]:
        return None
    figure = plot_gain(value, layers=spread_over(value.axes["layer"]))
    figure.set_label("gain: share of what aligning the input wins over nothing done")
    return figure


@small_figure.register
def _(value: TrainedRun) -> Figure | None:
    figure = plot_history(value)
    figure.set_label("loss and error against the step of training")
    return figure


@small_figure.register
def _(value: OracleResult) -> Figure | None:
    measure = "agreement" if np.isnan(value.untransformed_accuracy) else "accuracy"
    rows = value.accuracy[~value.accuracy["identity"].astype(bool)]
    moves = rows.drop_duplicates("transform")
    turns = moves[moves["kind"] == "rotation"]
    if len(turns):
        away = (turns["parameter"].astype(float).abs() - 90).abs()
        moves = turns.iloc[away.argsort(kind="stable")]
    if not len(moves):
        return None
    name = str(moves["transform"].iloc[0])
    figure = plot_oracle(value, measure, name)
    figure.set_label(f"{measure} against depth for {name}")
    return figure


def spread_over(names: tuple[str, ...], most: int = _LAYERS) -> tuple[str, ...]:
    """At most so many of the names, evenly spread, with the first and the last.

    >>> spread_over(("a", "b", "c", "d", "e"), 3)
    ('a', 'c', 'e')
    """
    places = np.linspace(0, len(names) - 1, min(most, len(names)))
    return tuple(names[round(place)] for place in places)
