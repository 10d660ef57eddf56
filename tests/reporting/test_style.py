"""The house style: told apart by everyone, the same bytes twice, nothing left behind."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from invariance_probe.probing import RUNGS as ALL
from invariance_probe.probing import Result
from invariance_probe.reporting import plot_ladder, plot_landscape, plot_recovered, plot_residuals
from invariance_probe.reporting.style import rung_style

RUNGS = ("unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image")
FIGURES = [plot_residuals, plot_recovered, plot_landscape, plot_ladder]
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


def seen(colour: str, deficiency: str) -> np.ndarray:
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
        colours = (rung_style(one).colour, rung_style(other).colour)
        distance = np.linalg.norm(seen(colours[0], deficiency) - seen(colours[1], deficiency))
        assert distance > 12, (one, other, distance)


def test_rungs_differ_without_colour() -> None:
    marks = {(rung_style(rung).marker, str(rung_style(rung).line)) for rung in ALL}
    assert len(marks) == len(ALL)


def test_new_rungs_get_a_style_of_their_own() -> None:
    rungs = (*ALL, "one_more", "and_more", "yet_more")
    styles = [rung_style(rung, rungs) for rung in rungs]
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


def test_printed_sizes_and_embedded_fonts(small: Result) -> None:
    wide, narrow = plot_residuals(small), plot_residuals(small, layers="conv1")
    assert [round(f.get_figwidth() * 25.4, 6) for f in (wide, narrow)] == [170.0, 85.0]
    buffer = BytesIO()
    narrow.savefig(buffer, format="pdf")
    assert b"/Type3" not in buffer.getvalue().replace(b" ", b"")
    assert b"CreationDate" not in buffer.getvalue()


def test_figures_show_themselves_in_notebooks(small: Result) -> None:
    picture = plot_residuals(small, "scaling", "conv1")._repr_png_()  # type: ignore[attr-defined]
    assert picture.startswith(b"\x89PNG")
