"""Cells that see padding or the end of the images are left out, as far as each layer shows them."""

import numpy as np
import pytest
import torch
from scenes import noise, smooth
from torch import nn

from invariance_probe import ProbeError, probe, rotation, rotations, scaling
from invariance_probe.geometry import identity, valid_cells
from invariance_probe.probing import baselines, oracle, take_pictures

QUICK = {"resamples": 10, "channels": False}
TURNS = [rotation(30), rotation(45)]


def laplacian(sigma: float = 1.5, radius: int = 5) -> nn.Sequential:
    """The Laplacian of a Gaussian: what it gives turns with the image, but for the border."""
    x, y = np.meshgrid(*[np.arange(-radius, radius + 1)] * 2)
    square = (x**2 + y**2) / sigma**2
    kernel = (square - 2) * np.exp(-square / 2)
    kernel -= kernel.mean()
    net = nn.Conv2d(1, 1, 2 * radius + 1, padding=radius, bias=False)
    net.weight.data[0, 0] = torch.from_numpy(kernel)
    return nn.Sequential(net)


def test_the_border_of_photographs_is_no_misalignment():
    result = probe(laplacian(), "0", TURNS, smooth(20, 96, 64), **QUICK)
    assert result.summary["inverse"].max() < 0.02  # bilinear interpolation's own
    whole = probe(laplacian(), "0", TURNS, smooth(20, 96, 64), erode=0, **QUICK)
    assert whole.summary["inverse"].min() > 10 * result.summary["inverse"].max()
    margin = float(result.layers["margin"].iloc[0])
    assert 3 <= margin <= 5 + 1.5 + 1  # the kernel's radius, to the next cell, and a pixel
    assert whole.layers["margin"].iloc[0] == 0


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_the_margin_is_how_far_a_kernel_reaches(radius: int):
    network = nn.Sequential(nn.Conv2d(1, 1, 2 * radius + 1, padding=radius, bias=False))
    nn.init.constant_(network[0].weight, 1.0)
    images = noise(8, 40, 32)
    result = probe(network, "0", TURNS, images, **QUICK)
    # Positions lie half a pixel from the edge; the first cell that sees no padding is number
    # `radius`. One pixel is for the interpolation of the image.
    assert result.layers["margin"].iloc[0] == radius + 0.5 + 1
    assert probe(network, "0", TURNS, images, image_interpolation="bicubic", **QUICK).layers[
        "margin"
    ].iloc[0] == (radius + 0.5 + 2)


def test_strides_and_off_centre_frames_keep_to_their_own_cells():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 2, 3, 2, 1)
    )
    images = noise(8, 80, 48)
    result = probe(network, ["0", "2", "3"], TURNS, images, **QUICK)
    margins = result.margins
    # The outermost cell sees padding on either side. Cells of "2" stand every 2 px from -23.5 to
    # 22.5, those of "3" every 4 px from -23.5 to 20.5: the next ones at the right are the farther.
    assert margins == {"0": 1.5 + 1, "2": 3.5 + 1, "3": 7.5 + 1}


def test_nothing_is_left_out_where_padding_is_what_lies_beyond():
    digits = np.zeros((8, 1, 28, 28))
    digits[:, :, 9:19, 9:19] = np.random.default_rng(0).random((8, 1, 10, 10))
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1))
    for layer in network[::2]:
        nn.init.zeros_(layer.bias)
    result = probe(network, "2", TURNS, digits, **QUICK)
    assert result.layers["margin"].iloc[0] == 0
    whole = probe(network, "2", TURNS, digits, erode=0, **QUICK)
    assert result.errors.tobytes() == whole.errors.tobytes()


def test_networks_without_padding_lose_no_cells_on_images_with_a_margin():
    images = noise(8, 60, 32)
    network = nn.Sequential(nn.Conv2d(1, 2, 5))
    assert probe(network, "0", TURNS, images, **QUICK).margins == {"0": 0.0}


