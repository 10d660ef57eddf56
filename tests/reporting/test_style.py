"""The house style: told apart by everyone, the same bytes twice, nothing left behind."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from papers import theorem

from invariance_probe.probing import RUNGS as ALL
from invariance_probe.probing import Result
from invariance_probe.probing.rungs import rung_of
from invariance_probe.reporting import (
    figure_style,
    plot_gain,
    plot_ladder,
    plot_landscape,
    plot_residuals,
)
from invariance_probe.reporting.figures import (
    baselines,
    channels,
    composition,
    gallery,
    landscape,
    oracle,
    tuning,
)
from invariance_probe.reporting.figures import gain as heatmap
from invariance_probe.reporting.figures.classifiers import poses
from invariance_probe.reporting.figures.comparisons import comparison

RUNGS = ("unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image")
FIGURES = [plot_residuals, plot_gain, plot_landscape, plot_ladder]
# Machado, Oliveira & Fernandes (2009), full severity, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def seen(colour: Any, deficiency: str) -> np.ndarray:
    """CIE Lab of a colour as somebody with the deficiency sees it."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.fixture(scope="module")
def small(make_result: Callable[..., Result]) -> Result:
    return make_result("rotation:-90:90:45 scaling:0.5:2:3", ["conv1", "pool1"])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_rungs_differ_in_colour_for_everyone(deficiency: str) -> None:
    for one, other in itertools.combinations(RUNGS, 2):
        colours = (rung_of(one).colour, rung_of(other).colour)
        distance = np.linalg.norm(seen(colours[0], deficiency) - seen(colours[1], deficiency))
        assert distance > 12, (one, other, distance)


def test_rungs_differ_without_colour() -> None:
    marks = {(rung_of(rung).marker, str(rung_of(rung).line)) for rung in ALL}
    assert len(marks) == len(ALL)


