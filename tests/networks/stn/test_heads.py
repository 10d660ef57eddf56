"""Localisation heads: sizes of the reference, what they fit, names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks.stn.heads import HEADS, Halved, check_head, localisation_head

# Parameters of head and of the regression to 6 numbers, by hand from the layers.
COUNTS = [
    ("FCN", 1, (28, 28), 27_430),
    ("FCN", 64, (10, 10), 207_142),
    ("CNNmp", 1, (112, 112), 59_086),
    ("CNNmp", 64, (52, 52), 82_186),
    ("CNNt", 1, (60, 60), 68_286),
    ("CNNt", 64, (26, 26), 61_786),
    ("FCNmpnob", 1, (28, 28), 14 * 14 * 32 + 32 + 2 * (32 * 32 + 32) + 198),
    ("FCNmp", 1, (28, 28), 14 * 14 * 32 + 32 + 2 * (32 * 32 + 32) + 198 + 2 * (196 + 3 * 32)),
    ("CNN", 1, (28, 28), 520 + 10_020 + 20 * 20 + 20 + 126),  # 14, 10, 5, 1 cells
    ("CNNFCN", 1, (28, 28), 64 * 81 + 64 + 207_142),
    ("CNNFCNmp", 1, (28, 28), 64 * 81 + 64 + 64 * 25 * 32 + 32 + 2 * (32 * 32 + 32) + 198),
    ("CNNCNNmp", 1, (112, 112), 64 * 81 + 64 + 82_186),
    ("CNNCNN", 1, (112, 112), 64 * 81 + 64 + 32_020 + 10_020 + 20 * 49 * 20 + 20 + 126),
    ("SVHN-s", 3, (64, 64), 12_288 * 32 + 32 + 32 * 32 + 32 + 198),
    ("SVHN-l", 3, (64, 64), 2_432 + 25_632 + 32_768 * 32 + 32 + 1_056 + 198),
    ("plankton-l", 1, (95, 95), 320 + 9_248 + 32 * 23**2 * 32 + 32 + 1_056 + 198),
    ("plankton2", 1, (95, 95), 320 + 9_248 + 32 * 47**2 * 64 + 64 + 4_160 + 390),
    ("plankton4", 1, (95, 95),
     320 + 9_248 + 18_496 + 36_928 + 64 * 23**2 * 64 + 64 + 4_160 + 390),
]  # fmt: skip


@pytest.mark.parametrize("name, channels, size, parameters", COUNTS)
def test_parameters(name, channels, size, parameters):
    head, features = localisation_head(name, channels, size)
    assert sum(p.numel() for p in head.parameters()) + 6 * (features + 1) == parameters
    assert head.training
    assert not any("Lazy" in type(module).__name__ for module in head.modules())
    assert head(torch.randn(3, channels, *size)).shape == (3, features)


def test_all_heads_are_counted():
    assert {name for name, *_ in COUNTS} == set(HEADS)


@pytest.mark.parametrize(
    "name, side, cells",
    [("CNNt", 60, 12), ("CNNt", 26, 7), ("CNNmp", 112, 11), ("CNNmp", 52, 10), ("CNNmp", 60, 12)],
)
def test_maps_before_the_last_layers(name, side, cells):
    head, _ = localisation_head(name, 1, (side, side))
    maps: Tensor = torch.zeros(1, 1, side, side)
    for layer in head:
        if isinstance(layer, nn.Flatten):
            break
        maps = layer(maps)
    assert maps.shape == (1, 20, cells, cells)


def test_normalisation_starts_fresh():
    """The one example that tells the sizes leaves nothing in the running statistics."""
    head, _ = localisation_head("FCNmp", 1, (28, 28))
    norms = [m for m in head.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == 4
    for norm in norms:
        assert norm.num_batches_tracked == 0
        assert not norm.running_mean.any() and (norm.running_var == 1).all()


def test_half_the_size_is_the_mean_of_four():
    maps = torch.randn(2, 3, 12, 8)
    torch.testing.assert_close(Halved()(maps), nn.functional.avg_pool2d(maps, 2))
    assert Halved()(torch.zeros(1, 1, 13, 9)).shape == (1, 1, 6, 4)


@pytest.mark.parametrize("size", [(28, 40), (40, 28)])
@pytest.mark.parametrize("name", ["FCN", "CNN", "CNNt", "CNNmp", "SVHN-l", "plankton-l"])
def test_oblong_maps(name, size):
    head, features = localisation_head(name, 2, size)
    assert head(torch.zeros(1, 2, *size)).shape == (1, features)


def test_bad_input():
    with pytest.raises(ProbeError, match="no localisation head named 'FNC'; did you mean 'FCN'"):
        check_head("FNC")
    with pytest.raises(ProbeError, match="named 'zzz'; there are auto, FCN, FCNmp, FCNmpnob, CNN"):
        localisation_head("zzz", 1, (28, 28))
    text = "head 'CNNmp' does not fit maps of 10x12 cells; take 'FCN' or a smaller depth"
    with pytest.raises(ProbeError, match=text):
        localisation_head("CNNmp", 64, (10, 12))
    check_head("auto")
