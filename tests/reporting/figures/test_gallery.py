"""The gallery shows the maps that were computed, strongest channels first."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from invariance_probe.data import embedded_digits
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation, warp
from invariance_probe.reporting import plot_gallery

WEIGHTS = (0.5, -2.0, 1.0, 3.0, 0.0)


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    """Channels that are multiples of the image."""
    layer = nn.Conv2d(1, len(WEIGHTS), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(WEIGHTS).reshape(-1, 1, 1, 1))
    return nn.Sequential(layer)


def shown(figure: Figure) -> list[np.ma.MaskedArray]:
    return [ax.images[0].get_array() for ax in maps(figure)]


def maps(figure: Figure) -> list[Axes]:
    """Panels with an image: two inputs, then four a row."""
    return [ax for ax in figure.axes if ax.images]


def test_channels_stand_in_order_of_their_variance(network: nn.Module) -> None:
    figure = plot_gallery(network, embedded_digits(3), "0", rotation(90), index=1, channels=3)
    labels = [ax.get_ylabel() for ax in maps(figure) if ax.get_ylabel()]
    assert labels == ["channel 3", "channel 1", "channel 2"]


def test_maps_are_those_of_the_image_and_of_its_transform(
    network: nn.Module, check_figure: Callable[[Figure], None]
) -> None:
    digits = embedded_digits(3)
    figure = plot_gallery(network, digits, "0", "rotation:90", index=2, channels=2)
    image = digits.batch([2])
    turned = warp(image, rotation(90))
    first, second, *panels = shown(figure)
    np.testing.assert_allclose(first, image[0, 0])
    np.testing.assert_allclose(second, turned[0, 0])
    original, moved, back, difference = panels[:4]
    np.testing.assert_allclose(original, 3 * image[0, 0])
    np.testing.assert_allclose(moved, 3 * turned[0, 0])
    np.testing.assert_allclose(back, 3 * image[0, 0])  # a quarter turn is exact
    assert np.abs(difference).max() == 0
    assert difference.mask.sum() == 0 if np.ma.is_masked(difference) else True
    check_figure(figure)


def test_maps_of_a_row_share_a_scale_and_differences_are_centred(network: nn.Module) -> None:
    figure = plot_gallery(network, embedded_digits(3), "0", "rotation:30", channels=2)
    for start in (2, 6):
        *three, difference = [ax.images[0] for ax in maps(figure)[start : start + 4]]
        assert len({image.get_clim() for image in three}) == 1
        low, high = difference.get_clim()
        assert low == -high
        assert np.isnan(np.ma.filled(difference.get_array(), np.nan)).any()  # corners: not compared
    assert "grey: cells that are not compared" in figure.get_suptitle()


def test_normalisation_comes_after_the_transformation(network: nn.Module) -> None:
    digits = embedded_digits(2)
    figure = plot_gallery(network, digits, "0", "rotation:45", channels=1, mean=[0.5], std=[0.25])
    moved = shown(figure)[3]
    known = 3 * (warp(digits.batch([0]), rotation(45))[0, 0] - 0.5) / 0.25
    np.testing.assert_allclose(moved, known, atol=1e-5)


def test_colour_images_are_shown_in_colour() -> None:
    images = torch.rand(2, 3, 16, 16)
    figure = plot_gallery(nn.Sequential(nn.Conv2d(3, 4, 3)), images, "0", "reflection:90")
    assert shown(figure)[0].shape == (16, 16, 3)
    assert len(maps(figure)) == 2 + 4 * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "conv1"}, "conv1"),
        ({"transform": "rotation:0:90:30"}, "names 4 transformations; the gallery shows one"),
        ({"index": 9}, "no image 9"),
        ({"channels": 0}, "channels=0: show at least one"),
    ],
)
def test_what_is_not_there_is_named(
    network: nn.Module, options: dict[str, object], message: str
) -> None:
    given: dict[str, object] = {"layer": "0", "transform": "rotation:30", **options}
    with pytest.raises(ProbeError, match=message):
        plot_gallery(network, embedded_digits(3), **given)  # type: ignore[arg-type]


def test_what_the_layout_leaves_to_chance_does_not_reach_the_file(network: nn.Module) -> None:
    def drawn(noise: float) -> bytes:
        figure = plot_gallery(network, embedded_digits(3), "0", rotation(90), channels=2)
        engine = figure.get_layout_engine()
        execute = engine.execute

        def noisy(of: Figure) -> None:
            execute(of)
            for number, ax in enumerate(of.axes):
                place = ax.get_position(original=True)
                ax._set_position(place.translated(noise * (1 + number), -noise))

        engine.execute = noisy
        buffer = BytesIO()
        figure.savefig(buffer, format="svg")
        return buffer.getvalue()

    assert drawn(0.0) == drawn(3e-13) == drawn(-3e-13)
