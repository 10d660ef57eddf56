"""The course of training as a figure, and a trained run in a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn

from invariance_probe import ProbeError
from invariance_probe.networks import Architecture
from invariance_probe.reporting import plot_history
from invariance_probe.training import Passes, TrainConfig, TrainedRun

ROWS = """step,epoch,loss,accuracy,learning_rate,test_error,seconds
50,1,2.0,0.25,0.1,,3.5
100,2,0.5,0.75,0.01,0.3,3.5
"""


@pytest.fixture()
def run(tmp_path: Path) -> TrainedRun:
    """Two seeds; the second one learned twice as much."""
    for seed, text in ((0, ROWS), (7, ROWS.replace("0.3", "0.15"))):
        (tmp_path / f"seed_{seed}").mkdir()
        (tmp_path / f"seed_{seed}" / "history.csv").write_text(text)
    config = TrainConfig("mnist-r", Architecture(name="CNN", backbone="mnist"), seeds=(0, 7))
    return TrainedRun(tmp_path, config, {0: nn.Identity(), 7: nn.Identity()}, {0: {}, 7: {}})


def test_lines_and_points_are_those_of_the_history(
    run: TrainedRun, check_figure: Callable[[Figure], None]
) -> None:
    figure = plot_history(run)
    check_figure(figure)
    loss, error = figure.axes
    assert [line.get_label() for line in loss.get_lines()] == ["seed 0", "seed 7"]
    np.testing.assert_array_equal(loss.get_lines()[0].get_ydata(), [2.0, 0.5])
    np.testing.assert_array_equal(error.get_lines()[0].get_xdata(), [50, 100])
    np.testing.assert_allclose(error.get_lines()[0].get_ydata(), [75, 25])
    np.testing.assert_allclose(error.get_lines()[3].get_ydata(), [np.nan, 15])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["seed 0", "seed 7", "test"]


def test_seeds_and_axes_are_the_caller_s(run: TrainedRun) -> None:
    own = Figure()
    axes = own.subplots(1, 2)
    assert run.plot.history(7, axes=axes) is own
    assert [line.get_label() for line in axes[0].get_lines()] == ["seed 7"]
    assert own.legends == []


def test_bad_input_is_one_line(run: TrainedRun) -> None:
    said = f"no seed 3 in '{run.folder}'; there are 0, 7"
    with pytest.raises(ProbeError, match=f"^{re.escape(said)}$"):
        plot_history(run, [0, 3])
    (run.folder / "seed_7" / "history.csv").unlink()
    with pytest.raises(ProbeError, match=r"^seed 7 of '.*' has no history; train it again"):
        plot_history(run)


def test_a_run_shows_where_it_ended(run: TrainedRun) -> None:
    assert repr(run) == "TrainedRun(CNN on mnist-r, seeds 0, 7)"
    html = run._repr_html_()
    assert html.count("data:image/png;base64,") == 1
    assert "<th>seed 7</th>" in html
    assert "<td>0.15</td>" in html
    (run.folder / "seed_7" / "history.csv").unlink()
    assert "<b>TrainedRun(CNN on mnist-r, seeds 0, 7)</b>" in run._repr_html_()


def test_passes_show_their_errors() -> None:
    html = Passes((0.01, 0.02), (0.1, 0.2), 500)._repr_html_()
    assert "Error 1.50% ± 0.71%" in html
    assert "<td>0.0200</td>" in html
    assert "<img" not in html
