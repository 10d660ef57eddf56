"""Errors and poses by depth and number of alignments: tables against numbers done by hand."""

import numpy as np
import pandas as pd
import pytest
from papers.depths import (
    depth_latex,
    depth_markdown,
    depth_rows,
    depth_table,
    plot_depths,
)

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Architecture

NAMES = ["CNN", "STN-C0", "STN-SL1", "STN-SL4", "STN-DL4", "STN-SL4x2", "STN-SL4x3"]


def measured(names=NAMES, seeds=(0, 1), pose="rotation", unit="degrees"):
    """Errors of 0.1 and 0.2, 0.1 more a seed; deviations of 10 a place, 4 more a seed."""
    errors, poses = [], []
    for place, name in enumerate(names):
        for number, seed in enumerate(seeds):
            for part in (0.0, 0.1):
                errors.append(
                    {"run": f"d/{name}", "network": name, "data": "d", "seed": seed, "pass": 1,
                     "error": 0.1 + part + 0.1 * number, "parameters": 1000 + place}
                )  # fmt: skip
            if name != "CNN":
                poses.append(
                    {"run": f"d/{name}", "seed": seed, "kind": pose, "unit": unit,
                     "slope": -0.5, "deviation": 10.0 * place + 4 * number}
                )  # fmt: skip
    networks = {f"d/{name}": Architecture(name, backbone="svhn") for name in names}
    return depth_rows(pd.DataFrame(errors), pd.DataFrame(poses), networks)


def test_a_row_per_network_and_seed():
    rows = measured()
    assert len(rows) == 14
    one = rows[(rows["network"] == "STN-SL4x3") & (rows["seed"] == 1)].iloc[0]
    assert (one["kind"], one["depth"], one["alignments"]) == ("SL", 4, 3)
    assert one["error"] == pytest.approx(0.25) and one["deviation"] == 64
    plain = rows[rows["network"] == "CNN"].iloc[0]
    assert plain["kind"] == "none" and np.isnan(plain["slope"]) and plain["pose"] == ""


def test_over_seeds():
    table = depth_table(measured())
    assert table["network"].tolist() == NAMES
    row = table[table["network"] == "STN-SL4"].iloc[0]
    assert (row["seeds"], row["error"], row["deviation"]) == (2, pytest.approx(0.2), 32)
    assert row["error_sd"] == pytest.approx(np.sqrt(0.005))
    assert row["deviation_sd"] == pytest.approx(np.sqrt(8))
    page = depth_markdown(table, "Trained: so.")
    line = "| d | STN-SL4 | 4 | 1 | 1,003 | 20.00 ± 7.07 | −0.50 ± 0.00 | 32.0 ± 2.8° |"
    assert line in page
    assert "| d | CNN | – | – | 1,000 | 20.00 ± 7.07 | – | – |" in page
    assert "over 2 seeds; slope and deviation of rotation" in page and "Trained: so." in page
    tex = depth_latex(table)
    assert r"STN-SL4 & 4 & 1 & 1,003 & 20.00 $\pm$ 7.07 & $-$0.50" in tex
    assert r"2.8$^{\circ}$ \\" in tex


def test_one_seed_has_no_spread():
    page = depth_markdown(depth_table(measured(seeds=(3,))))
    assert "| 15.00 | −0.50 | 30.0° |" in page and "over 1 seed;" in page


@pytest.mark.parametrize("width, columns", [(85, 2), (170, 4), (None, 4)])
def test_panels_and_what_they_hold(width, columns):
    figure = plot_depths(measured(), width=width)
    assert figure.get_figwidth() * 25.4 == pytest.approx(width or 170)
    assert len(figure.axes) == 4 and figure.axes[0].get_gridspec().ncols == columns
    by_depth, by_number = figure.axes[:2]
    lines = {line.get_label(): line for line in by_depth.get_lines()}
    shared = lines["STN-SL (shared layers)"]
    np.testing.assert_allclose(shared.get_xdata(), [1, 4], atol=0.2)  # SL4x2 is not among them
    np.testing.assert_allclose(shared.get_ydata(), [20, 20])
    assert lines["CNN"].get_ydata()[0] == pytest.approx(20)
    seeds = [line for line in by_number.get_lines() if line.get_linestyle() == "None"]
    assert sorted(len(line.get_xdata()) for line in seeds) == [6]
    assert by_number.get_xlabel() == "alignments of STN-SL4" and not by_number.texts
    assert figure.axes[2].get_ylabel() == "pose deviation (degrees)"
    assert by_depth.get_ylabel() == "error (%)"


def test_several_networks_that_align_again_are_named_at_their_lines():
    figure = plot_depths(measured([*NAMES, "STN-DL4x2"]))
    by_number = figure.axes[1]
    assert by_number.get_xlabel() == "alignments"
    assert [text.get_text() for text in by_number.texts] == ["STN-SL4", "STN-DL4"]


def test_without_poses_or_repetitions_their_panels_are_left_out():
    rows = measured(["CNN", "STN-SL1"]).assign(deviation=np.nan)
    assert len(plot_depths(rows).axes) == 1


def test_what_cannot_be_drawn():
    rows = measured()
    with pytest.raises(ProbeError, match="one data set, these rows are of d, e; choose one"):
        plot_depths(pd.concat([rows, rows.assign(data="e")]))
    with pytest.raises(ProbeError, match="no network here has a spatial transformer"):
        plot_depths(rows[rows["network"] == "CNN"])
