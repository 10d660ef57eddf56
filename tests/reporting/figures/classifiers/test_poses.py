"""Figures of poses: the table's numbers, readable, for one network and several."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from planted_poses import Planted, PlantedExamples, by_class, half, idle, knows, noisy

from invariance_probe.errors import ProbeError
from invariance_probe.reporting import plot_pose_histogram
from invariance_probe.training.poses.poses import collect_poses
from invariance_probe.training.poses.statistics import orthogonal_regression, pose_deviation

Check = Callable[[Figure], None]
RULES = {"STN-C0": noisy(12.0), "STN-C1": half, "STN-SL1": noisy(6.0), "STN-DL1": idle}


@pytest.fixture(scope="module")
def turned() -> dict[str, pd.DataFrame]:
    examples = PlantedExamples(number=300)
    return {name: collect_poses(Planted(rule), examples) for name, rule in RULES.items()}


def panels(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.images]


def said(ax: Axes) -> list[str]:
    """The lines above a panel."""
    return ax.get_title(loc="left").split("\n")


def test_bins_hold_the_samples(turned: dict[str, pd.DataFrame], check_figure: Check) -> None:
    table = turned["STN-C0"]
    figure = plot_pose_histogram(table)
    check_figure(figure)
    assert round(figure.get_figwidth() * 25.4, 6) == 85
    (ax,) = panels(figure)
    assert ax.get_xlim() == ax.get_ylim() == (-110, 110)
    assert {-90, -45, 45, 90} <= set(ax.get_xticks()) and {-90, 45} <= set(ax.get_yticks())
    assert ax.get_xlabel() == "applied rotation (degrees)"
    counts = np.asarray(ax.images[0].get_array().filled(0))
    assert counts.shape == (110, 110)
    x, y = table["applied_angle"].to_numpy(), table["predicted_angle"].to_numpy()
    inside = (np.abs(x) < 110) & (np.abs(y) < 110)
    assert counts.sum() == inside.sum()
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    near = (np.floor((x + 110) / 2) == column) & (np.floor((y + 110) / 2) == row)
    assert near.sum() == counts.max()


def test_the_line_is_the_orthogonal_regression_and_says_so(
    turned: dict[str, pd.DataFrame],
) -> None:
    table = turned["STN-C0"]
    (ax,) = panels(plot_pose_histogram(table))
    line = orthogonal_regression(table["applied_angle"], table["predicted_angle"])
    slopes = [part.get_slope() for part in ax.lines]
    assert slopes == [-1, pytest.approx(line.slope)]
    x, y = ax.lines[1].get_xy1()
    assert y == pytest.approx(line.slope * x + line.intercept)
    sign = "−" if line.intercept < 0 else "+"
    deviation = pose_deviation(table["final_angle"], table["label"])
    assert said(ax)[:2] == [
        f"y = −{abs(line.slope):.2f}x {sign} {abs(line.intercept):.1f}", f"sd {deviation:.1f}°",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [2, 3, 4])
def test_networks_share_axes_and_shades(
    turned: dict[str, pd.DataFrame], check_figure: Check, number: int
) -> None:
    some = dict(list(turned.items())[:number])
    figure = plot_pose_histogram(some)
    check_figure(figure)
    shown = panels(figure)
    assert [said(ax)[0] for ax in shown] == list(some)
    assert len({ax.get_ylim() for ax in shown}) == 1
    assert len({ax.images[0].norm.vmax for ax in shown}) == 1
    assert figure.axes[-1].get_ylabel() == "samples per bin"


def test_many_networks_take_rows(turned: dict[str, pd.DataFrame], check_figure: Check) -> None:
    many = turned | {f"{name} again": table for name, table in turned.items()}
    figure = plot_pose_histogram(many)
    check_figure(figure)
    assert len(panels(figure)) == 8


def test_scales_are_drawn_as_factors(check_figure: Check) -> None:
    table = collect_poses(Planted(half), PlantedExamples("scaling", number=200))
    figure = plot_pose_histogram(table)
    check_figure(figure)
    (ax,) = panels(figure)
    figure.draw_without_rendering()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1/2", "1", "2"]
    assert said(ax) == ["y = 1.00 x^−0.50", "sd 0.29 octaves"]
    assert ax.get_xlabel() == "applied scale factor"


def test_shifts_have_a_row_for_each_coordinate(check_figure: Check) -> None:
    examples = PlantedExamples("translation", number=200)
    tables = {n: collect_poses(Planted(r), examples) for n, r in {"a": half, "b": by_class}.items()}
    figure = plot_pose_histogram(tables)
    check_figure(figure)
    labels = [ax.get_xlabel() for ax in panels(figure)]
    assert labels == ["applied shift in x (px)"] * 2 + ["applied shift in y (px)"] * 2
    one = plot_pose_histogram(tables["a"], "translation_y")
    assert [ax.get_xlabel() for ax in panels(one)] == labels[2:3]
    check_figure(plot_pose_histogram(tables["a"]))


def test_what_lies_beyond_the_axes_is_counted() -> None:
    examples = PlantedExamples(number=200)
    (ax,) = panels(plot_pose_histogram(collect_poses(Planted(noisy(60.0)), examples)))
    assert said(ax)[2].endswith("% outside")


def test_wide_angles_get_wide_axes(check_figure: Check) -> None:
    examples = PlantedExamples(number=100, limit=180.0)
    figure = plot_pose_histogram(collect_poses(Planted(knows), examples))
    check_figure(figure)
    assert panels(figure)[0].get_xlim() == (-198, 198)


def test_own_axes_are_used_and_the_same_bytes_come_out(turned: dict[str, pd.DataFrame]) -> None:
    figure = Figure()
    ax = figure.add_subplot()
    assert plot_pose_histogram(turned["STN-C0"], axes=ax) is figure
    assert not figure.legends and figure.axes == [ax]
    buffers = [BytesIO(), BytesIO()]
    for buffer in buffers:
        plot_pose_histogram(turned["STN-C0"]).savefig(buffer, format="svg")
    assert buffers[0].getvalue() == buffers[1].getvalue()
    assert b"orthogonal regression" in buffers[0].getvalue()  # letters, not outlines


def test_bad_input(turned: dict[str, pd.DataFrame]) -> None:
    table = turned["STN-C0"]
    with pytest.raises(ProbeError, match="no kind of pose 'angle'; there are rotation"):
        plot_pose_histogram(table, "angle")
    with pytest.raises(ProbeError, match="the poses of a vary in rotation, not in scaling"):
        plot_pose_histogram({"a": table}, "scaling")
    with pytest.raises(ProbeError, match="at least one network"):
        plot_pose_histogram({})
    still = collect_poses(Planted(idle), PlantedExamples("none"))
    with pytest.raises(ProbeError, match="transformed alike; nothing to draw"):
        plot_pose_histogram(still)
    broken = table.assign(predicted_angle=np.nan)
    with pytest.raises(ProbeError, match="0 samples have a finite pose"):
        plot_pose_histogram(broken)


@pytest.mark.parametrize("kind", ["scaling", "translation"])
def test_axes_follow_a_network_that_prefers_another_size_or_place(kind: str) -> None:
    examples = PlantedExamples(kind, number=200)
    plain = collect_poses(Planted(knows), examples)
    moved = plain.copy()
    for name, by in {"log2_scale": 1.5, "dx": 6.0, "dy": -6.0}.items():
        moved[f"predicted_{name}"] += by
    before, after = (panels(plot_pose_histogram(table, kind)) for table in (plain, moved))
    for old, new in zip(before, after, strict=True):
        assert new.get_xlim() == old.get_xlim()
        low, high = new.get_ylim()
        assert high - low == pytest.approx(np.subtract(*old.get_ylim()[::-1]))
        assert (low, high) != old.get_ylim() and not any("outside" in line for line in said(new))


@pytest.mark.parametrize("number", [1, 4])
def test_nothing_is_written_over_the_samples(turned: dict[str, pd.DataFrame], number: int) -> None:
    for ax in panels(plot_pose_histogram(dict(list(turned.items())[:number]))):
        assert not ax.texts and len(said(ax)) >= 3
