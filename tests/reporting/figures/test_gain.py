"""The heat map shows the summary's `gain`, and hatches what has no value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result
from invariance_probe.reporting import plot_gain

Check = Callable[[Figure], None]
Make = Callable[..., Result]


def mesh(figure: Figure, place: int = 0) -> np.ma.MaskedArray:
    (found,) = [c for c in figure.axes[place].collections if isinstance(c, QuadMesh)]
    assert found.get_clim() == (-1, 1)
    return found.get_array()


def test_colours_are_the_summary(result: Result, check_figure: Check) -> None:
    figure = plot_gain(result)
    for place, kind in enumerate(("rotation", "scaling")):
        shown = mesh(figure, place)
        for row, layer in enumerate(result.axes["layer"]):
            rows = result.summary
            rows = rows[(rows["layer"] == layer) & (rows["kind"] == kind)]
            rows = rows.sort_values("parameter")
            known = rows["gain"].to_numpy()
            still = rows["identity"].to_numpy(bool)
            np.testing.assert_array_equal(shown.mask[row], still)
            np.testing.assert_array_equal(shown.data[row][~still], known[~still])
    assert [ax.get_xlabel() for ax in figure.axes[:2]] == ["angle (degrees)", "scale factor"]
    assert "gain" in figure.axes[-1].get_ylabel()
    check_figure(figure)


def test_the_identity_and_dead_layers_are_hatched(make_result: Make) -> None:
    figure = plot_gain(make_result("rotation:-30:30:30", ["conv1", "dead"], dead=["dead"]))
    hatched = {
        (round(patch.get_x() + 0.5), round(patch.get_y() + 0.5))
        for patch in figure.axes[0].patches
        if isinstance(patch, Rectangle) and patch.get_hatch()
    }
    assert hatched == {(1, 0), (0, 1), (1, 1), (2, 1)}
    assert "identity" in figure.legends[0].get_texts()[0].get_text()


def test_few_cells_carry_their_numbers(make_result: Make, result: Result) -> None:
    made = make_result("rotation:90 rotation:180", ["conv1"])
    texts = [text.get_text() for text in plot_gain(made).axes[0].texts]
    known = made.summary["gain"]
    assert texts == [f"{value:.2f}".replace("-", "−") for value in known]
    assert not plot_gain(result).axes[0].texts


def test_the_bar_points_beyond_only_where_values_lie(make_result: Make) -> None:
    made = make_result("rotation:30 rotation:60", ["conv1"])
    made.summary.loc[0, "inverse"] = 1.7 * made.summary.loc[0, "unaligned"] * 2
    below = plot_gain(made)
    made.summary.loc[1, "inverse"] = made.summary.loc[1, "input_aligned"] / 2
    both = plot_gain(made)
    extends = [figure.axes[-1]._colorbar.extend for figure in (below, both)]
    assert extends == ["min", "both"]


@pytest.mark.parametrize(
    ("transforms", "number"),
    [("rotation:-180:180:5", 2), ("rotation:-180:180:30", 1), ("scaling:0.25:4:13", 1),
     ("rotation:-10:10:5 scaling:0.5:2:3", 1), ("rotation:-30:30:15", 18),
     ("shear:0.2 shear:-0.25,0.1 translation:10,-5 reflection:90 rotation:30", 2),
     ("affine:1,0,0,0.1,1,2 affine:1,0.25,0,0.1,1,2", 1)],
)  # fmt: skip
def test_labels_stay_apart(
    make_result: Make, check_figure: Check, transforms: str, number: int
) -> None:
    check_figure(plot_gain(make_result(transforms, [f"layer{n}.conv" for n in range(number)])))


def test_what_is_not_there_is_named(result: Result) -> None:
    with pytest.raises(ProbeError, match="kind 'translation' in this result, which has rotation"):
        plot_gain(result, "translation")
    with pytest.raises(ProbeError, match="no layer 'pool3' in this result; did you mean 'pool"):
        plot_gain(result, layers=["pool3"])


def test_given_axes_are_used(result: Result) -> None:
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plot_gain(result, axes=axes) is figure
    assert all(ax.collections for ax in axes)
