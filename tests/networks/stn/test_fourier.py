"""Convolutions through the Fourier transform against direct ones."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from invariance_probe.networks.stn.fourier import fourier_conv2d, is_worthwhile


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 99),
)
def test_the_values_and_gradients_of_a_direct_convolution(rows, columns, kernel, seed):
    kernel = (min(kernel[0], rows), min(kernel[1], columns))
    torch.manual_seed(seed)
    maps = torch.randn(3, 4, rows, columns, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    direct = functional.conv2d(maps, weight, bias)
    ours = fourier_conv2d(maps, weight, bias)
    torch.testing.assert_close(ours, direct, rtol=1e-11, atol=1e-11)
    out = torch.randn_like(direct)
    for a, b in zip(
        torch.autograd.grad(ours, (maps, weight, bias), out),
        torch.autograd.grad(direct, (maps, weight, bias), out),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_float32_to_two_millionths():
    torch.manual_seed(0)
    maps, weight = torch.randn(8, 64, 10, 10), torch.randn(64, 64, 7, 7) / 56
    exact = functional.conv2d(maps.double(), weight.double())
    error = (fourier_conv2d(maps, weight) - exact).abs().max() / exact.abs().max()
    assert float(error) < 2e-6


def test_only_where_it_is_faster():
    assert is_worthwhile(nn.Conv2d(64, 64, 7), (10, 10))
    for layer in (
        nn.Conv2d(1, 64, 9),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 7, stride=2),
        nn.Conv2d(64, 64, 7, padding=3),
        nn.Conv2d(64, 64, 7, groups=2),
        nn.Linear(3, 3),
    ):
        assert not is_worthwhile(layer, (10, 10))
    assert not is_worthwhile(nn.Conv2d(64, 64, 7), (40, 40))
    assert not is_worthwhile(nn.Conv2d(64, 64, 7), (6, 10))
