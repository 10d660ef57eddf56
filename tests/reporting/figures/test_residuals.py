"""Curves draw the table's numbers, on axes with units, and say what they cannot draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result
from invariance_probe.probing.rungs import rung_of
from invariance_probe.reporting import plot_residuals

RUNGS = ("unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image")
Check = Callable[[Figure], None]


def curve(ax: Axes, rung: str) -> tuple[np.ndarray, np.ndarray]:
    (line,) = [line for line in ax.lines if line.get_label() == rung_of(rung).label]
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def table(result: Result, layer: str, rung: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    rows = result.residuals
    rows = rows[(rows["layer"] == layer) & (rows["rung"] == rung) & (rows["kind"] == kind)]
    rows = rows.sort_values("parameter")
    return rows["parameter"].to_numpy(), rows["residual"].to_numpy()


@pytest.mark.parametrize("rung", RUNGS)
def test_scale_curves_are_the_table(result: Result, rung: str) -> None:
    figure = plot_residuals(result, "scaling", rungs=RUNGS)
    for ax, layer in zip(figure.axes, result.axes["layer"], strict=True):
        for drawn, known in zip(
            curve(ax, rung), table(result, layer, rung, "scaling"), strict=True
        ):
            np.testing.assert_array_equal(drawn, known)


@pytest.mark.parametrize("rung", RUNGS)
def test_angle_curves_are_the_table_closed_at_the_half_turn(result: Result, rung: str) -> None:
    figure = plot_residuals(result, "rotation", rungs=RUNGS)
    for ax, layer in zip(figure.axes, result.axes["layer"], strict=True):
        x, y = curve(ax, rung)
        angles, residuals = table(result, layer, rung, "rotation")
        np.testing.assert_array_equal(x, [*angles, 180.0])
        np.testing.assert_array_equal(y, [*residuals, residuals[0]])
        assert ax.get_xlim() == (-180, 180)


@pytest.mark.parametrize(
    ("transforms", "ends"),
    [("rotation:-45:45:15", (-45, 45)), ("rotation:0:360:30", (-180, 180)),
     ("rotation:-180:-120:15", (-180, -120))],
)  # fmt: skip
def test_only_full_circles_are_closed(
    make_result: Callable[..., Result], transforms: str, ends: tuple[float, float]
) -> None:
    figure = plot_residuals(make_result(transforms, ["conv1"]))
    x, _ = curve(figure.axes[0], "inverse")
    assert (x[0], x[-1]) == ends
    assert (np.diff(x) > 0).all()


def test_intervals_and_the_band_from_floor_to_ceiling_are_filled(result: Result) -> None:
    ax = plot_residuals(result, "scaling", "conv1", "inverse").axes[0]
    shade, interval = ax.collections
    rows = result.residuals.query("layer == 'conv1' and kind == 'scaling'")
    own = rows.query("rung == 'inverse'")
    points = interval.get_paths()[0].vertices
    for x, low, high in own[["parameter", "low", "high"]].to_numpy():
        ys = points[np.isclose(points[:, 0], x), 1]
        assert np.isclose(ys, low).any() and np.isclose(ys, high).any()
    points = shade.get_paths()[0].vertices
    ends = rows[rows["rung"].isin(["input_aligned", "other_image"])]
    for point in ends[["parameter", "residual"]].to_numpy():
        assert np.isclose(points, point).all(axis=1).any()


def test_axes_have_units_and_are_shared(result: Result, check_figure: Check) -> None:
    figure = plot_residuals(result)
    assert len(figure.axes) == 8
    labels = [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()]
    assert labels == ["angle (degrees)", "scale factor"]  # one for each row of panels
    assert [text.get_text() for text in figure.texts] == list("abcdefgh")
    named = [ax.get_ylabel().replace("\n", " ") for ax in figure.axes if ax.get_ylabel()]
    assert named == ["residual (fraction of variance unexplained)"] * 2
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert [ax.get_title("left") for ax in figure.axes] == [*result.axes["layer"]] * 2
    assert len(figure.legends) == 1
    check_figure(figure)


def test_five_curves_are_drawn_and_the_interval_of_the_ceiling_sets_no_axis(
    make_result: Callable[..., Result],
) -> None:
    made = make_result("rotation:-90:90:45", rungs=(*RUNGS, "spatial_bound", "inverse_linear"))
    table = made.residuals
    ceiling = table["rung"] == "other_image"
    highest = table.loc[ceiling, "residual"].max()
    made = replace(made, residuals=table.assign(high=table["high"].where(~ceiling, 9.0)))
    (first, *_) = plot_residuals(made).axes
    five = ("unaligned", "inverse", "best", "inverse_linear", "input_aligned")
    assert {line.get_label() for line in first.lines} == {rung_of(rung).label for rung in five}
    others = table.loc[~ceiling, ["residual", "high"]].to_numpy().max()
    assert first.get_ylim()[1] == pytest.approx(1.04 * max(highest, others))


def test_ticks_are_round_angles_and_roots_of_two(result: Result) -> None:
    figure = plot_residuals(result, layers="conv1")
    figure.draw_without_rendering()
    angles, factors = ([text.get_text() for text in ax.get_xticklabels()] for ax in figure.axes)
    assert angles == ["−180", "−90", "0", "90", "180"]
    assert factors == ["1/2", "1/√2", "1", "√2", "2"]
    assert figure.axes[1].get_xscale() == "log"


@pytest.mark.parametrize(
    ("transforms", "number"),
    [("rotation:-45:45:5", 1), ("rotation:0:10:1", 3), ("rotation:30", 1), ("scaling:2", 1),
     ("scaling:0.9:1.1:5", 3), ("scaling:0.25:4:9", 5), ("scaling:2,3 scaling:1,2", 1),
     ("reflection:0 reflection:90 shear:0.2 shear:-0.2,0.1 translation:1,0 identity", 2),
     ("affine:1,0,0,0.1,1,2 affine:1,0.25,0,0.1,1,2", 5), ("identity", 1)],
)  # fmt: skip
def test_every_kind_is_drawn_readably(
    make_result: Callable[..., Result], check_figure: Check, transforms: str, number: int
) -> None:
    layers = ["conv1", "layer1.0.conv2", "layer2.1.conv1", "d", "e"][:number]
    check_figure(plot_residuals(make_result(transforms, layers)))


def test_named_transformations_are_points_with_bars(make_result: Callable[..., Result]) -> None:
    made = make_result("reflection:0 reflection:90", ["conv1"])
    figure = plot_residuals(made, rungs=["inverse"])
    (ax,) = figure.axes
    assert ax.get_xlabel() == "mirror axis (degrees)"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "90"]
    rows = made.residuals.query("rung == 'inverse'")
    (container,) = [c for c in ax.containers if c.get_label() == "inverse h⁻¹"]
    np.testing.assert_array_equal(container[0].get_ydata(), rows["residual"])


def test_a_layer_without_variance_says_so(make_result: Callable[..., Result]) -> None:
    figure = plot_residuals(make_result("rotation:-90:90:45", ["conv1", "dead"], dead=["dead"]))
    texts = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert texts == [[], ["no variance\nin this layer"]]


def test_several_results_stand_below_one_another(
    make_result: Callable[..., Result], check_figure: Check
) -> None:
    turned, scaled = make_result("rotation:-90:90:45"), make_result("scaling:0.5:2:5")
    figure = plot_residuals([turned, scaled])
    assert len(figure.axes) == 8
    check_figure(figure)


def test_channel_rungs_have_curves_of_their_own(
    make_result: Callable[..., Result], check_figure: Check
) -> None:
    more = ("best_per_image", "spatial_bound", "inverse_permuted", "inverse_linear")
    made = make_result(layers=["conv1", "conv2", "conv3"], rungs=(*more, *RUNGS))
    figure = plot_residuals(made, rungs=made.axes["rung"])
    assert {rung_of(rung).label for rung in more} <= {
        str(line.get_label()) for line in figure.axes[0].lines
    }
    check_figure(figure)


def test_given_axes_are_used(result: Result) -> None:
    figure = Figure()
    axes = figure.subplots(1, 4)
    assert plot_residuals(result, "rotation", axes=axes) is figure
    assert all(ax.lines for ax in axes) and not figure.legends
    with pytest.raises(ProbeError, match="4 panels to draw on 2 axes; give one axes per panel"):
        plot_residuals(result, "rotation", axes=axes[:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "conv3"}, "no layer 'conv3' in this result; did you mean 'conv"),
        ({"layers": "fc"}, "no layer 'fc' in this result; there are conv1, pool1, conv2, pool2"),
        ({"rungs": ["invers"]}, "no rung 'invers' in this result; did you mean 'inverse'?"),
        ({"kind": "shear"}, "no transformation of kind 'shear' in this result, which has rotation"),
    ],
)
def test_what_is_not_there_is_named(
    result: Result, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ProbeError, match=message.replace("?", r"\?")) as raised:
        plot_residuals(result, **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
