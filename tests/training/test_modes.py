"""How a network is held while it trains."""

import sys

import pytest
import torch

from invariance_probe._allocator import keep_freed_memory
from invariance_probe.networks import Architecture, build_classifier
from invariance_probe.training import Recipe
from invariance_probe.training._modes import testing_ways as ways_of_testing
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


@pytest.mark.parametrize("before", [torch.contiguous_format, torch.channels_last])
def test_a_network_is_tested_channel_by_channel_and_left_as_it_was(before):
    network = build_classifier(Architecture("STN-SL1", channels=3), seed=0).eval()
    network.to(memory_format=before)
    held = [(one.data_ptr(), one.stride()) for one in network.parameters()]
    images = torch.randn(5, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(images)
        with ways_of_testing(network, CPU) as ordered:
            maps = network.blocks[0](ordered(images))
            assert maps.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(network(ordered(images)), expected)
    assert [(one.data_ptr(), one.stride()) for one in network.parameters()] == held
    with pytest.raises(RuntimeError, match="stopped"), ways_of_testing(network, CPU):
        raise RuntimeError("stopped")
    assert [(one.data_ptr(), one.stride()) for one in network.parameters()] == held


def test_another_device_is_left_alone():
    network = build_classifier(Architecture("CNN"))
    images = torch.zeros(1, 1, 28, 28)
    before = laid_out(network)
    with ways_of_testing(network, torch.device("cuda")) as ordered:
        assert ordered(images) is images and laid_out(network) == before
