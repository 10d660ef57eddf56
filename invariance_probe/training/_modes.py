"""How a network is held and computed while it trains, and while it is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .._allocator import keep_freed_memory
from .._limits import BATCH, COUNT, check_whole
from ..errors import ProbeError
from ..networks.stn.fast import fast_convolutions
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


TEST_BATCH = 100
"""Images at a time on the CPU, where the maps of more leave its caches; see `batch_for_tests`."""


def batch_for_tests(passes: int, batch_size: int | None, device: torch.device) -> int:
    """Return how many images are tested at a time; ProbeError for less than one, or no pass."""
    chosen = (TEST_BATCH if device.type == "cpu" else 500) if batch_size is None else batch_size
    if passes < 1 or chosen < 1:
        raise ProbeError(f"{passes} passes in batches of {chosen}; give at least 1 of each")
    check_whole("passes", passes, 1, COUNT)
    check_whole("batch_size", chosen, 1, BATCH)
    return chosen


@contextmanager
def testing_ways(network: nn.Module, device: torch.device) -> Iterator[Callable[[Tensor], Tensor]]:
    """Hold a network as it is tested fastest; gives what brings images into the same order.

    On the CPU that is channel by channel, which takes a half to a third of the time of the usual
    order and differs from it by rounding. Afterwards the weights lie exactly as before.
    """
    if device.type != "cpu":
        yield lambda images: images
        return
    keep_freed_memory()
    order = torch.channels_last
    held = [(one, one.data) for one in network.parameters() if one.ndim == 4]
    for one, data in held:
        one.data = data.contiguous(memory_format=order)
    try:
        yield lambda images: images.contiguous(memory_format=order)
    finally:
        for one, data in held:
            one.data = data
