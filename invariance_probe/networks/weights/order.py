"""Weights matched with a network's in their order, for checkpoints that name them differently."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...errors import ProbeError
from .._words import shown

COUNTER = "num_batches_tracked"  # older files lack it


def in_order(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """The weights of a checkpoint under the network's keys, first to first, and that in words.

    Two implementations of one architecture mostly define their layers in the same order and name
    them differently. Every pair must agree in shape and in the last part of its name ("weight",
    "running_mean"). That does not prove that a pair belongs together, which is why this is done
    only when asked for, and said in the result.

    Raises ProbeError for the first pair that disagrees, and for different numbers of weights.
    """
    ours = [key for key in own if not key.endswith(COUNTER)]
    theirs = [key for key in state if not key.endswith(COUNTER)]
    for key, mine in zip(theirs, ours, strict=False):
        shapes = tuple(state[key].shape), tuple(own[mine].shape)
        if shapes[0] != shapes[1] or _last(key) != _last(mine):
            raise ProbeError(
                f"weights do not match in their order: {shown(key)} {shapes[0]} of the checkpoint "
                f"meets {shown(mine)} {shapes[1]} of the network; build the architecture that the "
                "checkpoint was saved from"
            )
    if len(ours) != len(theirs):
        raise ProbeError(
            f"weights do not match in their order: the checkpoint has {len(theirs)}, the network "
            f"{len(ours)}; build the architecture that the checkpoint was saved from"
        )
    renamed = {mine: state[key] for key, mine in zip(theirs, ours, strict=True)}
    changed = sum(key != mine for key, mine in zip(theirs, ours, strict=True))
    said = f"matched in their order, {changed} of {len(ours)} keys renamed, not by name"
    return renamed, said if changed else ""


def agrees_in_order(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint could be matched in its order."""
    try:
        in_order(state, own)
    except ProbeError:
        return False
    return bool(state)


def _last(key: str) -> str:
    return key.rpartition(".")[2]
