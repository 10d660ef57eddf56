"""Pictures of inputs and what transformers make of them, singly and as means of classes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from planted_poses import Planted, PlantedExamples, half, idle, knows
from torch import nn

from invariance_probe.data.examples.examples import Batch
from invariance_probe.errors import ProbeError
from invariance_probe.reporting import plot_aligned, plot_class_means

Check = Callable[[Figure], None]
NETWORKS = {"STN-C0": Planted(knows), "STN-C1": Planted(half)}


def rows(figure: Figure, number: int) -> np.ndarray:
    """Pictures (rows, columns, H, W) in the order of the page."""
    axes = sorted(figure.axes, key=lambda ax: ax.get_subplotspec().num1)
    images = np.stack([np.asarray(ax.images[0].get_array()) for ax in axes])
    return images.reshape(number, -1, *images.shape[1:])


@pytest.mark.parametrize("law", ["rotation", "scaling", "translation", "all"])
def test_inputs_and_aligned_images_in_rows(law: str, check_figure: Check) -> None:
    examples = PlantedExamples(law, number=30)
    figure = plot_aligned(NETWORKS, examples, draws=3)
    check_figure(figure)
    shown = rows(figure, 3)
    assert shown.shape == (3, 9, 20, 20)  # three classes, three draws each
    labels = [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()]
    assert labels == ["input", "STN-C0", "STN-C1"]
    # Who knows shows the same glyph under all transformations.
    inner = shown[:, :, 1:].reshape(3, 3, 3, -1)  # without the pixels that tell
    spread = inner.std(axis=2).mean(axis=(1, 2))
    assert spread[1] < spread[2] < spread[0]


def test_parameters_rise_and_are_written_above(check_figure: Check) -> None:
    figure = plot_aligned(NETWORKS, PlantedExamples(number=30), [4, 7], draws=4, seed=1)
    check_figure(figure)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    angles = np.array([int(t.replace("−", "-").rstrip("°")) for t in titles]).reshape(2, 4)
    assert (np.diff(angles, axis=1) > 5).all()
    assert (angles[:, 0] < -60).all() and (angles[:, -1] > 60).all()
    again = plot_aligned(NETWORKS, PlantedExamples(number=30), [4, 7], draws=4, seed=1)
    np.testing.assert_array_equal(rows(figure, 3), rows(again, 3))


def test_pixels_are_shown_without_normalisation(check_figure: Check) -> None:
    class Normalised(PlantedExamples):
        mean, std = (0.25,), (0.5,)

        def draw(self, seed: int) -> SimpleNamespace:
            inner = super().draw(seed)

            def batch(indices: torch.Tensor) -> Batch:
                found = inner.batch(indices)
                return Batch((found.images - 0.25) / 0.5, found.targets, found.transforms)

            return SimpleNamespace(batch=batch)

    shown = [
        rows(plot_aligned({}, examples, [3], draws=2), 1)
        for examples in (PlantedExamples(), Normalised())
    ]
    np.testing.assert_allclose(shown[1], shown[0], atol=1e-6)


def test_data_without_matrices_are_shown_as_they_come() -> None:
    class Elastic(PlantedExamples):
        def draw(self, seed: int) -> SimpleNamespace:
            inner = super().draw(seed)

            def batch(indices: torch.Tensor) -> Batch:
                found = inner.batch(indices)
                return Batch(found.images, found.targets)

            return SimpleNamespace(batch=batch)

    figure = plot_aligned({"a": Planted(idle)}, Elastic(), [0], draws=2)
    assert rows(figure, 2).shape == (2, 2, 20, 20)


def test_means_get_sharp_where_poses_agree(check_figure: Check) -> None:
    examples = PlantedExamples(number=90)
    figure = plot_class_means(NETWORKS, examples, passes=2, batch_size=32)
    check_figure(figure)
    shown = rows(figure, 3)
    assert shown.shape == (3, 3, 20, 20)
    sharpness = shown[:, :, 3:17, 3:17].std(axis=(2, 3)).mean(axis=1)
    assert sharpness[1] > sharpness[2] > sharpness[0]
    whole = torch.cat([examples.draw(s).batch(range(90)).images[1::3] for s in (0, 1)])
    mean = whole.double().mean(0)[0].clamp(0, 1)
    np.testing.assert_allclose(shown[0, 1], mean, atol=1e-6)
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["0", "1", "2"]


def test_chosen_classes_and_colours() -> None:
    class Coloured(PlantedExamples):
        channels, mean, std = 3, (0.0,) * 3, (1.0,) * 3

        def draw(self, seed: int) -> SimpleNamespace:
            inner = super().draw(seed)

            def batch(indices: torch.Tensor) -> Batch:
                found = inner.batch(indices)
                return Batch(found.images.repeat(1, 3, 1, 1), found.targets, found.transforms)

            return SimpleNamespace(batch=batch)

    figure = plot_class_means({"a": Planted(idle)}, Coloured(), [2])
    assert rows(figure, 2).shape == (2, 1, 20, 20, 3)


def test_bad_input() -> None:
    examples = PlantedExamples()
    with pytest.raises(ProbeError, match=r"CNN has no spatial transformer: .* leave it out"):
        plot_aligned({"CNN": nn.Flatten()}, examples)
    with pytest.raises(ProbeError, match="CNN has no spatial transformer"):
        plot_class_means({"CNN": nn.Flatten()}, examples)
    with pytest.raises(ProbeError, match="no example 60; there are 0 to 59"):
        plot_aligned(NETWORKS, examples, [60])
    with pytest.raises(ProbeError, match="0 draws"):
        plot_aligned(NETWORKS, examples, draws=0)
    with pytest.raises(ProbeError, match="no image of class 7, 9 in planted glyphs"):
        plot_class_means(NETWORKS, examples, [0, 7, 9])
