"""Layers are listed as a pass meets them, and patterns choose maps among them."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import MnistCNN, default_layers, list_layers, select_layers

DIGIT = torch.zeros(1, 1, 28, 28)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return torchvision.models.resnet18(weights=None)


def test_the_mnist_cnn() -> None:
    layers = {layer.name: layer for layer in list_layers(MnistCNN(), DIGIT)}
    assert list(layers) == ["conv1", "pool1", "relu1", "conv2", "pool2", "relu2", "fc"]
    assert (layers["conv1"].kind, layers["conv1"].channels, layers["conv1"].size) == (
        "Conv2d",
        64,
        (20, 20),
    )
    assert layers["pool2"].size == (2, 2) and layers["pool2"].spatial
    assert (layers["fc"].channels, layers["fc"].size, layers["fc"].spatial) == (None, None, False)


def test_calls_of_reused_modules_and_containers_in_order(resnet: nn.Module) -> None:
    layers = [layer.name for layer in list_layers(resnet, torch.zeros(1, 3, 64, 64))]
    assert len(layers) == len(set(layers))
    assert layers.index("layer1.0.relu") < layers.index("layer1.0.relu#2")
    assert layers.index("layer1.0.relu#2") < layers.index("layer1.0") < layers.index("layer1")
    assert layers[-1] == "fc"


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("layer*", ["layer1", "layer2", "layer3", "layer4"]),
        (["layer4", "conv1", "layer[13]"], ["layer4", "conv1", "layer1", "layer3"]),
        ("layer?.0", ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
        ("layer1.0.relu*", ["layer1.0.relu", "layer1.0.relu#2"]),
        ("layer1.0.relu#2", ["layer1.0.relu#2"]),
        ("layer2.*.downsample.**", ["layer2.0.downsample.0", "layer2.0.downsample.1"]),
    ],
)
def test_patterns(resnet: nn.Module, patterns: str | list[str], names: list[str]) -> None:
    assert select_layers(resnet, patterns, torch.zeros(1, 3, 64, 64)) == names


def test_a_glob_keeps_only_maps() -> None:
    assert select_layers(MnistCNN(), "*", DIGIT)[-1] == "relu2"


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.spare = nn.Conv2d(1, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.conv(images)).flatten(1)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("conv3", "the network has no layer 'conv3'; did you mean conv2, conv1?"),
        ("Conv1", "did you mean conv1"),
        ("conv1#2", "layer 'conv1#2' is not reached: a forward pass calls 'conv1' 1 time"),
        ("fc", "layer 'fc' gives (1, 10), not a map"),
        ("f*", "no layer that matches 'f*' gives a map (N, C, H, W): 'fc' gives (1, 10)"),
        ("cnov*", "no layer matches 'cnov*'; did you mean conv2, conv1?"),
        ("[", "no layer matches '['"),
        ("conv[z-a]", "no layer matches 'conv[z-a]'"),
    ],
)
def test_refusals(pattern: str, message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        select_layers(MnistCNN(), [pattern], DIGIT)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_single_cells_and_layers_that_do_not_run() -> None:
    with pytest.raises(ProbeError, match="layer 'pool' gives a single cell"):
        select_layers(Heads(), "pool", DIGIT)
    with pytest.raises(ProbeError, match="layer 'spare' is not reached"):
        select_layers(Heads(), "spare", DIGIT)
    assert select_layers(Heads(), "*", DIGIT) == ["conv"]


def test_no_pattern() -> None:
    with pytest.raises(ProbeError, match="give at least one name or pattern"):
        select_layers(MnistCNN(), [], DIGIT)


# --- a choice for want of one -----------------------------------------------------------------


def test_default_layers(resnet: nn.Module) -> None:
    chosen = default_layers(list_layers(resnet, torch.zeros(1, 3, 64, 64)))
    assert chosen == ["conv1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    few = default_layers(list_layers(resnet, torch.zeros(1, 3, 64, 64)), most=4)
    assert (len(few), few[0], few[-1]) == (4, "conv1", "layer4")
    digits = default_layers(list_layers(MnistCNN(), DIGIT))
    assert digits == ["conv1", "pool1", "relu1", "conv2", "pool2", "relu2"]


def test_default_layers_look_inside_containers() -> None:
    network = torchvision.models.squeezenet1_1(weights=None)
    chosen = default_layers(list_layers(network, torch.zeros(1, 3, 64, 64)))
    assert len(chosen) == 8 and all(name.count(".") == 1 for name in chosen)
    assert default_layers([]) == []
