"""The paper's MNIST CNN: sizes and parameter counts of its table."""

from __future__ import annotations

import pytest
import torch

from invariance_probe.errors import ProbeError
from invariance_probe.networks import MnistCNN, list_layers


@pytest.mark.parametrize(
    ("canvas", "after_one", "after_two", "parameters"),
    [(28, 10, 2, 208_586), (30, 11, 2, 208_586), (60, 26, 10, 270_026), (112, 52, 23, 544_586)],
)
def test_sizes_and_parameters(canvas: int, after_one: int, after_two: int, parameters: int) -> None:
    network = MnistCNN(canvas)
    assert sum(p.numel() for p in network.parameters()) == parameters
    layers = list_layers(network, torch.zeros(1, 1, canvas, canvas))
    sizes = {layer.name: layer.size for layer in layers}
    assert sizes["pool1"] == (after_one, after_one)
    assert sizes["pool2"] == (after_two, after_two)
    assert network(torch.zeros(3, 1, canvas, canvas)).shape == (3, 10)


def test_too_small_a_canvas() -> None:
    with pytest.raises(ProbeError, match="20 px: the canvas must be 24 px or more"):
        MnistCNN(20)
    MnistCNN(24)
