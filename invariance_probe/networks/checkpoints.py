"""Weights from files into networks: all of them or nothing, and what was done said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from ..errors import ProbeError
from ._words import first_line, shown
from .fit import Fit, fitted, mismatch
from .state import State, checkpoint_sha256, file_sha256, load_state, metadata, read_state

__all__ = [
    "Fit",
    "State",
    "checkpoint_sha256",
    "file_sha256",
    "load_checkpoint",
    "load_state",
    "metadata",
    "read_state",
]


def load_checkpoint(
    network: nn.Module,
    path: str | Path,
    allow_partial: bool = False,
    *,
    entry: str | None = None,
    by_order: bool = False,
) -> Fit:
    """Load a checkpoint's weights into the network, all of them or nothing.

    Prefixes ("module.", "model.", "backbone.", "encoder.", "_orig_mod.") are dropped or added
    where that makes keys fit, floating-point numbers cast to those of the network; the result says
    so. `entry` names the part of a file that holds several state dicts ("state_dict_ema"). With
    `allow_partial` the keys that fit are loaded and the others reported in the result. `by_order`
    matches weights first to first where two implementations name them differently.

    Raises ProbeError as read_state does, and when keys are missing or unexpected or shapes or
    kinds of numbers differ: their numbers, the first of each and a likely reason. The network is
    then unchanged.
    """
    state = read_state(path, entry)
    found, good, renamed = fitted(state.tensors, network, by_order)
    found = replace(found, kind=state.kind, entry=state.entry, others=state.others)
    if not good or not (allow_partial or found.complete):
        raise ProbeError(mismatch(Path(path), found, renamed, network.state_dict()))
    try:
        network.load_state_dict(good, strict=False)
    except Exception as error:  # a network's own hooks may raise anything
        raise ProbeError(
            f"the network does not take the weights of {shown(path)}: {first_line(error)}"
        ) from error
    return found
