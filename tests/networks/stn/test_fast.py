"""Faster convolutions compute what the library's own do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from invariance_probe.networks import Architecture, build_classifier
from invariance_probe.networks.stn import fast
from invariance_probe.networks.stn.fast import fast_convolutions, few_channel_conv2d


@settings(max_examples=30, deadline=None)
@given(
    channels=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    biased=st.booleans(),
)
def test_few_channels_have_the_gradients_of_conv2d(
    channels, kernel, stride, padding, dilation, biased
):
    torch.manual_seed(0)
    images = torch.randn(2, channels, 9, 11, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, channels, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True) if biased else None
    asked = [images, weight, *([bias] if biased else [])]
    geometry = (stride, padding, dilation)
    direct = functional.conv2d(images, weight, bias, *geometry)
    ours = few_channel_conv2d(images, weight, bias, *geometry)
    torch.testing.assert_close(ours, direct)
    out = torch.randn_like(direct)
    for a, b in zip(
        torch.autograd.grad(ours, asked, out), torch.autograd.grad(direct, asked, out), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["CNN", "STN-C0", "STN-C1", "STN-SL1", "STN-DL1"])
def test_a_network_has_the_same_gradients(name):
    network = build_classifier(Architecture(name), seed=1).double()
    with torch.no_grad():  # off the identity, where bilinear sampling has kinks
        for transformer in network.transformers:
            transformer.regression.bias += torch.tensor([0.1, 0.07, 0.013, -0.05, 0.02, 0.031])
    images = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    target = torch.tensor([1, 2, 3])

    def gradients():
        network.zero_grad()
        functional.cross_entropy(network(images), target).backward()
        return [parameter.grad.clone() for parameter in network.parameters()]

    direct = gradients()
    with fast_convolutions(network):
        ours = gradients()
    for a, b in zip(ours, direct, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_a_network_inside_the_block_computes_the_same_and_is_itself_afterwards(monkeypatch):
    network = build_classifier(Architecture("STN-SL1"), seed=3)
    names = list(network.state_dict())
    images = torch.randn(4, 1, 28, 28)
    before = network(images)
    used = []
    own = fast.fourier_conv2d
    monkeypatch.setattr(fast, "fourier_conv2d", lambda *a: used.append(1) or own(*a))
    with fast_convolutions(network):
        inside = network(images)
        inside.sum().backward()
        assert list(network.state_dict()) == names
        with torch.no_grad():
            assert torch.equal(network(images), before)  # no gradient: the direct one
    assert used == [1]
    torch.testing.assert_close(inside, before, rtol=1e-4, atol=1e-5)
    assert torch.equal(network(images), before)
    assert used == [1]
    assert all("forward" not in vars(module) for module in network.modules())


def test_the_network_is_itself_after_an_error():
    network = build_classifier(Architecture("CNN"))
    with pytest.raises(KeyError), fast_convolutions(network):
        raise KeyError
    assert all("forward" not in vars(module) for module in network.modules())
