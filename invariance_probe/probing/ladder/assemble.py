"""From sums to tables: residuals with intervals, what alignment recovers, what the search found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...alignment import ANGLES, SCALES, interval, ratio, varying
from ...geometry import Transform, image_frame
from ..options import Options
from ..result import Result
from .channel_state import COMPOSITION
from .layer_state import LayerState
from .ledger_state import ledger_rows
from .shares import quotient, read_off, readable

Array = NDArray[np.float64]

_AMPLE = 2  # samples for each position from which an in-sample bound is worth its name


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
    rungs = options.rungs
    about = [described(move) for move in moves]
    names_read = readable(rungs)
    rows, summary = [], []
    for layer, state in enumerate(states):
        residual = ratio(errors[layer], variance[layer])

        def statistics(sums: Array, energy: Array, residual: Array = residual) -> Array:
            values = np.moveaxis(quotient(sums, energy), -2, -1)
            parts = [read_off(values, rungs, name)[..., None] for name in names_read]
            return np.moveaxis(np.concatenate([values, *parts], axis=-1), -1, -2)

        low, high = interval(statistics, errors[layer], variance[layer], level=options.level)
        low[:, : len(rungs)] = np.maximum(low[:, : len(rungs)], 0)  # sums of squares
        correlations: list[dict[str, float]] = [{} for _ in moves]
        if state.ledger_state is not None:
            whole = float(variance[layer].sum())
            correlations = state.ledger_state.correlations(whole, options.level)
        for number, entry_head in enumerate(about):
            head = {"layer": state.name, **entry_head}
            for index, rung in enumerate(rungs):
                rows.append(
                    {
                        **head,
                        "rung": rung,
                        "residual": residual[number, index],
                        "low": low[number, index],
                        "high": high[number, index],
                        "images": len(names),
                    }
                )
            entry = {**head, **dict(zip(rungs, residual[number].tolist(), strict=True))}
            matrix = moves[number].matrix
            whole_pixels = image_frame(*state.canvas).carried_over(matrix)
            whole_cells = state.frame.carried_over(matrix, state.compared.source)
            entry["exact"] = whole_pixels and whole_cells
            found = state.alignments[number]
            entry |= {"best_coverage": found.coverage, "best_status": found.status}
            entry |= correlations[number]
            for index, name in enumerate(names_read, start=len(rungs)):
                suffix = "" if name == "recovered" else f"_{name}"
                entry[name] = float(read_off(residual[number], rungs, name))
                entry |= {f"low{suffix}": low[number, index], f"high{suffix}": high[number, index]}
            summary.append(entry)
    keys = [(state, number, about[number]) for state in states for number in range(len(moves))]
    energies = variance.sum(axis=1).tolist()
    extra = {}
    for state in states:
        if state.channel_state is not None:
            for name, values in state.channel_state.arrays().items():
                extra[f"{name}/{state.name}"] = values
    ledgers = []
    for state, own in zip(states, variance, strict=True):
        if state.ledger_state is not None:
            sums = state.ledger_state.finish()
            extra[f"ledger/{state.name}"] = sums
            ledgers.append(ledger_rows(sums, own, state.name, about, options.level))
    layers = [_layer(state, part[2]) for state, part in zip(states, finished, strict=True)]
    for row, dense in zip(layers, _dense(provenance), strict=False):
        row |= {"dense": dense["factor"], "shift_error": dense["shift_error"]}
    dead = [
        f"channels of {row['layer']}: {row['dead_channels']} of {row['channels']} never vary"
        for row in layers
        if row["dead_channels"]
    ]
    thinned = [
        f"cells of {row['layer']}: one in {row['cell_step']} along both axes is compared, "
        f"{row['compared_cells']} of {int(state.cells.sum())} valid ones, to keep large maps fast"
        for row, state in zip(layers, states, strict=True)
        if row["cell_step"] > 1
    ]
    thin = [warning for state in states for warning in _thin_bounds(state)]
    return Result(
        residuals=pd.DataFrame(rows),
        summary=pd.DataFrame(summary),
        alignments=pd.DataFrame([_alignment(*key) for key in keys]),
        landscape=pd.concat([_landscape(*key) for key in keys], ignore_index=True),
        layers=pd.DataFrame(layers),
        errors=errors,
        variance=variance,
        axes={
            "layer": tuple(state.name for state in states),
            "transform": tuple(move.text for move in moves),
            "rung": rungs,
            "image": tuple(names),
        },
        provenance={**provenance, "warnings": [*provenance["warnings"], *dead, *thinned, *thin]},
        channels=_stack(
            [
                s.channel_state.table(s.name, about, e)
                for s, e in zip(states, energies, strict=True)
                if s.channel_state is not None
            ],
            ("layer",),
        ),
        tuning=_stack(
            [s.channel_state.tuning(s.name, about) for s in states if s.channel_state is not None],
            ("layer",),
        ),
        composition=_stack(
            [
                s.channel_state.composition(s.name, e)
                for s, e in zip(states, energies, strict=True)
                if s.channel_state is not None
            ],
            COMPOSITION,
        ),
        bounds=_stack(
            [s.bound_state.table(s.name, about) for s in states if s.bound_state is not None],
            ("layer",),
        ),
        ledger=_stack(ledgers, ("layer",)),
        extra=extra,
    )


def _dense(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """What is to be said of the grids that are moved back, layer by layer; nothing of own ones."""
    return list(provenance.get("conventions", {}).get("dense", {}).values())


def _thin_bounds(state: LayerState) -> list[str]:
    """A warning where few samples decide a bound: those of one image are not independent."""
    bounds = [] if state.bound_state is None else state.bound_state.bounds
    found = [one for one in bounds if one.determined and one.samples < _AMPLE * one.positions]
    if not found:
        return []
    return [
        f"bounds of {state.name}: {found[0].samples} samples (images x channels) for "
        f"{found[0].positions} positions; the in-sample bound is lower than with more images"
    ]


def _stack(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(filled, ignore_index=True)


def described(move: Transform) -> dict[str, Any]:
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
        "method": state.plan.method,
        "search_rows": state.plan.frame.size[0],
        "search_columns": state.plan.frame.size[1],
        "search_cells": int(state.plan.cells.sum()),
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
    alive = varying(channel_variance)
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
        "frame_method": getattr(frame, "method", "given"),
        "frame_error": getattr(frame, "error", 0.0),
        "margin": frame.margin,
        "compared_cells": state.compared.number,
        "cell_step": state.compared.step,
        "dead_channels": int((~alive).sum()),
    }