def test_where_the_edge_is_seen_everywhere_enough_cells_stay_and_it_is_said():
    network = nn.Sequential(nn.Conv2d(1, 2, 25, padding=12, bias=False))
    nn.init.constant_(network[0].weight, 1.0)
    images = noise(8, 60, 32)
    result = probe(network, "0", TURNS, images, **QUICK)
    (said,) = [text for text in result.warnings if text.startswith("borders of 0: ")]
    assert "up to 13.5 px from it" in said and "a canvas of " in said and "variance)" in said
    cells, margin = int(result.layers["compared_cells"].iloc[0]), result.margins["0"]
    whole = int(
        probe(network, "0", TURNS, images, erode=0, **QUICK).layers["compared_cells"].iloc[0]
    )
    assert whole / 4 <= cells < whole / 2 and 0 < margin < 13.5


def test_attention_over_the_whole_map_is_not_taken_for_a_border():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = self.conv(x)
            return maps * (1 + maps.mean((2, 3), keepdim=True))

    torch.manual_seed(0)
    images = noise(8, 60, 32)
    result = probe(nn.Sequential(Gated()), "0", TURNS, images, **QUICK)
    assert result.margins["0"] <= 4


def test_identity_alone_and_numbers_of_the_user_measure_nothing():
    images = np.random.default_rng(0).random((6, 1, 20, 20))
    shown: list[int] = []
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    network.register_forward_hook(lambda *_: shown.append(1))
    assert probe(network, "0", identity(), images, **QUICK).margins == {"0": 0.0}
    assert probe(network, "0", TURNS, images, erode=2.5, **QUICK).margins == {"0": 2.5}
    with pytest.raises(ProbeError, match="or 'auto'"):
        probe(network, "0", TURNS, images, erode="much", **QUICK)


def test_channel_weights_count_a_weak_channel_as_much_as_a_strong_one():
    network = nn.Sequential(nn.Conv2d(1, 2, 9, padding=4, bias=False))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].weight[0, 0, 4, 4] = 100.0  # a strong one that reaches nowhere
        network[0].weight[1] = 0.01  # a weak one that reaches four pixels
    images = noise(8, 60, 32)
    assert probe(network, "0", TURNS, images, **QUICK).margins == {"0": 0.0}
    weighed = probe(network, "0", TURNS, images, weighting="channel", **QUICK)
    assert weighed.margins == {"0": 4.5 + 1}


def test_every_measurement_of_a_layer_compares_the_same_cells():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    images = smooth(12, 64, 40)
    moves = [rotation(30), scaling(1.25)]
    result = probe(network, "1", moves, images, **QUICK)
    table = baselines(network, "1", moves, images, measures=[], **{"resamples": 10})
    for number, move in enumerate(moves):
        own = table[(table["transform"] == move.text) & (table["measure"] == "inverse")]
        np.testing.assert_allclose(
            own["value"].item(), result.summary["inverse"].iloc[number], rtol=1e-5
        )
    pictures = take_pictures(network, "1", moves, images, margins=result.margins)
    frame = pictures.layers[0].cells
    assert int(frame.sum()) == int(result.layers["compared_cells"].iloc[0])
    assert oracle(network, "1", moves, images, resamples=10).accuracy is not None


def test_margins_of_results_of_earlier_versions_are_their_option():
    images = np.random.default_rng(0).random((6, 1, 20, 20))
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    result = probe(network, "0", TURNS, images, erode=2, **QUICK)
    del result.layers["margin"]
    assert result.margins == {"0": 2.0}


def test_valid_cells_take_the_margin_of_their_frame():
    from dataclasses import replace

    from invariance_probe.geometry import image_frame

    frame = replace(image_frame(20, 20), margin=3.0)
    moves = rotations(-180, 180, step=45)
    expected = valid_cells(image_frame(20, 20), moves, (20, 20), erode=3.0)
    np.testing.assert_array_equal(valid_cells(frame, moves, (20, 20)), expected)
    assert frame.pooled(2).margin == frame.part(slice(0, 4), slice(0, 4)).margin == 3.0


def test_a_border_that_only_interpolation_reaches_is_given_no_share():
    """Cells beyond the margin see none of it; what is read between them does."""
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    result = probe(network, "0", [rotation(45)], noise(12, 6, 6), **QUICK)
    (said,) = (one for one in result.provenance["warnings"] if one.startswith("borders of 0"))
    assert "the rest is in the numbers; a canvas of" in said
