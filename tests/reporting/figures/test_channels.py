"""Channel figures draw the numbers of the tables, on a bank whose channel shift is planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from invariance_probe.data import ImageSet, array_images
from invariance_probe.errors import ProbeError
from invariance_probe.networks.controls import orbit_bank
from invariance_probe.probing import Result, probe
from invariance_probe.probing.rungs import rung_of
from invariance_probe.reporting import (
    plot_channel_shift,
    plot_composition,
    plot_ladder,
    plot_moved,
    plot_residuals,
    plot_tuning,
    save_figures,
)
from invariance_probe.reporting.figures.channels import stand_ins

Check = Callable[[Figure], None]


def noise(number: int = 16) -> ImageSet:
    values = np.random.default_rng(0).random((number, 1, 20, 20), dtype=np.float32)
    return array_images(values, 20)


@pytest.fixture(scope="module")
def turned() -> Result:
    """Eight channels, two kernels in four orientations: 90° shifts them by one."""
    return probe(orbit_bank(2, 5), "filters", "rotation:-180:180:45", noise(), resamples=20)


@pytest.fixture(scope="module")
def scaled() -> Result:
    return probe(orbit_bank(2, 5), "filters", "scaling:0.5:2:3", noise(), resamples=20)


@pytest.fixture(scope="module")
def lacking(turned: Result) -> Result:
    """As if there had been too few samples for channel maps."""
    fitted = [name for name in turned.axes["rung"] if name in ("spatial_bound", "inverse_linear")]
    rows = turned.residuals.copy()
    rows.loc[rows["rung"].isin(fitted), ["residual", "low", "high"]] = np.nan
    errors = turned.errors.copy()
    errors[:, :, [turned.axes["rung"].index(name) for name in fitted]] = np.nan
    channels = turned.channels.assign(determined=False)
    return replace(
        turned, residuals=rows, errors=errors, channels=channels,
        composition=turned.composition.iloc[:0],
    )  # fmt: skip


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [part for part in ax.lines if part.get_label() == label]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def points(ax: Axes) -> set[tuple[float, float]]:
    """Where the channels lie; marks only, which the lines of the panel are not."""
    marks = [part for part in ax.lines if part.get_linestyle() == "None"]
    return {tuple(np.round(point, 6)) for part in marks for point in part.get_xydata()}


def test_a_planted_shift_lies_above_the_diagonal_at_the_correlations_stored(
    turned: Result, check_figure: Check
) -> None:
    figure = plot_channel_shift(turned)
    (ax,) = figure.axes
    which = turned.axes["transform"].index("rotation:90")
    stored = np.asarray(turned.extra["correlation/filters"][which], float)
    permutation = orbit_bank(2, 5).permutation(90)
    best = stored[np.arange(8), permutation]
    assert best == pytest.approx(1, abs=1e-5)
    wanted = {tuple(np.round(pair, 6)) for pair in zip(np.diag(stored), best, strict=True)}
    assert points(ax) == wanted
    table = stand_ins(turned, "filters", "rotation:90")
    assert table["best_other"].tolist() == permutation.tolist()
    assert ax.get_title("left") == "filters\n8 of 8 above"
    (chance,) = [part for part in ax.lines if part.get_color() == "0.4"]
    median = np.median(turned.extra["by_chance/filters"][which])
    assert chance.get_ydata()[0] == pytest.approx(float(median))
    assert median < 0.5
    check_figure(figure)


def test_at_the_identity_every_channel_fits_itself(turned: Result) -> None:
    ax = plot_channel_shift(turned, "filters", "rotation:0").axes[0]
    assert all(x == pytest.approx(1, abs=1e-5) and y < x for x, y in points(ax))
    assert ax.get_title("left") == "filters\n0 of 8 above"


def test_results_without_the_chance_level_are_drawn_without_it(turned: Result) -> None:
    older = replace(turned, extra={
        name: value for name, value in turned.extra.items() if not name.startswith("by_chance")
    })  # fmt: skip
    figure = plot_channel_shift(older)
    assert not [part for part in figure.axes[0].lines if part.get_color() == "0.4"]
    assert len(figure.legends[0].get_texts()) == 2


def test_the_default_transform_is_the_one_nearest_to_90(scaled: Result) -> None:
    label = plot_channel_shift(scaled).axes[0].get_xlabel()
    assert label == "correlation with itself (scaling 2)"


@pytest.mark.parametrize("table", ["moved", "moved_by_chance", "strongest_changed"])
def test_shares_are_the_table_closed_at_the_half_turn(
    turned: Result, check_figure: Check, table: str
) -> None:
    labels = {"moved": "variance in channels that moved", "moved_by_chance": "the same by chance",
              "strongest_changed": "cells whose strongest channel changed"}  # fmt: skip
    figure = plot_moved(turned)
    x, y = line(figure.axes[0], labels[table])
    rows = turned.channels.sort_values("parameter")
    np.testing.assert_array_equal(x, [*rows["parameter"], 180.0])
    np.testing.assert_array_equal(y, [*rows[table], rows[table].iloc[0]])
    check_figure(figure)


def test_undetermined_permutations_are_left_out_and_named(
    lacking: Result, check_figure: Check
) -> None:
    figure = plot_moved(lacking)
    assert np.isnan(line(figure.axes[0], "variance in channels that moved")[1]).all()
    assert [text.get_text() for text in figure.axes[0].texts] == ["n. d."]
    assert "not determined" in figure.legends[0].get_texts()[-1].get_text()
    check_figure(figure)
    shown = plot_channel_shift(lacking)
    assert "not determined:\n" in shown.axes[0].texts[0].get_text()
    check_figure(shown)


def test_undetermined_rungs_are_left_out_and_named(lacking: Result, check_figure: Check) -> None:
    figure = plot_residuals(lacking)
    labels = [str(part.get_label()) for part in figure.axes[0].lines]
    assert rung_of("inverse").label in labels
    assert rung_of("inverse_linear").label not in labels
    title = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert title == "not determined, too few samples: h⁻¹, linear map"
    check_figure(figure)
    texts = [text.get_text() for text in plot_ladder(lacking).axes[0].texts]
    assert texts.count("not determined") == 2 and "no variance" not in texts


def test_curves_show_the_rungs_that_tell_most_and_all_on_demand(turned: Result) -> None:
    def labels(figure: Figure) -> set[str]:
        names = {str(part.get_label()) for part in figure.axes[0].lines}
        return {name for name in names if not name.startswith("_")}  # marks without a name

    few = ("unaligned", "inverse", "best", "inverse_linear", "input_aligned")
    measured = turned.residuals.dropna(subset="residual")["rung"].unique()
    assert "spatial_bound" not in measured  # fewer samples than positions: never a number
    everything = {rung_of(rung).label for rung in measured}
    assert labels(plot_residuals(turned)) == {rung_of(rung).label for rung in few} & everything
    assert labels(plot_residuals(turned, rungs=turned.axes["rung"])) == everything


def test_a_full_turn_is_polar_and_the_curves_are_the_table(
    turned: Result, check_figure: Check
) -> None:
    figure = plot_tuning(turned, channels=[3, 5])
    (ax,) = figure.axes
    assert ax.name == "polar"
    for drawn, channel in zip(ax.lines, (3, 5), strict=True):
        rows = turned.tuning.query(f"channel == {channel}").sort_values("parameter")
        angle, radius = drawn.get_data()
        np.testing.assert_allclose(angle[:-1], np.radians(rows["parameter"]))
        np.testing.assert_allclose(radius[:-1], rows["rms"] / rows["rms"].max())
        assert radius[-1] == radius[0]
        change = (rows["rms"].max() - rows["rms"].min()) / (rows["rms"].max() + rows["rms"].min())
        assert drawn.get_label() == f"{channel}: {change:.2f}"
    check_figure(figure)
    with pytest.raises(ProbeError, match="6 channels in one panel; give 5 at most"):
        plot_tuning(turned, channels=range(6))


def test_scales_are_drawn_on_a_logarithmic_axis(scaled: Result, check_figure: Check) -> None:
    figure = plot_tuning(scaled)
    (ax,) = figure.axes
    assert ax.get_xscale() == "log" and len(ax.lines) == 3
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, [0.5, 1, 2])
    assert y.max() == 1
    check_figure(figure)


def test_an_arc_is_drawn_on_a_straight_axis(turned: Result, check_figure: Check) -> None:
    arc = replace(turned, tuning=turned.tuning.query("-90 <= parameter <= 90"))
    figure = plot_tuning(arc, channels=2)
    assert {ax.name for ax in figure.axes} == {"rectilinear"}
    assert figure.axes[0].get_xlim() == (-90, 90)
    check_figure(figure)


def test_composition_is_the_table_with_arrows_beyond_the_axis(
    turned: Result, check_figure: Check
) -> None:
    table = turned.composition.copy()
    closure = table["kind"] == "closure"
    table.loc[closure, "composed_linear"] = 1e4
    table.loc[~closure, "composed_linear"] = np.linspace(0.01, 2, int((~closure).sum()))
    figure = plot_composition(replace(turned, composition=table))
    ax = figure.axes[0]
    x, y = line(ax, "linear maps composed")
    pairs = table[~closure]
    angle = pairs["product"].str.partition(":")[2].astype(float)
    wanted = dict(zip(angle, pairs["composed_linear"], strict=True))
    for place, value in zip(x, y, strict=True):
        assert value == wanted[-180.0 if place == 180 else place]
    (arrow,) = [part for part in ax.lines if part.get_marker() == "^"]
    assert arrow.get_ydata()[0] == ax.get_ylim()[1] and arrow.get_xdata()[0] > 180
    assert ax.get_yscale() == "log"
    assert "8×: the step, all the way round" in {
        text.get_text() for text in figure.legends[0].get_texts()
    }
    check_figure(figure)


def test_channel_figures_are_saved_with_the_others(turned: Result, tmp_path: Path) -> None:
    names = {path.stem for path in save_figures(turned, tmp_path, ["svg"])}
    assert names == {"ledger", "ladder", "gain", "spread", "residuals_rotation", "landscape_angle",
                     "channel_shift", "tuning_rotation", "composition"}  # fmt: skip


def test_given_axes_are_used(turned: Result) -> None:
    for draw in (plot_moved, plot_composition, plot_channel_shift):
        figure = Figure()
        assert draw(turned, axes=figure.subplots()) is figure
        assert not figure.legends
    with pytest.raises(ProbeError, match="1 panels to draw on 2 axes"):
        plot_moved(turned, axes=Figure().subplots(1, 2))


def test_what_is_not_there_is_named(
    turned: Result, scaled: Result, make_result: Callable[..., Result]
) -> None:
    bare = make_result("rotation:30", ["conv1"])
    for draw in (plot_channel_shift, plot_moved, plot_composition):
        with pytest.raises(ProbeError, match="no channel maps; probe with channels=True"):
            draw(bare)
    large = replace(turned, extra={})
    with pytest.raises(ProbeError, match=r"no correlations of layer 'filters'.*up to 256"):
        plot_channel_shift(large, "filters")
    with pytest.raises(ProbeError, match="no composed channel maps in this result"):
        plot_composition(replace(turned, composition=turned.composition.iloc[:0]))
    with pytest.raises(ProbeError, match="no channel 8 in layer 'filters', which has 8, from 0"):
        plot_tuning(turned, "filters", [8])
    with pytest.raises(ProbeError, match=r"no tuning curves of kind 'rotation'.*has scaling"):
        plot_tuning(scaled, kind="rotation")
    with pytest.raises(ProbeError, match="by='area' is not known; use 'modulation' or"):
        plot_tuning(turned, by="area")
    with pytest.raises(ProbeError, match="nothing but the identity"):
        plot_channel_shift(probe(orbit_bank(1, 5), "filters", "identity", noise(8), resamples=10))
