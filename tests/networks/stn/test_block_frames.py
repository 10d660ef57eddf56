"""Sizes and frames of blocks in closed form against frames measured on the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.geometry import Frame, image_frame
from invariance_probe.networks import measure_frames
from invariance_probe.networks.stn.backbones import backbone
from invariance_probe.networks.stn.block_frames import cell_frame, output_size


def centred(frame: Frame) -> Tensor:
    """The measured frame with cells counted from the centre of the map, as a matrix."""
    rows, columns = frame.size
    to_corner = torch.eye(3, dtype=torch.float64)
    to_corner[:2, 2] = torch.tensor([(columns - 1) / 2, (rows - 1) / 2])
    return torch.tensor(frame.matrix) @ to_corner


@pytest.mark.parametrize(
    "name, channels, canvas, depths",
    [
        ("mnist", 1, (28, 28), (1, 2)),
        ("mnist", 1, (30, 33), (1, 2)),
        ("svhn", 3, (32, 22), (1, 2, 4)),
        ("plankton", 1, (40, 31), (2, 3, 4)),
    ],
)
def test_measured_frames_agree(name, channels, canvas, depths):
    blocks = backbone(name).blocks(channels, 1 / 64)
    network = nn.Sequential(*blocks[: max(depths)]).eval()
    layers = [str(depth - 1) for depth in depths]
    measured = measure_frames(network, layers, canvas, channels)
    for depth, layer in zip(depths, layers, strict=True):
        assert output_size(blocks[:depth], canvas) == measured[layer].size
        found = cell_frame(blocks[:depth], canvas)
        torch.testing.assert_close(found, centred(measured[layer]), atol=1e-9, rtol=0)


def test_the_first_block_of_mnist_jumps_two_pixels():
    frame = cell_frame(backbone("mnist").blocks(1, 1 / 64)[:1], (60, 60))
    assert torch.equal(frame, torch.diag(torch.tensor([2.0, 2.0, 1.0])).double())


def test_an_odd_map_into_a_pool_is_off_centre():
    """30 px: 22 cells, 11 pooled, 5 convolved, 2 pooled; the fifth is left over."""
    blocks = backbone("mnist").blocks(1, 1 / 64)
    frame = cell_frame(blocks, (30, 30))
    assert frame[:2, 2].tolist() == [-1.0, -1.0]
    assert cell_frame(blocks, (28, 28))[:2, 2].tolist() == [0.0, 0.0]


def test_no_blocks():
    assert torch.equal(cell_frame([], (7, 9)), torch.eye(3, dtype=torch.float64))
    assert output_size([], (7, 9)) == (7, 9)


def test_frames_chain():
    blocks = backbone("plankton").blocks(1, 1 / 32)
    whole = cell_frame(blocks, (95, 80))
    parts = cell_frame(blocks[:4], (95, 80))
    rest = cell_frame(blocks[4:], output_size(blocks[:4], (95, 80)))
    torch.testing.assert_close(parts @ rest, whole)


def test_a_network_that_is_its_input_has_the_image_frame():
    torch.testing.assert_close(
        centred(image_frame(6, 9)), torch.eye(3, dtype=torch.float64), atol=0, rtol=0
    )
