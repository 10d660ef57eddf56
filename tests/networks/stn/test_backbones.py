"""Backbones: sizes, parameters and maps of the reference's classifiers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Architecture, MnistCNN, build_classifier
from invariance_probe.networks.stn.backbones import BACKBONES, Heads, backbone
from invariance_probe.networks.stn.block_frames import output_size

SVHN = Architecture("CNN", "svhn", canvas=(64, 64), channels=3, classes=11, positions=5)
PLANKTON = Architecture("CNN", "plankton", canvas=(95, 95), classes=121)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def meta(architecture: Architecture) -> nn.Module:
    """The network without memory for its weights, of which svhn has 131 MB."""
    with torch.device("meta"):
        return build_classifier(architecture)


@pytest.mark.parametrize(
    "canvas, parameters",
    [((28, 28), 208_586), ((30, 30), 208_586), ((60, 60), 270_026), ((112, 112), 544_586)],
)
def test_parameters_of_the_mnist_network(canvas, parameters):
    assert count(build_classifier(Architecture(canvas=canvas))) == parameters


def test_parameters_of_the_large_networks():
    assert count(meta(SVHN)) == 32_820_951
    assert count(meta(PLANKTON)) == 5_511_385


def test_parameters_of_the_fully_connected_network():
    expected = 784 * 256 + 256 + 256 * 200 + 200 + 200 * 10 + 10
    for architecture in (Architecture("FCN", "fcn"), Architecture("CNN", "fcn")):
        assert count(build_classifier(architecture)) == expected


def test_the_mnist_network_is_the_embedded_one():
    torch.manual_seed(0)
    known, made = MnistCNN(), build_classifier(Architecture())
    made.blocks[0].conv.load_state_dict(known.conv1.state_dict())
    made.blocks[1].conv.load_state_dict(known.conv2.state_dict())
    made.top.fc.load_state_dict(known.fc.state_dict())
    images = torch.randn(4, 1, 28, 28)
    assert torch.equal(made(images), known(images))


@pytest.mark.parametrize(
    "name, channels, canvas, sizes",
    [
        ("mnist", 1, (28, 28), [10, 2]),
        ("mnist", 1, (60, 60), [26, 10]),
        ("mnist", 1, (112, 112), [52, 23]),
        ("svhn", 3, (64, 64), [32, 32, 16, 16, 8, 8, 4, 4]),
        ("deep", 1, (28, 28), [28, 14, 14, 7, 7, 3]),
        ("plankton", 1, (95, 95), [95, 47, 47, 23, 23, 23, 11, 11, 11, 5]),
    ],
)
def test_maps_after_each_block(name, channels, canvas, sizes):
    blocks = backbone(name).blocks(channels, 1 / 16)
    maps = torch.zeros(1, channels, *canvas)
    for number, (block, side) in enumerate(zip(blocks, sizes, strict=True), 1):
        maps = block(maps)
        assert maps.shape[-2:] == (side, side) == output_size(blocks[:number], canvas)


def test_filters():
    filters = {
        "mnist": [64, 64],
        "svhn": [48, 64, 128, 160, 192, 192, 192, 192],
        "plankton": [32, 32, 64, 64, 128, 128, 128, 256, 256, 256],
        "deep": [32, 32, 64, 64, 64, 64],
        "fcn": [],
    }
    assert set(filters) == set(BACKBONES)
    for name, expected in filters.items():
        assert [block.conv.out_channels for block in backbone(name).blocks(1, 1.0)] == expected


def test_dropout_as_in_the_reference():
    svhn, plankton = meta(SVHN), meta(PLANKTON)
    dropped = [any(isinstance(m, nn.Dropout) for m in block) for block in svhn.blocks]
    assert dropped == [False] + 7 * [True]
    assert sum(isinstance(m, nn.Dropout) for m in svhn.top) == 3
    assert not any(isinstance(m, nn.Dropout) for block in plankton.blocks for m in block)
    assert sum(isinstance(m, nn.Dropout) for m in plankton.top) == 3
    slopes = {m.negative_slope for m in plankton.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {1 / 3}


@pytest.mark.parametrize("width, filters", [(1.0, 64), (0.5, 32), (0.25, 16), (0.001, 1)])
def test_width(width, filters):
    network = build_classifier(Architecture("STN-SL1", width=width))
    assert network.blocks[0].conv.out_channels == filters
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("positions", [1, 5])
def test_logits(name, positions):
    architecture = Architecture(
        "CNN", name, canvas=(48, 64), channels=3, classes=7, positions=positions, width=1 / 32
    )
    logits = build_classifier(architecture)(torch.zeros(2, 3, 48, 64))
    assert logits.shape == ((2, 7) if positions == 1 else (2, positions, 7))


def test_each_position_has_its_own_classifier():
    heads = Heads(6, 5, 11)
    assert count(heads) == 5 * (6 * 11 + 11)
    features = torch.randn(3, 6)
    assert torch.equal(heads(features)[:, 2], heads.heads[2](features))


def test_unknown_names():
    with pytest.raises(ProbeError, match="no backbone named 'plancton'; did you mean 'plankton'"):
        backbone("plancton")
    with pytest.raises(ProbeError, match="'zzz'; there are mnist, fcn, svhn, plankton"):
        backbone("zzz")
