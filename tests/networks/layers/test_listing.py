"""Layers are listed as a pass meets them, and patterns choose maps among them."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import (
    LayerInfo,
    MnistCNN,
    default_layers,
    find_frames,
    framed_layers,
    list_layers,
    select_layers,
)

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


def chosen_of(network: nn.Module, side: int = 64, **options: int) -> list[str]:
    return default_layers(list_layers(network, torch.zeros(1, 3, side, side)), **options)


def test_default_layers_are_the_outputs_of_stages(resnet: nn.Module) -> None:
    assert chosen_of(resnet) == ["relu", "layer1", "layer2", "layer3", "layer4"]
    few = chosen_of(resnet, most=4)
    assert (len(few), few[0], few[-1]) == (4, "relu", "layer4")
    digits = default_layers(list_layers(MnistCNN(), DIGIT))
    assert digits == ["conv1", "relu1", "conv2", "relu2"]
    assert default_layers([]) == []


def test_default_layers_look_inside_containers() -> None:
    network = torchvision.models.squeezenet1_1(weights=None)
    chosen = chosen_of(network, 224)
    assert chosen == ["features.1", "features.4", "features.7", "classifier.2"]


def test_default_layers_where_branches_have_other_sizes() -> None:
    """A block that ends at half the size is one row of its stage, not three."""

    def layer(name: str, side: int, kind: str = "Conv2d") -> LayerInfo:
        return LayerInfo(name, kind, (1, 4, side, side))

    listed = []
    for stage, side in enumerate((64, 32, 16, 8)):
        listed += [layer(f"s{stage}.a", 2 * side), layer(f"s{stage}.b", side)]
        listed += [layer(f"s{stage}.c", 2 * side), layer(f"s{stage}.norm", side, "BatchNorm2d")]
        listed += [layer(f"s{stage}", side, "Stage"), layer(f"norm{stage}", side, "LayerNorm2d")]
    listed.append(layer("all", 8, "Sequential"))
    assert default_layers(listed)[:3] == ["s0", "s1", "s2"]


def test_default_layers_of_one_size_are_spread_evenly() -> None:
    blocks = [LayerInfo(f"net.blocks.{i}", "Block", (1, 4, 14, 14)) for i in range(13)]
    outer = [LayerInfo(name, "Sequential", (1, 4, 14, 14)) for name in ("net.blocks", "net")]
    chosen = default_layers([*blocks, *outer])
    assert chosen == [f"net.blocks.{i}" for i in (0, 2, 4, 6, 8, 10, 12)]


# --- layers with and without a frame ----------------------------------------------------------


class Folded(nn.Module):
    """A layer whose cells have no places, beside one whose cells have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fold = nn.Sequential(nn.Flatten(), nn.Linear(64, 72), nn.Unflatten(1, (2, 6, 6)))
        self.one = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.one(self.conv(images) + self.fold(images))


def test_one_layer_without_a_frame_leaves_the_others_theirs() -> None:
    frames, reasons = find_frames(Folded(), ["fold", "conv", "one"], (8, 8), 1)
    assert list(frames) == ["conv"] and list(reasons) == ["fold", "one"]
    assert "layer 'fold': its cells have no regular places" in reasons["fold"]
    assert "layer 'one' gives a single cell" in reasons["one"]


def test_a_glob_leaves_out_what_has_no_frame_and_a_name_does_not() -> None:
    images = torch.zeros(1, 1, 8, 8)
    frames, left_out = framed_layers(Folded(), "*", images)
    assert list(frames) == ["conv"]
    assert len(left_out) == 1 and "layer 'fold'" in left_out[0]
    for patterns in (["*", "fold"], "fold", "fol*"):
        with pytest.raises(ProbeError, match="layer 'fold': its cells have no regular places"):
            framed_layers(Folded(), patterns, images)
    with pytest.raises(ProbeError, match="the network has no layer 'flod'"):
        find_frames(Folded(), "flod", (8, 8), 1)


def test_default_layers_pass_over_what_is_inside_a_normalisation() -> None:
    """timm's batch normalisation holds the activation that follows, under names of its own."""
    listed = []
    for number, side in enumerate((32, 16, 8, 4)):
        shape = (1, 4, side, side)
        listed += [
            LayerInfo(f"conv{number}", "Conv2d", shape),
            LayerInfo(f"bn{number}.act", "ReLU6", shape),
            LayerInfo(f"bn{number}", "BatchNormAct2d", shape),
        ]
    assert default_layers(listed) == ["conv0", "conv1", "conv2", "conv3"]


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", " -x", "@SUM(A1)"])
def test_layers_that_spreadsheets_would_compute_are_refused(name: str) -> None:
    """Before anything is measured: tables of a result hold the names as they are."""
    network = nn.Sequential()
    network.add_module(name, nn.Conv2d(1, 2, 3))
    for pattern in (name, "*"):
        with pytest.raises(ProbeError, match="would be a formula where a spreadsheet opens"):
            framed_layers(network, pattern, torch.zeros(1, 1, 8, 8))
