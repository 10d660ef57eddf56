"""How a network is held and computed while it trains."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..networks.fast import fast_convolutions
from .recipe import Recipe

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def memory_format(recipe: Recipe, device: torch.device) -> torch.memory_format:
    """Return how images and weights lie in memory while training.

    Channel by channel is the faster one for convolutions on the CPU and on tensor cores, which
    float32 on a GPU does not use.
    """
    faster = device.type == "cpu" or recipe.precision == "bfloat16"
    return torch.channels_last if recipe.fast and faster else torch.contiguous_format


@contextmanager
def training_ways(network: nn.Module, recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Hold and compute a network as the recipe says inside the block, as usual afterwards."""
    network.to(memory_format=memory_format(recipe, device))
    own = recipe.fast and device.type == "cpu"
    if device.type == "cpu":
        keep_freed_memory()
    try:
        # A compiler makes its own convolutions, and cannot look into ours.
        if own and not recipe.compile and recipe.precision == "float32":
            with fast_convolutions(network):
                yield
        else:
            yield
    finally:
        network.to(memory_format=torch.contiguous_format)


@functools.cache
def keep_freed_memory() -> bool:
    """Have the process keep memory that it frees; return whether that could be asked for.

    Training frees and takes the same tens of megabytes in every step. By default glibc gives such
    blocks back to the system each time, which costs a third of the time of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
