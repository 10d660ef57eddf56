"""How a network is held while it trains."""

import sys

import pytest
import torch

from invariance_probe._allocator import keep_freed_memory
from invariance_probe.networks import Architecture, build_classifier
from invariance_probe.training import Recipe
from invariance_probe.training._modes import training_ways

CPU = torch.device("cpu")


def laid_out(network):
    return network.blocks[0].conv.weight.stride()


@pytest.mark.parametrize("fast", [True, False])
def test_fast_ways_hold_inside_the_block_only(fast):
    network = build_classifier(Architecture("CNN", channels=3))
    before = laid_out(network)
    with training_ways(network, Recipe(fast=fast), CPU):
        assert (laid_out(network) != before) is fast
        assert ("forward" in vars(network.blocks[1].conv)) is fast
    assert laid_out(network) == before
    assert "forward" not in vars(network.blocks[1].conv)


@pytest.mark.parametrize("changes", [{"compile": True}, {"precision": "bfloat16"}])
def test_own_convolutions_stay_out_of_compilers_and_half_precision(changes):
    network = build_classifier(Architecture("CNN"))
    with training_ways(network, Recipe(fast=True, **changes), CPU):
        assert "forward" not in vars(network.blocks[1].conv)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_asked_for_once():
    assert isinstance(keep_freed_memory(), bool)
    assert keep_freed_memory.cache_info().currsize == 1
