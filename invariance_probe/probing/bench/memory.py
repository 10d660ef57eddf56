"""How much memory a run may take, and in how many blocks its transformations fit in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..._memory import free_bytes
from ...geometry import Frame, Transform
from ...running.sums import size
from ..ladder.layer_state import LayerState
from ..options import Options, memory_size

_SHARE = 0.5  # of what is free, for the sums of the fit half
_MOST = 1_200_000_000  # bytes: one more block costs one more pass of the untransformed images only


def memory_limit(options: Options, place: torch.device) -> int:
    """Bytes that the sums of the fit half may take: as asked for, or half of what is free.

    1.2 GB at most, unless asked for.
    """
    asked = memory_size(options.memory)
    return asked if asked is not None else min(_MOST, int(_SHARE * free_memory(place)))


def free_memory(place: torch.device) -> int:
    """Bytes free on a device for this process; processes of one machine share its memory."""
    if place.type == "cuda":
        return int(torch.cuda.mem_get_info(place)[0])
    return free_bytes() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def transform_bytes(
    names: Sequence[str],
    frames: Mapping[str, Frame],
    moves: Sequence[Transform],
    canvas: tuple[int, int],
    options: Options,
    maps: Mapping[str, Tensor],
) -> int:
    """Bytes that the sums of one transformation take over all layers in the fit half.

    Measured: one image's maps (1, C, rows, columns) are added to sums that are then thrown away.
    """
    total = 0
    for name in names:
        state = LayerState(name, frames[name], moves[:1], canvas, options)
        realigned = maps[name] if options.ledger else None
        state.fit(0, maps[name], realigned, maps[name], [0])
        total += size(state)
    return total


def blocks_of(transforms: int, each: int, limit: int) -> list[list[int]]:
    """Numbers of the transformations, in as few even blocks as stay within the limit.

    One transformation is the least, even where that is more.

    >>> blocks_of(5, 10, 25)
    [[0, 1], [2, 3], [4]]
    """
    number = min(transforms, max(1, -(-transforms // max(1, limit // max(1, each)))))
    least, more = divmod(transforms, number)
    sizes = [least + (index < more) for index in range(number)]
    return [list(range(sum(sizes[:i]), sum(sizes[: i + 1]))) for i in range(number)]
