"""What the searches of a layer find, handed from the process that searched to the others."""

from __future__ import annotations

from typing import Any

import torch

from ...running.sums import empty
from .layer_state import LayerState

Outcome = tuple[Any, Any, Any, Any]
"""Alignment, channel maps, bound and ledgers of one layer under one transformation."""


def taken(state: LayerState) -> Outcome:
    """What a search has just appended to a layer, taken from it: another process may need it."""
    channels, bound, ledger = state.channel_state, state.bound_state, state.ledger_state
    return (
        state.alignments.pop(),
        None if channels is None else channels.maps.pop(),
        None if bound is None else bound.bounds.pop(),
        None if ledger is None else ledger.ledgers.pop(),
    )


def put(state: LayerState, outcome: Outcome) -> None:
    """Append what a search found, here or in another process."""
    state.alignments.append(outcome[0])
    if state.channel_state is not None:
        state.channel_state.maps.append(outcome[1])
    if state.bound_state is not None:
        state.bound_state.bounds.append(outcome[2])
    if state.ledger_state is not None:
        state.ledger_state.ledgers.append(outcome[3])


def release(state: LayerState, which: int) -> None:
    """Free what only the search of a transformation needed."""
    empty(state.moments[which])
    if state.bound_state is not None:
        empty(state.bound_state.moments[which])
    if state.ledger_state is not None:
        empty(state.ledger_state.moved[which])
        empty(state.ledger_state.aligned[which])
    if state.channel_state is not None:
        fitted = state.channel_state.fitted[which]
        for name in ("autos", "crosses", "by_cell"):  # means and energies are still asked for
            setattr(fitted, name, torch.zeros(0))
