"""The spread over images: boxes of what the table averages."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result
from invariance_probe.reporting import plot_spread
from invariance_probe.reporting.figures.spread import image_residuals


def test_the_mean_over_images_is_the_tables_residual(result: Result) -> None:
    rows = result.residuals.set_index(["layer", "transform", "rung"])["residual"]
    for layer in result.axes["layer"]:
        for transform in result.axes["transform"]:
            for rung, values in image_residuals(result, layer, transform).items():
                assert values.mean() == pytest.approx(rows[layer, transform, rung], rel=1e-9)


def test_a_panel_per_layer_with_units(result: Result) -> None:
    figure = plot_spread(result)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == len(result.axes["layer"])
    assert "fraction of the mean variance" in figure.get_supxlabel()
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["unaligned", "inverse h⁻¹"]


def test_boxes_are_the_quantiles_on_one_axis_for_all_panels(result: Result) -> None:
    figure = plot_spread(result, "rotation:90")
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    for layer, ax in zip(result.axes["layer"], figure.axes, strict=True):
        values = image_residuals(result, layer, "rotation:90")["inverse"]
        parts = [part for part in ax.lines if 0.6 < np.mean(part.get_ydata()) < 1.4]
        (box,) = [part for part in parts if len(part.get_xdata()) == 5]
        (median,) = [
            part for part in parts
            if len(set(part.get_xdata())) == 1 and np.ptp(part.get_ydata()) > 0.5
        ]  # fmt: skip
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        assert sorted(set(box.get_xdata())) == pytest.approx([low, high])
        assert median.get_xdata()[0] == pytest.approx(middle)


def test_unknown_transforms_are_named(result: Result) -> None:
    with pytest.raises(ProbeError, match="no transform 'rotation:91'"):
        plot_spread(result, "rotation:91")
