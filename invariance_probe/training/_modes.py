"""How a network is held and computed while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .._allocator import keep_freed_memory
from ..networks.fast import fast_convolutions
from .recipe import Recipe


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
