"""The oracle's figures: the numbers of the result, told apart and labelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.probing import OracleResult, oracle
from invariance_probe.reporting import plot_oracle
from invariance_probe.reporting.tables.oracle import TREATMENTS

Check = Callable[[Figure], None]


def small(labels: bool, transforms: str = "rotation:90 rotation:0") -> OracleResult:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
    pixels = np.random.default_rng(0).random((20, 1, 12, 12), dtype=np.float32)
    known = np.arange(20) % 3 if labels else None
    images = array_images(pixels, 12, labels=known)
    return oracle(network, ["0", "2"], transforms, images, resamples=50)


@pytest.fixture(scope="module")
def labelled() -> OracleResult:
    return small(labels=True)


def test_the_points_are_the_tables_numbers(labelled: OracleResult) -> None:
    figure = plot_oracle(labelled)
    assert isinstance(figure, Figure)
    (ax,) = figure.axes  # the identity moves nothing and is not drawn
    table = labelled.table("rotation:90")
    drawn = {c.get_label(): c[0].get_ydata() for c in ax.containers}
    assert drawn["inverse h⁻¹"] == pytest.approx(table["inverse"].to_numpy())
    assert drawn["h⁻¹, linear map"] == pytest.approx(table["inverse_linear"].to_numpy())
    assert ax.get_title(loc="left") == "rotation 90°"
    assert ax.get_ylabel() == "accuracy"


def test_without_labels_there_is_agreement() -> None:
    result = small(labels=False)
    with pytest.raises(ProbeError, match="no labels; draw 'agreement'"):
        plot_oracle(result)
    assert "agreement" in plot_oracle(result, "agreement").axes[0].get_ylabel()
    assert "fraction of variance" in plot_oracle(result, "logit_residual").axes[0].get_ylabel()


@pytest.fixture(scope="module")
def turned() -> OracleResult:
    """Angles out of order, all the way round, and one scaling, which makes no curve."""
    return small(True, "rotation:90 rotation:0 rotation:-90 rotation:-180 scaling:1.5")


def line(ax: Axes, treatment: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [part for part in ax.lines if part.get_label() == TREATMENTS[treatment]]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


@pytest.mark.parametrize("measure", ["accuracy", "agreement", "logit_residual"])
def test_several_rotations_make_curves_against_the_angle(
    turned: OracleResult, check_figure: Check, measure: str
) -> None:
    figure = plot_oracle(turned, measure)
    check_figure(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["0", "2"]
    for ax, layer in zip(figure.axes, ["0", "2"], strict=True):
        for treatment in TREATMENTS:
            x, y = line(ax, treatment)
            assert x.tolist() == [-180, -90, 0, 90, 180]
            column = [
                turned.table(f"rotation:{angle}", measure)[treatment][layer]
                for angle in (-180, -90, 0, 90, -180)
            ]
            np.testing.assert_allclose(y, column)
        assert ax.get_xlabel() == "angle (degrees)"


def test_scalings_are_drawn_against_their_factor(check_figure: Check) -> None:
    figure = plot_oracle(small(True, "scaling:0.5:2:5 rotation:90"), "agreement")
    check_figure(figure)
    assert len(figure.axes) == 2  # a panel per layer; a single rotation makes no curve
    for ax in figure.axes:
        x, _ = line(ax, "inverse")
        np.testing.assert_allclose(x, 2.0 ** np.linspace(-1, 1, 5))
        assert ax.get_xscale() == "log" and ax.get_xlabel() == "scale factor"


def test_named_transformations_are_drawn_against_depth(
    turned: OracleResult, check_figure: Check
) -> None:
    figure = plot_oracle(turned, "agreement", ["rotation:-90", "scaling:1.5"])
    check_figure(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["rotation −90°", "scaling 1.5"]
    for ax, name in zip(figure.axes, ["rotation:-90", "scaling:1.5"], strict=True):
        expected = turned.table(name, "agreement")
        for treatment in ("nothing", "input_aligned"):
            _, y = line(ax, treatment)
            assert set(y) == set(expected[treatment])
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "2"]


def test_error_bars_end_where_intervals_do(labelled: OracleResult) -> None:
    (ax,) = plot_oracle(labelled, "logit_residual").axes
    (bars,) = [c for c in ax.containers if c.get_label() == TREATMENTS["inverse_linear"]]
    segments = bars[2][0].get_segments()
    rows = labelled.accuracy.query("treatment == 'inverse_linear' and transform == 'rotation:90'")
    ends = rows[["logit_residual_low", "logit_residual_high"]].to_numpy()
    np.testing.assert_allclose([segment[:, 1] for segment in segments], ends)


def test_maps_that_are_not_determined_leave_a_gap(
    labelled: OracleResult, check_figure: Check
) -> None:
    table = labelled.accuracy.copy()
    gap = (table["treatment"] != "inverse") & (table["layer"] == "0")
    for measure in ("accuracy", "agreement", "logit_residual"):
        for end in ("", "_low", "_high"):
            table.loc[gap, f"{measure}{end}"] = np.nan
    figure = plot_oracle(replace(labelled, accuracy=table), "logit_residual")
    check_figure(figure)
    (ax,) = figure.axes
    (points,) = [c[0] for c in ax.containers if c.get_label() == TREATMENTS["inverse_linear"]]
    y = points.get_ydata()
    assert np.isnan(y[0]) and np.isfinite(y[1])
    assert np.isfinite(ax.get_ylim()).all()


def test_own_axes_are_used_and_counted(labelled: OracleResult) -> None:
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plot_oracle(labelled, axes=axes[0]) is figure
    with pytest.raises(ProbeError, match="1 panels to draw on 2 axes"):
        plot_oracle(labelled, axes=axes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("acuracy",), "no measure 'acuracy'"),
        (("accuracy", "rotation:91"), "no transform 'rotation:91'"),
    ],
)
def test_unknown_names_are_refused(
    labelled: OracleResult, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ProbeError, match=message):
        plot_oracle(labelled, *arguments)
