"""The figure of baselines: it draws the table, layer by layer, and says what is not there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from invariance_probe.errors import ProbeError
from invariance_probe.reporting import plot_baselines

Check = Callable[[Figure], None]
MEASURES = (
    "unaligned", "inverse", "input_aligned", "other_image", "gain", "normalised_variance",
    "same_equivariance", "same_equivariance_distance", "eq_psnr", "cka_unaligned", "cka_inverse",
)  # fmt: skip
GENERATORS = ("rotation", "scaling", "translation_x", "translation_y")


def make_table(
    kind: str = "rotation", layers: tuple[str, ...] = ("conv1", "pool1", "conv2")
) -> pd.DataFrame:
    """Values that rise with depth and measure, one transformation."""
    rows = []
    for depth, layer in enumerate((*layers, "output")):
        for number, measure in enumerate(MEASURES if layer != "output" else ()):
            value = 0.05 + (depth + number) / 15 * (20 if measure == "eq_psnr" else 1)
            for transform in (f"{kind}:1", "all"):
                rows.append((layer, measure, transform, kind, value, value * 0.9, value * 1.1))
        for number, name in enumerate(GENERATORS):
            value = 10.0 ** (number - depth)
            rows.append((layer, "lie_derivative_relative", name, name, value, value / 2, value * 2))
    columns = ["layer", "measure", "transform", "kind", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(parameter=1.0, images=10)


def points(figure: Figure, panel: int, number: int = -1) -> np.ndarray:
    """Values of one set of marks in a panel."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() != "None"]
    return np.asarray(lines[number].get_xdata(), dtype=float)


def test_the_figure_draws_the_table(check_figure: Check) -> None:
    table = make_table()
    figure = plot_baselines(table)
    assert len(figure.axes) == 7
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "conv1", "pool1", "conv2",
    ]  # fmt: skip
    every = table[table["transform"] == "all"].set_index(["measure", "layer"])["value"]
    shown = (
        "inverse", "gain", "same_equivariance", "same_equivariance_distance", "eq_psnr",
        "cka_inverse",
    )  # fmt: skip
    for place, measure in enumerate(shown):
        np.testing.assert_array_equal(points(figure, place), every[measure])
    np.testing.assert_array_equal(points(figure, 0, 0), every["unaligned"])
    np.testing.assert_array_equal(points(figure, 6), [1, 0.1, 0.01])
    check_figure(figure)


def test_kinds_stand_side_by_side_with_their_own_generator(check_figure: Check) -> None:
    figure = plot_baselines({"rotation": make_table(), "scaling": make_table("scaling")})
    np.testing.assert_array_equal(points(figure, 6), [10, 1, 0.1])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["rotation", "scaling"]
    check_figure(figure)


@pytest.mark.parametrize("number", [1, 12])
def test_few_and_many_layers_fit(check_figure: Check, number: int) -> None:
    names = tuple(f"features.{place}.block.0" for place in range(number))
    check_figure(plot_baselines(make_table(layers=names)))


def test_what_is_missing_or_infinite_leaves_gaps(check_figure: Check) -> None:
    table = make_table()
    table = table[~table["measure"].str.startswith(("cka", "lie"))]
    table.loc[(table["measure"] == "eq_psnr") & (table["layer"] == "conv1"), "value"] = np.inf
    figure = plot_baselines(table, ["conv1", "conv2"])
    assert len(figure.axes) == 5
    assert np.isnan(points(figure, 4)[0]) and np.isfinite(points(figure, 4)[1])
    check_figure(figure)


def test_given_axes_are_used() -> None:
    figure = Figure()
    axes = figure.subplots(1, 7)
    assert plot_baselines(make_table(), axes=axes) is figure
    assert all(ax.lines for ax in axes) and not figure.legends


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ProbeError, match="no layer 'fc' in these baselines; there are conv1, pool"):
        plot_baselines(make_table(), "fc")
    for nothing in ({}, make_table().iloc[:0]):
        with pytest.raises(ProbeError, match="no baselines to draw; give tables that"):
            plot_baselines(nothing)
