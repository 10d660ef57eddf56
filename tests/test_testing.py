"""The assertions for other test suites: what passes, what fails, and what the messages say."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invariance_probe.data import ImageSet, array_images
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation, scaling, translation
from invariance_probe.networks import Network
from invariance_probe.networks.controls import orbit_bank, pointwise
from invariance_probe.networks.symmetry import symmetrised
from invariance_probe.testing import (
    assert_alignable,
    assert_aligned_by_permutation,
    assert_not_alignable,
    assert_translation_covariant,
)


def noise(side: int, canvas: int | None = None) -> ImageSet:
    values = np.random.default_rng(0).random((8, 1, side, side)).astype(np.float32)
    return array_images(values, canvas)


def smooth(side: int, canvas: int, shortest: float = 8.0) -> ImageSet:
    """Sums of plane waves: nothing that the grid could not carry."""
    generator = np.random.default_rng(0)
    x, y = np.meshgrid(*2 * (np.arange(side) - (side - 1) / 2,))
    scenes = np.zeros((8, 1, side, side), np.float32)
    for scene in scenes:
        for _ in range(30):
            wave = 2 * np.pi / generator.uniform(shortest, 2.5 * shortest)
            angle, phase = generator.uniform(0, 2 * np.pi, 2)
            scene[0] += np.cos(wave * (np.cos(angle) * x + np.sin(angle) * y) + phase)
        scene -= scene.min()
        scene /= scene.max()
    return array_images(scenes, canvas)


def network(*, padding: int = 0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 9, padding=padding), nn.MaxPool2d(2), nn.ReLU())


def parts(message: str) -> dict[str, float]:
    """The numbers of the split, by name."""
    lines = re.findall(r"(?m)^  (resampling|border|grid offset|network) +(\S+) ", message)
    return {name: float(value) for name, value in lines}


def failure(check, *arguments, **options) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*arguments, **options)
    return str(caught.value)


# --- what passes -------------------------------------------------------------------------------


def test_symmetric_filters_pass_at_right_angles():
    assert_alignable(symmetrised(network()), "2", "rotation:-90:180:90", noise(28))
    assert_not_alignable(network(), "[02]", "rotation:-90:180:90", noise(28))


def test_a_network_with_its_normalisation_passes_as_well():
    whole = Network(symmetrised(network()), "twin", "", 1, (28, 28), (0.5,), (0.2,))
    assert_alignable(whole, "0", rotation(180), noise(28).batch(range(8)).numpy())


def test_pointwise_features_pass_under_scaling_and_nothing_else_does():
    images = smooth(80, 40, shortest=14)
    assert_alignable(
        pointwise(), "conv1", scaling(1.3), images, image_interpolation="bicubic",
        map_interpolation="bicubic", erode=2,
    )  # fmt: skip
    assert_not_alignable(symmetrised(network()), "0", scaling(1.5), smooth(80, 40))


def test_a_closed_bank_passes_by_permutation():
    assert_aligned_by_permutation(orbit_bank(3), "filters", "rotation:90 rotation:180", noise(28))
    assert_not_alignable(orbit_bank(3), "filters", rotation(90), noise(28))


def test_shifts_by_the_stride_pass():
    assert_translation_covariant(network(), "2", noise(40))
    assert_translation_covariant(network(), "0", noise(40), shift=(3, -1))
    assert_translation_covariant(network(padding=4), "2", noise(40), erode=6)
    assert_translation_covariant(network(), "2", noise(44, 40), shift=(-2, 2))


# --- what fails, and why -----------------------------------------------------------------------


def test_random_filters_are_the_network():
    message = failure(assert_alignable, network(), "2", "rotation:-90:90:90", noise(28))
    assert "layer '2' under rotation:" in message
    assert "tolerance 0.001" in message and "another image" in message
    assert "(2 of 3 cases fail; this is the worst)" in message
    found = parts(message)
    assert found["network"] > 1
    assert found["resampling"] == found["grid offset"] == 0
    total = float(re.search(r"does not align: (\S+) is left", message).group(1))
    assert sum(found.values()) == pytest.approx(total, rel=0.01)
    (change,) = re.findall(r"change: (.*)", message)
    assert "symmetrised" in change and "align the input instead (leaves 0)" in change


def test_an_odd_map_is_the_grid_and_the_size_is_named():
    message = failure(assert_alignable, symmetrised(network()), "1", rotation(90), noise(29))
    found = parts(message)
    assert found["grid offset"] > 0.1
    assert found["network"] < 1e-6 and found["border"] == found["resampling"] == 0
    assert "the map's centre lies (-0.5, -0.5) px off the image's" in message
    (change,) = re.findall(r"change: (.*)", message)
    size = re.match(r"the input size: (\d+)x\1 centres the map and leaves \S+e-", change)
    assert size and size.group(1) in ("28", "30")
    good = int(size.group(1))
    assert_alignable(symmetrised(network()), "1", rotation(90), noise(good))


def test_a_bank_is_told_to_be_one():
    message = failure(assert_alignable, orbit_bank(3), "filters", rotation(90), noise(28))
    assert "the response moves to other channels: a permutation leaves" in message
    assert "assert_aligned_by_permutation" in message


def test_no_permutation_helps_random_filters():
    message = failure(assert_aligned_by_permutation, network(), "0", rotation(90), noise(28))
    assert "is left of the maps moved back and permuted" in message
    assert parts(message)["network"] > 1


def test_interpolation_is_resampling():
    message = failure(assert_alignable, pointwise(), "conv2", rotation(30), smooth(80, 40))
    found = parts(message)
    assert found["resampling"] > found["network"] + found["border"]
    assert "map_interpolation='bicubic'" in message.split("change:")[1]


def test_padding_is_the_border():
    padded = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 4, 5, padding=2))
    message = failure(assert_translation_covariant, padded, "2", noise(40))
    found = parts(message)
    assert found["border"] > 0.01 and found["network"] < 1e-6
    (change,) = re.findall(r"change: (.*)", message)
    assert "layers without padding" in change
    erode = float(re.search(r"erode=([\d.]+)", change).group(1))
    assert_translation_covariant(padded, "2", noise(40), erode=erode)


def test_a_shift_off_the_stride_is_the_grid():
    message = failure(assert_translation_covariant, network(), "2", noise(40), shift=(1, 0))
    assert parts(message)["grid offset"] > 0.1
    assert "no multiple of the stride, (2, 2) px" in message
    assert re.search(r"change: the shift: .* such as translation:\d,0,? .*leaves 0", message)


def test_square_kernels_and_scaling_have_their_own_words():
    images = smooth(80, 40)
    message = failure(assert_alignable, symmetrised(network()), "0", rotation(30), images)
    assert "strides and kernels on a square grid: symmetrised ones leave" in message
    message = failure(assert_alignable, network(), "0", scaling(1.5), images)
    assert "receptive fields do not follow a scaling" in message
    assert "only 1x1 filters suit a scaling" in message


class Positions(nn.Module):
    """Adds a ramp: not translation covariant."""

    def forward(self, images: Tensor) -> Tensor:
        return images + torch.linspace(0, 1, images.shape[-1])


def test_positions_are_the_network():
    message = failure(assert_translation_covariant, nn.Sequential(Positions()), "0", noise(20))
    assert parts(message)["network"] > 1e-4
    assert "the layers do not commute with shifts" in message


def test_alignable_layers_fail_the_opposite():
    message = failure(
        assert_not_alignable, symmetrised(network()), "0", "rotation:0:90:90", noise(28)
    )
    assert "layer '0' under rotation:90 aligns, or cannot be told from it" in message
    assert "expected at least 0.1" in message
    assert "aligns" in failure(assert_not_alignable, network(), "0", rotation(0), noise(28))


def test_constant_maps_never_pass_quietly():
    silent = nn.Sequential(nn.Conv2d(1, 2, 3))
    nn.init.zeros_(silent[0].weight)
    for check in (assert_alignable, assert_not_alignable, assert_translation_covariant):
        arguments = (silent, "0") + (() if "trans" in check.__name__ else (rotation(90),))
        message = failure(check, *arguments, noise(12))
        assert "shows nothing: its maps do not vary over cells and images" in message


def test_too_few_samples_for_a_permutation_fail():
    wide = nn.Sequential(nn.Conv2d(1, 700, 9), nn.AvgPool2d(5))
    message = failure(assert_aligned_by_permutation, wide, "1", rotation(90), noise(28))
    assert "8 images do not determine a permutation of its channels" in message


# --- input that cannot be measured -------------------------------------------------------------


def test_bad_input_is_a_probe_error():
    with pytest.raises(ProbeError, match="conv9"):
        assert_alignable(network(), "conv9", rotation(90), noise(28))
    with pytest.raises(ProbeError, match="unknown options"):
        assert_alignable(network(), "0", rotation(90), noise(28), erosion=3)
    with pytest.raises(ProbeError, match="cannot be shifted"):
        assert_translation_covariant(network(), "0", noise(28), shift=(14, 0))
    with pytest.raises(ProbeError, match="cannot be split"):
        assert_alignable(network(), "0", translation(1, 0), noise(28).take(2))


def test_importing_it_leaves_torch_alone():
    code = "import sys, invariance_probe.testing; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
