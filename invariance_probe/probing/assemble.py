"""From sums to tables: residuals with intervals, what alignment recovers, what the search found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..alignment import ANGLES, SCALES, bootstrap, ratio
from ..geometry import Transform
from .layer_state import LayerState
from .options import CEILING, FLOOR, RUNGS, Options
from .result import Result

Array = NDArray[np.float64]


def recovered(residuals: Array) -> Array:
    """(ceiling − inverse)/(ceiling − floor) of residuals (..., rungs): 1 if h⁻¹ aligns fully.

    NaN where floor and ceiling do not enclose a range, as for a layer without any variance.
    """
    floor, ceiling = (residuals[..., RUNGS.index(rung)] for rung in (FLOOR, CEILING))
    span = ceiling - floor
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (ceiling - residuals[..., RUNGS.index("inverse")]) / span
    return np.where(span > 0, value, np.nan)


def assemble(
    states: Sequence[LayerState],
    moves: Sequence[Transform],
    names: Sequence[str],
    options: Options,
    provenance: dict[str, Any],
) -> Result:
    """The result of a pass whose states hold all sums."""
    finished = [state.finish() for state in states]
    errors = np.stack([part[0] for part in finished])
    variance = np.stack([part[1] for part in finished])
    keys = [
        (state, number, _described(move))
        for state in states
        for number, move in enumerate(moves)
    ]
    residual, low, high, share = [], [], [], []
    for layer in range(len(states)):
        value = ratio(errors[layer], variance[layer])
        ends = [
            bootstrap(
                statistic, errors[layer], variance[layer],
                resamples=options.resamples, level=options.level, seed=options.seed,
            )
            for statistic in (_ratio, _recovered)
        ]  # fmt: skip
        residual.append(value)
        low.append(ends[0][0])
        high.append(ends[0][1])
        share.append(np.stack([recovered(value), *ends[1]], axis=-1))
    rows, summary = [], []
    for state, number, about in keys:
        layer = list(states).index(state)
        head = {"layer": state.name, **about}
        for index, rung in enumerate(RUNGS):
            numbers = {
                "residual": residual[layer][number, index],
                "low": low[layer][number, index],
                "high": high[layer][number, index],
                "images": len(names),
            }
            rows.append({**head, "rung": rung, **numbers})
        summary.append(
            {
                **head,
                **{r: residual[layer][number, index] for index, r in enumerate(RUNGS)},
                **dict(zip(("recovered", "low", "high"), share[layer][number], strict=True)),
            }
        )
    return Result(
        residuals=pd.DataFrame(rows),
        summary=pd.DataFrame(summary),
        alignments=pd.DataFrame([_alignment(*key) for key in keys]),
        landscape=pd.concat([_landscape(*key) for key in keys], ignore_index=True),
        layers=pd.DataFrame(
            [_layer(state, part[2]) for state, part in zip(states, finished, strict=True)]
        ),
        errors=errors,
        variance=variance,
        axes={
            "layer": tuple(state.name for state in states),
            "transform": tuple(move.text for move in moves),
            "rung": RUNGS,
            "image": tuple(names),
        },
        provenance=provenance,
    )


def _ratio(errors: Array, variance: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return errors / variance


def _recovered(errors: Array, variance: Array) -> Array:
    return recovered(np.moveaxis(_ratio(errors, variance), -2, -1))


def _described(move: Transform) -> dict[str, Any]:
    return {
        "transform": move.text,
        "kind": move.kind,
        "parameter": move.parameter,
        "identity": move.is_identity,
    }


def _alignment(state: LayerState, number: int, about: dict[str, Any]) -> dict[str, Any]:
    found = state.alignments[number]
    runner = found.runner_up
    return {
        "layer": state.name,
        **about,
        "best": found.transform.text,
        "angle": found.transform.angle,
        "scale": found.transform.scale,
        "shift_x": float(found.transform.matrix[0, 2]),
        "shift_y": float(found.transform.matrix[1, 2]),
        "distance_px": found.distance,
        "fit_residual": found.residual,
        "fit_inverse": found.inverse_residual,
        "fit_unaligned": found.identity_residual,
        "runner_up": "" if runner is None else runner.text,
        "runner_up_residual": found.runner_up_residual,
        "coverage": found.coverage,
        "status": found.status,
        "start": found.start,
        "family": found.family,
        "iterations": found.iterations,
        "search_rows": state.search_frame.size[0],
        "search_columns": state.search_frame.size[1],
        "search_cells": int(state.search_cells.sum()),
    }


def _landscape(state: LayerState, number: int, about: dict[str, Any]) -> pd.DataFrame:
    found = state.alignments[number]
    angles = pd.DataFrame({"by": "angle", "value": ANGLES, "residual": found.by_angle})
    scales = pd.DataFrame({"by": "scale", "value": SCALES, "residual": found.by_scale})
    table = pd.concat([angles, scales], ignore_index=True)
    for column, value in reversed(list({"layer": state.name, **about}.items())):
        table.insert(0, column, value)
    return table


def _layer(state: LayerState, channel_variance: Array) -> dict[str, Any]:
    frame = state.frame
    alive = channel_variance > 1e-12 * max(float(channel_variance.max()), 1e-300)
    return {
        "layer": state.name,
        "channels": state.channels,
        "rows": frame.size[0],
        "columns": frame.size[1],
        "jump_x": frame.jump[0],
        "jump_y": frame.jump[1],
        "start_x": frame.start[0],
        "start_y": frame.start[1],
        "offset_x": frame.centre_offset[0],
        "offset_y": frame.centre_offset[1],
        "compared_cells": int(state.cells.sum()),
        "dead_channels": int((~alive).sum()),
    }