def looks_drawn(figure: Figure) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and line of everything with a label in the panels of a figure."""
    found = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            line = handle[0] if isinstance(handle, ErrorbarContainer) else handle
            found[label] = (line.get_color(), str(line.get_marker()), dashes(line))
    return found


def dashes(line: Line2D) -> str:
    return "none" if line.get_linestyle() == "None" else str(line._dash_pattern)  # type: ignore[attr-defined]


def told_apart(one: tuple[str, str, str], other: tuple[str, str, str], by: float = 12) -> bool:
    """By mark or line; else by colour for everyone, and by lightness in grey print."""
    if one[1:] != other[1:]:
        return True
    pairs = [(seen(one[0], name), seen(other[0], name)) for name in DEFICIENCIES]
    enough = all(np.linalg.norm(first - second) >= by for first, second in pairs)
    return enough and abs(pairs[0][0][0] - pairs[0][1][0]) >= 20


@pytest.mark.parametrize("moves", ["rotation:-90:90:45", "rotation:90", "shear:0.2 shear:-0.2"])
def test_rungs_drawn_together_are_told_apart(
    make_result: Callable[..., Result], moves: str
) -> None:
    made = make_result(moves, ["conv1"], rungs=ALL)
    figure = plot_residuals(made, rungs=ALL)
    looks = looks_drawn(figure)
    assert len(looks) == len(ALL)
    for one, other in itertools.combinations(looks, 2):
        assert told_apart(looks[one], looks[other]), (one, other)
    keys = {
        handle.get_label(): handle.get_marker()
        for handle in figure.legends[0].legend_handles
        if isinstance(handle, Line2D)
    }
    assert {keys[label] for label in looks} >= {look[1] for look in looks.values()} - {"None"}


@pytest.mark.parametrize(
    "looks",
    [
        {name: look[1:] for name, look in channels._MOVED.items()},
        {name: (look[1], look[2] or channels._ALONE[name], "none")
         for name, look in channels._MOVED.items()},
        {name: look[1:] for name, look in composition._SERIES.items()},
        {name: (one.colour, one.marker, one.line) for name, one in oracle._LOOKS.items()},
        dict(enumerate(comparison._LOOKS)),
        dict(enumerate(tuning._LOOKS)),
        {number: (*look, "none") for number, look in enumerate(baselines._LOOKS)},
        {number: (*look, "-") for number, look in enumerate(theorem._LOOKS)},
    ],
    ids=["moved", "moved at single values", "composition", "oracle", "comparison", "tuning",
         "baselines", "theorem"],
)  # fmt: skip
def test_other_lines_drawn_together_are_told_apart(looks: dict[Any, tuple[str, str, Any]]) -> None:
    for one, other in itertools.combinations(looks, 2):
        first, second = ((look[0], look[1], str(look[2])) for look in (looks[one], looks[other]))
        assert told_apart(first, second), (one, other)


def test_like_marks_are_not_told_apart_by_a_colour_that_some_do_not_see() -> None:
    assert told_apart(("#000000", "o", "-"), ("#FFFFFF", "o", "-"))
    for one, other in (("#FF0000", "#00A000"), ("#009E73", "#CC79A7"), ("#777777", "#7A7A7A")):
        assert not told_apart((one, "o", "-"), (other, "o", "-"))  # the second: only grey print


@pytest.mark.parametrize("colours", [landscape._COLOURS, gallery._MAPS, poses._COUNTS])
def test_colour_scales_rise_or_fall_in_lightness(colours: Any) -> None:
    steps = np.diff(lightness(colours))
    assert (steps > 0).all() or (steps < 0).all()
    assert np.abs(steps.sum()) > 50


@pytest.mark.parametrize("colours", [heatmap._COLOURS, gallery._DIFFERENCES])
def test_diverging_scales_are_lightest_in_the_middle_with_ends_told_apart(colours: Any) -> None:
    steps = np.diff(lightness(colours))
    assert (steps[:50] > 0).all() and (steps[50:] < 0).all()
    scale = matplotlib.colormaps[colours]
    for name in DEFICIENCIES:
        for off in (0.2, 0.35, 0.5):  # as far from the middle on both sides
            low, high = (seen(scale(0.5 + side * off)[:3], name) for side in (-1, 1))
            assert np.linalg.norm(low - high) > 20, (name, off)


def lightness(colours: Any) -> np.ndarray:
    scale = matplotlib.colormaps[colours] if isinstance(colours, str) else colours
    return np.array([seen(colour[:3], "none")[0] for colour in scale(np.linspace(0, 1, 101))])


def test_new_rungs_get_a_style_of_their_own() -> None:
    rungs = (*ALL, "one_more", "and_more", "yet_more")
    styles = [rung_of(rung, rungs) for rung in rungs]
    assert len({(s.colour, s.marker, str(s.line)) for s in styles}) == len(rungs)
    assert styles[-1].label == "yet more"


@pytest.mark.parametrize("draw", FIGURES)
def test_figures_are_outside_pyplot_and_leave_the_settings(
    small: Result, draw: Callable[[Result], Figure]
) -> None:
    before = dict(matplotlib.rcParams)
    figure = draw(small)
    figure.savefig(BytesIO(), format="svg")
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


@pytest.mark.parametrize("draw", FIGURES)
def test_the_same_result_gives_the_same_bytes(
    small: Result, draw: Callable[[Result], Figure]
) -> None:
    first, again = (BytesIO() for _ in range(2))
    for buffer in (first, again):
        draw(small).savefig(buffer, format="svg")
    assert first.getvalue() == again.getvalue()
    text = first.getvalue().decode()
    assert "<dc:date>" not in text
    assert "<text" in text and "conv1" in text  # letters, not outlines


def test_settings_of_the_user_change_no_figure(small: Result) -> None:
    theirs = {"text.usetex": True, "axes.labelpad": 40.0, "lines.linestyle": ":", "figure.dpi": 9.0}
    buffers = []
    for settings in ({}, theirs):
        buffers.append(BytesIO())
        with matplotlib.rc_context(settings):
            plot_residuals(small).savefig(buffers[-1], format="svg")
    assert buffers[0].getvalue() == buffers[1].getvalue()


def test_printed_sizes_and_embedded_fonts(small: Result) -> None:
    wide, narrow = plot_residuals(small), plot_residuals(small, layers="conv1")
    assert [round(f.get_figwidth() * 25.4, 6) for f in (wide, narrow)] == [170.0, 85.0]
    buffer = BytesIO()
    narrow.savefig(buffer, format="pdf")
    assert b"/Type3" not in buffer.getvalue().replace(b" ", b"")
    assert b"CreationDate" not in buffer.getvalue()


ABOUT = {"network": {"name": "net_$1"}, "images": {"description": "digits_$2"}}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts if "digits" in text.get_text()]


@pytest.mark.parametrize("draw", FIGURES)
def test_figures_say_once_what_they_are_of(small: Result, draw: Callable[..., Figure]) -> None:
    known = replace(small, provenance=ABOUT)
    other = replace(small, provenance=ABOUT | {"network": {"name": "other"}})
    assert texts(draw(known, width=85)) == ["net_$1, digits_$2"]
    with figure_style(named=False):
        assert texts(draw(known)) == []
    assert texts(draw(small)) == []  # made by hand: nothing is known of it
    if draw is not plot_landscape:
        assert texts(draw([known, known, other])) == ["net_$1, other, digits_$2"]


def test_what_others_draw_into_is_not_named(small: Result) -> None:
    parent = Figure()
    plot_residuals(replace(small, provenance=ABOUT), "scaling", "conv1", axes=parent.subplots())
    assert texts(parent) == []


def test_ax_is_taken_for_axes(small: Result) -> None:
    ax = Figure().subplots()
    assert small.plot.residuals("scaling", "conv1", ax=ax) is ax.figure
    assert ax.lines


def test_what_a_figure_is_of_takes_no_room_from_it(small: Result) -> None:
    known = replace(small, provenance=ABOUT)
    bare, named = plot_residuals(small, width=85), plot_residuals(known, width=85)
    heights = []
    for figure in (bare, named):
        figure.draw_without_rendering()
        heights.append(25.4 * figure.get_figheight() * figure.axes[0].get_position().height)
    assert heights[0] == pytest.approx(heights[1], abs=0.2)
    (line,) = (text for text in named.texts if text.get_text().startswith("net"))
    box = line.get_window_extent()
    assert box.y1 <= named.bbox.y1 and box.x1 <= named.bbox.x1
    assert all(box.y0 > ax.get_tightbbox().y1 for ax in named.axes)


def test_another_font_is_used_and_embedded(small: Result) -> None:
    with figure_style(font="STIXGeneral"):  # comes with matplotlib
        figure = plot_residuals(small, layers="conv1")
    assert figure.look["font.family"] == ["STIXGeneral", "DejaVu Sans"]  # type: ignore[attr-defined]
    theirs, ours = BytesIO(), BytesIO()
    figure.savefig(theirs, format="pdf")  # after the block: a figure keeps its font
    plot_residuals(small, layers="conv1").savefig(ours, format="pdf")
    assert b"STIXGeneral" in theirs.getvalue() and b"STIXGeneral" not in ours.getvalue()
    assert b"/FontFile2" in theirs.getvalue()
    assert b"/Type3" not in theirs.getvalue().replace(b" ", b"")


def test_a_font_that_is_missing_is_said_once(small: Result) -> None:
    missing = pytest.warns(UserWarning, match="'No Such Font' is not installed")
    with missing as told, figure_style(font="No Such Font"):
        figure = plot_residuals(small)
        figure.savefig(BytesIO(), format="pdf")
    assert len(told) == 1
    assert figure.look["font.family"] == ["DejaVu Sans"]  # type: ignore[attr-defined]


def test_figures_show_themselves_in_notebooks(small: Result) -> None:
    picture = plot_residuals(small, "scaling", "conv1")._repr_png_()  # type: ignore[attr-defined]
    assert picture.startswith(b"\x89PNG")
