"""The landscape shows the search's residuals, the inverse as a line, what was found as points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from invariance_probe.alignment.search import ANGLES, SCALES
from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result
from invariance_probe.reporting import plot_landscape

Check = Callable[[Figure], None]
Make = Callable[..., Result]


def labelled(ax: Axes, label: str) -> Line2D:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line


def values(ax: Axes) -> np.ndarray:
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    return np.asarray(mesh.get_array())


def test_angles_are_the_table_closed_at_the_half_turn(result: Result, check_figure: Check) -> None:
    figure = plot_landscape(result)
    shown = values(figure.axes[0])
    assert shown.shape == (len(ANGLES) + 1, 25)
    rows = result.landscape.query("layer == 'conv1' and kind == 'rotation' and by == 'angle'")
    for row, column in ((0, 0), (40, 3), (71, 23)):
        angle, applied = ANGLES[row], -180.0 + 15 * column
        known = rows.loc[(rows["value"] == angle) & (rows["parameter"] == applied), "residual"]
        assert shown[row, column] == known.item()
    np.testing.assert_array_equal(shown[-1], shown[0])
    np.testing.assert_array_equal(shown[:, -1], shown[:, 0])
    check_figure(figure)


def test_scales_are_the_table(result: Result, check_figure: Check) -> None:
    figure = plot_landscape(result, "pool1", by="scale")
    rows = result.landscape.query("layer == 'pool1' and kind == 'scaling' and by == 'scale'")
    known = rows["residual"].to_numpy().reshape(9, len(SCALES)).T
    np.testing.assert_array_equal(values(figure.axes[0]), known)
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
    check_figure(figure)


@pytest.mark.parametrize(("by", "inverse"), [("angle", np.negative), ("scale", np.reciprocal)])
def test_the_line_is_the_inverse_and_the_points_are_what_was_found(
    result: Result, by: str, inverse: Callable[[np.ndarray], np.ndarray]
) -> None:
    ax = plot_landscape(result, "conv2", by=by).axes[0]
    x, y = labelled(ax, "inverse, g = h⁻¹").get_data()
    np.testing.assert_allclose(y, inverse(np.asarray(x, float)))
    x, y = (np.asarray(part, float) for part in labelled(ax, "best found").get_data())
    if by == "angle":  # the half turn may be drawn at either end
        off = np.remainder(y - inverse(x) + 180, 360) - 180
    else:
        off = np.log2(y / inverse(x))
    assert np.abs(off).max() < 1e-9
    assert set(np.round(x, 9)) >= set(
        np.round(result.alignments.query("kind == @k", local_dict={"k": _kind(by)})["parameter"], 9)
    )


def _kind(by: str) -> str:
    return {"angle": "rotation", "scale": "scaling"}[by]


def test_axes_and_bar_have_units(result: Result) -> None:
    figure = plot_landscape(result, "conv1")
    assert figure.axes[0].get_xlabel() == "applied angle (degrees)"
    assert figure.axes[0].get_ylabel() == "aligning angle (degrees)"
    label = figure.axes[-1].get_ylabel().replace("\n", " ")
    assert label == "residual, fit half (fraction of variance unexplained)"


@pytest.mark.parametrize(
    ("transforms", "number"),
    [("rotation:0:20:10", 2), ("rotation:-90:90:45", 5), ("rotation:30", 1)],
)
def test_other_ranges_are_readable(
    make_result: Make, check_figure: Check, transforms: str, number: int
) -> None:
    made = make_result(transforms, [f"conv{n}" for n in range(number)])
    check_figure(plot_landscape(made))


def test_what_is_not_there_is_named(result: Result, make_result: Make) -> None:
    turned = make_result("rotation:-30:30:30", ["conv1"])
    with pytest.raises(ProbeError, match="no transformation of kind 'scaling' in this result"):
        plot_landscape(turned, by="scale")
    with pytest.raises(ProbeError, match="by 'shear' is not known; use 'angle' or 'scale'"):
        plot_landscape(turned, by="shear")
    with pytest.raises(ProbeError, match="no layer 'conv'"):
        plot_landscape(turned, "conv")
    with pytest.raises(ProbeError, match="the landscape needs uniform scalings"):
        plot_landscape(make_result("scaling:1,2 scaling:2", ["conv1"]), by="scale")


def test_given_axes_are_used(result: Result) -> None:
    figure = Figure()
    ax = figure.subplots()
    assert plot_landscape(result, "conv1", axes=ax) is figure
